"""All stages of a recipe, one after another: stopped at any moment, the run ends with the very same weights."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from olhar.core.recipe import ModelParts, Recipe
from olhar.core.samples import writing_samples
from olhar.training import loop, session, telling
from olhar.training.processes import checkpoints

SHAPE = {"hidden_size": 32, "heads": 2, "intermediate_size": 48}
STAGES = [
    {"name": "tower", "objective": "patches", "trains": {"vision": 1e-2}, "steps": 4, "augment": True},
    {"name": "align", "trains": {"connector": 1e-2, "language": 1e-2}, "optimizer": "muon", "steps": 5},
    {"name": "all", "trains": {"vision": 1e-3, "connector": 1e-3, "language": 1e-3}, "steps": 3},
]
COMMON = {"mixture": "m", "batch": 2, "warmup_steps": 1}


@pytest.fixture
def recipe() -> Recipe:
    model = {
        "family": "internvl",
        "tower": SHAPE | {"image_size": 64, "patch_size": 16, "layers": 1},
        "language_model": SHAPE | {"layers": 2},
        "tokenizer": {"vocabulary": 330, "mixture": "m"},
    }
    train = {"prompt": "compact", "max_tokens": 160, "isolate_questions": True, "precision": "fp32", "workers": 0}
    train |= {"cache_features": True}
    train |= {"checkpoint_seconds": 1, "stages": [COMMON | stage for stage in STAGES]}
    data = [{"name": "d", "source": "world"}]
    rest = {"name": "r", "language": "pt", "seed": 2, "mix": [{"name": "m", "take": [{"data": "d"}]}]}
    return Recipe.model_validate(rest | {"ingest": data, "model": model, "train": train})


class Killed(BaseException):
    """Like SIGKILL, as far as Python can play it: nothing gets to say goodbye."""


@pytest.fixture
def train(bench: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Train in the run folder ``name``; die after the ``at``-th thing of the progress bar ``during``."""
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    pictured = [sample for sample in bench.samples if sample.media]

    def training(name: str, during: str = "", at: int = 0, every_step: bool = True) -> tuple[Any, list[Any]]:
        run = tmp_path / name
        if not run.exists():
            with writing_samples(run / "mix" / "m.jsonl", run) as out:
                for sample in pictured:
                    out.write(sample)
        folder = run / "train"
        said: list[Any] = []

        def track(things: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
            for number, thing in enumerate(things, start=1):
                yield thing
                if label == during and number == at:
                    raise Killed

        folder.mkdir(exist_ok=True)
        real = loop.Job

        def job(**given: Any) -> loop.Job:
            return real(**given | {"checkpoint_seconds": -1 if every_step else 10**6})

        monkeypatch.setattr(loop, "Job", job)
        assert isinstance(recipe.model, ModelParts)
        found = session.Opened(recipe.model, {"recipe": "me"})
        return session.train(session.Work(recipe, run, folder, lambda: found), telling.Told(track, said.append)), said

    return training


@pytest.fixture
def whole(train: Callable[..., Any]) -> dict[str, torch.Tensor]:
    return dict(train("whole")[0].published.model.state_dict())


MOMENTS = [  # in the order in which they come
    ("boxes of m", 3),
    ("train tower", 2),
    ("tokens", 1),
    ("look at pictures", 1),
    ("train align", 1),
    ("train align", 5),
    ("train all", 2),
]


def test_stopped_at_any_moment_the_weights_are_the_same(
    train: Callable[..., Any], whole: dict[str, torch.Tensor]
) -> None:
    for during, at in MOMENTS:
        name = f"killed {during} {at}"
        with pytest.raises(Killed):
            train(name, during, at)
        weights = train(name)[0].published.model.state_dict()
        wrong = [key for key in whole if not torch.equal(whole[key], weights[key])]
        assert not wrong, f"killed at {during} {at}: {wrong[:3]} differ"


def test_stopped_at_every_moment_of_one_run_too(train: Callable[..., Any], whole: dict[str, torch.Tensor]) -> None:
    """Also where no checkpoint was due since the stage began."""
    for number, (during, at) in enumerate(MOMENTS):
        with pytest.raises(Killed):
            train("unlucky", during, at, every_step=number % 2 == 0)
    result, _ = train("unlucky")
    weights = result.published.model.state_dict()
    assert all(torch.equal(whole[key], weights[key]) for key in whole)
    assert [line["step"] for line in result.records] == [1, 2, 3, 4, 1, 2, 3, 4, 5, 1, 2, 3]


def test_a_finished_run_is_read_not_trained(
    train: Callable[..., Any], whole: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a finished stage trains again")

    monkeypatch.setattr(loop, "steps", refuse)
    result, said = train("whole")
    assert all(torch.equal(whole[key], value) for key, value in result.published.model.state_dict().items())
    assert sum("finished before" in str(line) for line in said) == len(STAGES)


def test_every_stage_moves_what_it_names_and_nothing_else(train: Callable[..., Any], tmp_path: Path) -> None:
    train("whole")
    folders = sorted(path for path in (tmp_path / "whole" / "train").iterdir() if path.name[0].isdigit())
    assert [folder.name for folder in folders] == ["1-tower", "2-align", "3-all"]
    saved = [checkpoints.newest(folder, "me") for folder in folders]
    tower, align, everything = (dict(found.weights) for found in saved if found)

    def moved(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
        return {name.split(".")[2] for name in one.keys() & other.keys() if not torch.equal(one[name], other[name])}

    def held(one: dict[str, torch.Tensor]) -> set[str]:
        return {name.split(".")[2] for name in one if name.startswith("model.model.")}

    assert held(tower) == {"vision_tower"} and held(align) == {"multi_modal_projector", "language_model"}
    assert moved(align, everything) == {"multi_modal_projector", "language_model"}
    assert moved(tower, everything) == {"vision_tower"}


def test_what_it_cost_is_counted_once(train: Callable[..., Any]) -> None:
    with pytest.raises(Killed):
        train("killed", "train align", 3)
    counts, expected = train("killed")[0].counts, train("whole")[0].counts
    assert counts["total"]["tokens"] == expected["total"]["tokens"] > 0
    assert counts["stages"].keys() == {"tower", "align", "all"}
    assert counts["parameters"] == sum(counts["parameters_by_role"].values())
    assert counts["energy_method"] == "not measured" and "energy_kwh" not in counts


def test_the_same_seed_is_the_same_model_and_another_is_not(
    train: Callable[..., Any], whole: dict[str, torch.Tensor], recipe: Recipe, bench: Any, tmp_path: Path
) -> None:
    again = train("again")[0].published.model.state_dict()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    other = recipe.model_copy(update={"seed": 3})
    assert isinstance(other.model, ModelParts)
    found = session.Opened(other.model, {"recipe": "you"})
    work = session.Work(other, tmp_path / "whole", tmp_path / "whole" / "other", lambda: found)
    result = session.train(work, telling.UNTOLD)
    assert result and not torch.equal(result.published.model.state_dict()["lm_head.weight"], whole["lm_head.weight"])
