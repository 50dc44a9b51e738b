"""Other trackers: every number once, nothing uploaded unasked, and a plain word where a package is missing."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from olhar.core.errors import UserError
from olhar.core.recipe.training import Log
from olhar.training import logs
from olhar.training.logs import open_logs

RECORD = {"stage": "align", "step": 1, "loss": 2.5, "tokens": 640, "seconds": 0.5, "finished": True, "note": "text"}
KEPT = {"loss": 2.5, "tokens": 640.0, "seconds": 0.5}


class Tracker(ModuleType):
    """Stands for all three packages: keeps what it is given, (stage, step) -> values, and how it was opened."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.opened: list[dict[str, Any]] = []
        self.lines: list[tuple[int | None, dict[str, float]]] = []
        self.axes: list[tuple[str, str]] = []
        self.flushed = self.finished = 0

    def init(self, **options: Any) -> "Tracker":
        self.opened.append(options)
        return self

    def SummaryWriter(self, folder: str) -> "Tracker":
        return self.init(folder=folder)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.lines.append((step, {name: value}))

    def log(self, values: dict[str, float], step: int | None = None) -> None:
        self.lines.append((step, values))

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axes.append((name, step_metric))

    def flush(self) -> None:
        self.flushed += 1

    def finish(self) -> None:
        self.finished += 1

    close = finish


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tracker]:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    modules = {"tensorboard": "torch.utils.tensorboard", "trackio": "trackio", "wandb": "wandb"}
    made = {name: Tracker(module) for name, module in modules.items()}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, module, made[name])
    return made


def test_every_log_a_recipe_may_name_can_be_opened() -> None:
    assert set(get_args(Log)) == logs.OPENERS.keys()


def test_every_number_reaches_every_tracker(packages: dict[str, Tracker], tmp_path: Path) -> None:
    opened = open_logs(["tensorboard", "trackio", "wandb"], tmp_path / "logs", "tucano")
    opened.record(RECORD)
    opened.close()
    named = {f"align/{name}": value for name, value in KEPT.items()}
    assert packages["tensorboard"].lines == [(1, {name: value}) for name, value in named.items()]
    assert packages["trackio"].lines == [(1, named)]
    assert packages["wandb"].lines == [(None, named | {"align/step": 1})]
    assert packages["wandb"].axes == [("align/*", "align/step")]
    assert packages["tensorboard"].flushed == 1 and all(tracker.finished == 1 for tracker in packages.values())


def test_nothing_is_uploaded_unasked(
    packages: dict[str, Tracker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_logs(["trackio", "wandb"], tmp_path, "tucano").close()
    (options,) = packages["wandb"].opened
    assert options["mode"] == "offline" and options["dir"] == str(tmp_path)
    assert "space_id" not in packages["trackio"].opened[0]
    monkeypatch.setenv("WANDB_MODE", "online")
    open_logs(["wandb"], tmp_path, "tucano").close()
    assert packages["wandb"].opened[1]["mode"] == "online", "what the person set stays"
    assert packages["wandb"].opened[1]["id"] == options["id"], "and the run is the same one"


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_steps_are_written_once_however_often_a_run_goes_on(
    packages: dict[str, Tracker], tmp_path: Path, name: str
) -> None:
    for begin, end in ((1, 8), (5, 12), (1, 15)):  # each goes on from an earlier checkpoint; none was closed
        opened = open_logs([name], tmp_path, "tucano")
        for step in range(begin, end + 1):
            opened.record({"stage": "align", "step": step, "loss": float(step)})
    opened.record({"stage": "skills", "step": 1, "loss": 9.0})
    losses = [value for _, values in packages[name].lines for key, value in values.items() if key.endswith("loss")]
    assert losses == [*map(float, range(1, 16)), 9.0]


def test_a_mark_cut_by_a_kill_is_none(packages: dict[str, Tracker], tmp_path: Path) -> None:
    opened = open_logs(["trackio"], tmp_path, "tucano")
    opened.record({"stage": "align", "step": 1, "loss": 1.0})
    opened.close()
    with open(tmp_path / logs.LOGGED, "a", encoding="utf-8") as marks:
        marks.write('{"stage": "align", "st')
    for step in (2, 3):
        opened = open_logs(["trackio"], tmp_path, "tucano")
        opened.record({"stage": "align", "step": step, "loss": 1.0})
        opened.close()
    assert [step for step, _ in packages["trackio"].lines] == [1, 2, 3]


def test_a_run_begun_anew_is_another_run(packages: dict[str, Tracker], tmp_path: Path) -> None:
    for folder in ("one", "two"):
        open_logs(["wandb"], tmp_path / folder, "tucano").close()
    one, two = packages["wandb"].opened
    assert one["id"] != two["id"] and one["name"] == two["name"] == "tucano"


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_missing_package_says_what_to_install(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    with pytest.raises(UserError, match=rf"pip install 'olhar\[{name}\]'"):
        open_logs([name], tmp_path, "tucano")


def test_no_log_leaves_no_trace(tmp_path: Path) -> None:
    opened = open_logs([], tmp_path / "logs", "tucano")
    opened.record(RECORD)
    opened.close()
    assert not (tmp_path / "logs").exists()
