"""A run is watched from what lies in its folder, and a page that cannot be written ends no training."""

import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.core.recipe import Recipe
from olhar.core.store import RunFolder
from olhar.stages import Context, _watch
from olhar.stages._watch import Watch

TINY = Path(__file__).parents[1] / "flow" / "tiny.toml"


def context(folder: Path, said: list[Any], **train: Any) -> Context:
    table = tomllib.loads(TINY.read_text(encoding="utf-8"))
    table["train"] |= train
    table.pop("evaluate")
    recipe = Recipe.model_validate(table)
    (folder / "train").mkdir(exist_ok=True)
    return Context(recipe, RunFolder(folder), folder / "train", "f", lambda items, *_: items, said.append)


def steps(folder: Path, stage: str, count: int) -> None:
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"steps": 60}), encoding="utf-8")
    lines = [{"stage": stage, "step": n, "loss": 1.0, "learning_rate": 1e-3, "energy_kwh": 0.25} for n in range(count)]
    (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_the_page_is_made_of_what_lies_there(tmp_path: Path) -> None:
    watch = Watch(context(tmp_path, []))
    steps(tmp_path / "train" / "1-tower", "tower", 61)
    steps(tmp_path / "train" / "2-skills", "skills", 31)
    ledger = json.dumps({"method": "estimated", "source": "CodeCarbon 3.3.2", "co2": True})
    (tmp_path / "train" / "energy.jsonl").write_text(ledger + "\n", encoding="utf-8")
    assert watch.asks is None and watch.judge(SimpleNamespace(), "skills", 30) == 0.0
    page = (tmp_path / "train" / "report.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in page and "energy, estimated" in page and "0.5 kWh" in page and "of 60" in page
    watch.close({"stages": {"tower": {"energy_kwh": 1.0}, "skills": {"energy_kwh": 2.0}}})
    page = (tmp_path / "train" / "report.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in page and "3 kWh" in page
    assert {"loss.png", "speed.png"} <= {path.name for path in (tmp_path / "train").iterdir()}


def test_a_page_that_cannot_be_written_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    watch = Watch(context(tmp_path, said))

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_watch, "write_page", broken)
    assert watch.judge(SimpleNamespace(), "skills", 30) == 0.0
    assert "was not written: ZeroDivisionError" in said[0]
    with pytest.raises(ZeroDivisionError):
        watch.close({"stages": {}})


def test_what_is_missing_is_said_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match="trackio"):
        Watch(context(tmp_path, [], logs=["trackio"]))
    best = {"benchmark": "world", "data": "absent", "every": 5}
    with pytest.raises(UserError, match="there are no samples"):
        Watch(context(tmp_path, [], best=best))


def test_records_reach_the_trackers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    stub = SimpleNamespace(
        init=lambda **_: None, log=lambda values, step: written.append(step), finish=lambda: written.append(0)
    )
    monkeypatch.setitem(sys.modules, "trackio", stub)
    watch = Watch(context(tmp_path, [], logs=["trackio"]))
    watch.record({"stage": "tower", "step": 1, "loss": 1.0})
    watch.record({"stage": "tower", "step": 1, "loss": 1.0})
    watch.close(None)
    assert written == [1, 0] and not (tmp_path / "train" / "report.html").exists()
