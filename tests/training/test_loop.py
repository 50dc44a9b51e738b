"""Training goes on from wherever it was killed, bit for bit; and says plainly when it cannot."""

import itertools
import json
import math
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from olhar.core.errors import StageError, UserError
from olhar.core.recipe import TrainStage
from olhar.training import loop
from olhar.training.data.batches import Look, PackedBatches, StepBatch
from olhar.training.model.objectives import AnswerLearner
from olhar.training.model.optimizers import freeze_all_but, groups
from olhar.training.processes import checkpoints
from olhar.training.records import RECORDS, Meter, read_records

MAKE = Callable[..., TrainStage]
TIMES = ("tokens_per_second", "seconds", "memory_gib")  # what differs between two runs of the same steps
STEPS = 8


@dataclass
class Three:
    """A part of three things."""

    values: torch.Tensor  # (3, 4)
    tokens: int = 3
    samples: int = 1
    weight: float = 3.0

    def to(self, device: Any) -> "Three":
        return replace(self, values=self.values.to(device))


class Numbers(torch.utils.data.Dataset[Any]):
    """Step number ``i`` is drawn from ``i`` alone; it comes in ``parts``."""

    def __init__(self, parts: int = 1) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> StepBatch:
        drawn = np.random.default_rng(index).normal(size=(self.parts, 3, 4)).astype(np.float32)
        return StepBatch.of([Three(torch.from_numpy(values)) for values in drawn], capacity=4 * self.parts)

    def sample_ids(self, index: int) -> list[str]:
        return [f"sample-{index}"]


class Toy(torch.nn.Module):
    """A learner with dropout and noise of all three generators, so that a lost random state shows in the weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.a, self.drop, self.b = torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1)
        self.poison_at, self.calls = math.inf, 0

    def forward(self, batch: Three) -> tuple[torch.Tensor, dict[str, float]]:
        self.calls += 1
        hidden = self.drop(self.a(batch.values)) + random.random() + np.random.random()
        loss = (self.b(hidden) ** 2).sum()
        return (loss * math.nan if self.calls == self.poison_at else loss), {"extra": 1.0}


def learner_of(job: loop.Job) -> Toy:
    assert isinstance(job.learner, Toy)
    return job.learner


def spending() -> Callable[[], tuple[float, float]]:
    """An energy counter that has run before, and goes up by 0.5 kWh and 100 g once."""
    readings = itertools.chain([(2.0, 300.0)], itertools.repeat((2.5, 400.0)))
    return lambda: next(readings)


def toy_job(folder: Path, stage: TrainStage, **changes: Any) -> loop.Job:
    random.seed(1)
    np.random.seed(2)
    learner = Toy()
    trained = groups(learner, {"language": [name for name, _ in learner.named_parameters()]}, stage)
    folder.mkdir(exist_ok=True)
    meter = Meter(spending())
    job = loop.Job(stage, learner, trained, Numbers(), folder, "me", 0, "fp32", 10**6, meter, STEPS, 2)
    for name, value in changes.items():
        setattr(job, name, value)
    return job


def finished(job: loop.Job) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Train to the end: weights, and the records without what the clock says."""
    lines = list(loop.steps(job))
    assert lines == read_records(job.folder)
    return dict(job.learner.state_dict()), [untimed(line) for line in lines]


def untimed(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in TIMES}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def killed_after(job: loop.Job, step: int) -> None:
    """Stop without any farewell once ``step`` steps were told."""
    for line in loop.steps(job):
        if line["step"] == step:
            return


@pytest.fixture
def toy(tmp_path: Path, stage: MAKE) -> Callable[..., loop.Job]:
    def make(name: str = "toy", clip_norm: float = 1.0, **changes: Any) -> loop.Job:
        return toy_job(tmp_path / name, stage(steps=STEPS, clip_norm=clip_norm), **changes)

    return make


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_model_killed_twice_ends_as_if_it_never_was(bench: Any, tmp_path: Path, stage: MAKE, optimizer: str) -> None:
    """The real thing: packs of pictures, one kill between checkpoints and one while a line was being written."""
    encoded = bench.encoded()
    asked = stage(optimizer=optimizer, trains={"language": 1e-2, "connector": 1e-2}, batch=4, micro_batch=1)

    def job(name: str) -> loop.Job:
        learner = AnswerLearner(bench.model(), bench.family, bench.settings)
        roles = {role: [f"model.{n}" for n in names] for role, names in bench.family.roles(bench.model()).items()}
        trained = groups(learner, roles, asked)
        freeze_all_but(learner, trained)
        batches = PackedBatches(encoded, bench.samples, asked, Look("internvl", bench.settings), capacity=160)
        (tmp_path / name).mkdir(exist_ok=True)
        meter = Meter(lambda: (0.0, 0.0))
        return loop.Job(asked, learner, trained, batches, tmp_path / name, "me", 0, "fp32", -1, meter, 6, 2)

    expected = finished(job("whole"))
    killed_after(replace(job("killed"), checkpoint_seconds=10**6), 1)
    killed_after(job("killed"), 3)
    shutil.rmtree(tmp_path / "killed" / "checkpoint-00000003")
    with open(tmp_path / "killed" / RECORDS, "a", encoding="utf-8") as log:
        log.write('{"stage": "s", "step": 4, "lo')
    weights, records = finished(job("killed"))
    assert same(weights, expected[0]) and records == expected[1]
    losses = [line["loss"] for line in records]
    assert losses[-1] < losses[0], "nothing was learned, so nothing was tested"
    assert all(line["samples"] and 0 < line["fill"] <= 1 and line["grad_norm"] > 0 for line in records)


@pytest.mark.parametrize("step", [1, 4, 7])
@pytest.mark.parametrize("workers", [0, 1])
def test_random_state_continues_too(toy: Callable[..., loop.Job], step: int, workers: int) -> None:
    expected = finished(toy("whole", workers=workers))
    killed_after(toy("killed", workers=workers, checkpoint_seconds=-1), step)
    weights, records = finished(toy("killed", workers=workers))
    assert records == expected[1]
    assert same(weights, expected[0])


def test_workers_change_nothing(toy: Callable[..., loop.Job]) -> None:
    assert finished(toy("none"))[1] == finished(toy("one", workers=1))[1]


def test_a_kill_before_the_first_checkpoint_begins_again(toy: Callable[..., loop.Job]) -> None:
    expected = finished(toy("whole"))
    killed_after(toy("killed"), 3)
    assert read_records(toy("killed").folder)
    weights, records = finished(toy("killed"))
    assert same(weights, expected[0]) and records == expected[1]


def test_a_kill_inside_a_checkpoint_uses_the_one_before(
    toy: Callable[..., loop.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = finished(toy("whole"))

    def dies(*_: Any) -> None:
        raise SystemExit("killed")

    running = loop.steps(toy("killed", checkpoint_seconds=-1))
    assert [next(running)["step"] for _ in range(3)] == [1, 2, 3]
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(checkpoints, "write_json", dies)
        next(running)
    assert (toy("killed").folder / "checkpoint-00000004.partial" / "weights.safetensors").exists()
    again = loop.steps(toy("killed"))
    told = [untimed(next(again)) for _ in range(4)]
    rest = [untimed(line) for line in again]
    assert [*told, *rest] == expected[1]


def test_a_finished_stage_trains_no_further(toy: Callable[..., loop.Job]) -> None:
    expected = finished(toy())
    job = toy()
    weights, records = finished(job)
    assert same(weights, expected[0]) and records == expected[1] and learner_of(job).calls == 0


def test_counters_go_on_over_kills(toy: Callable[..., loop.Job]) -> None:
    """What was spent before a kill stays spent: tokens exactly, energy per process, seconds never less."""
    killed_after(toy("k", checkpoint_seconds=-1), 5)
    job = toy("k")
    finished(job)
    assert job.counters["tokens"] == 8 * 3
    assert (job.counters["energy_kwh"], job.counters["co2_g"]) == (1.0, 200.0)
    seconds = [line["seconds"] for line in read_records(job.folder)]
    assert seconds == sorted(seconds) and job.counters["cpu_seconds"] > 0


def test_the_energy_so_far_is_told_with_every_step(toy: Callable[..., loop.Job]) -> None:
    killed_after(toy("k", checkpoint_seconds=-1), 5)
    job = toy("k", meter=Meter(spending(), recent=lambda: (2.25, 340.0)))
    lines = list(loop.steps(job))
    assert [line.get("energy_kwh") for line in lines] == [None] * 5 + [0.75] * 3
    assert lines[-1]["co2_g"] == 140.0 and job.counters["energy_kwh"] == 1.0


def test_the_rates_of_the_records_are_those_of_the_schedule(toy: Callable[..., loop.Job]) -> None:
    rates = [line["learning_rate"] for line in finished(toy())[1]]
    assert rates[0] == pytest.approx(0.5e-2) and rates[1] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(0.03e-2) and rates[1:] == sorted(rates[1:], reverse=True)


def test_a_loss_that_is_no_number_stops_the_stage(toy: Callable[..., loop.Job]) -> None:
    job = toy(checkpoint_seconds=-1)
    learner_of(job).poison_at = 4
    with pytest.raises(UserError, match="the loss is nan") as caught:
        list(loop.steps(job))
    assert caught.value.where == "stage s, step 4: samples sample-3"
    found = checkpoints.newest(job.folder, "me")
    assert found and found.step == 3 and all(torch.isfinite(value).all() for value in found.weights.values())


def stopped(job: loop.Job, at: int) -> list[int]:
    """Ask the process to stop while the line of step ``at`` is being shown; which steps were told."""
    told = []
    with pytest.raises(loop.Interrupted) as caught:
        for line in loop.steps(job):
            told.append(line["step"])
            if line["step"] == at:
                os.kill(os.getpid(), signal.SIGTERM)
    assert "continue" in caught.value.fix and f"step {told[-1]} of 8" in caught.value.what
    return told


def test_sigterm_writes_a_checkpoint_before_it_stops(toy: Callable[..., loop.Job]) -> None:
    expected = finished(toy("whole"))
    before = signal.getsignal(signal.SIGTERM)
    told = stopped(toy("stopped"), 3)
    found = checkpoints.newest(toy("stopped").folder, "me")
    assert found and found.step == told[-1]
    assert signal.getsignal(signal.SIGTERM) is before
    weights, records = finished(toy("stopped"))
    assert same(weights, expected[0]) and records == expected[1]


def test_sigterm_during_a_step_is_heard(toy: Callable[..., loop.Job], monkeypatch: pytest.MonkeyPatch) -> None:
    job = toy("stopped")
    real = job.learner.forward

    def forward(batch: Any) -> Any:
        if learner_of(job).calls == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(batch)

    monkeypatch.setattr(job.learner, "forward", forward)
    with pytest.raises(loop.Interrupted, match="step 5 of 8"):
        list(loop.steps(job))
    found = checkpoints.newest(job.folder, "me")
    assert found and found.step == 5


def test_another_recipes_folder_is_refused(toy: Callable[..., loop.Job]) -> None:
    killed_after(toy(checkpoint_seconds=-1), 2)
    with pytest.raises(StageError, match="made from something else: recipe"):
        next(loop.steps(toy(identity="you")))


def test_the_log_of_a_stage_is_read_without_a_line_cut_short(tmp_path: Path) -> None:
    assert read_records(tmp_path) == []
    (tmp_path / RECORDS).write_text('{"step": 1}\n{"step": 2}\n{"st', encoding="utf-8")
    assert [line["step"] for line in read_records(tmp_path)] == [1, 2]
    (tmp_path / RECORDS).write_text('{"step": 1}\n{"step": 2}', encoding="utf-8")
    assert [line["step"] for line in read_records(tmp_path)] == [1]


@pytest.fixture(autouse=True)
def same_generators() -> Iterator[None]:
    """Tests here seed the process-wide generators; leave them as they were."""
    state = checkpoints.random_state()
    yield
    checkpoints.set_random_state(state)


def test_records_are_plain_json(toy: Callable[..., loop.Job]) -> None:
    finished(toy())
    for line in (toy().folder / RECORDS).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["stage"] == "s" and math.isfinite(row["loss"]) and row["extra"] == 1.0


def test_parts_of_a_step_count_as_one_batch(toy: Callable[..., loop.Job]) -> None:
    """Accumulated gradients are those of the same numbers taken through the model at once."""

    class Joined(Numbers):
        def __getitem__(self, index: int) -> StepBatch:
            parts = super().__getitem__(index).parts
            whole = Three(torch.cat([part.values for part in parts]), tokens=6, samples=2, weight=6.0)
            return StepBatch.of([whole], capacity=8)

    jobs = [toy("parts", batches=Numbers(2)), toy("joined", batches=Joined(2))]
    for job in jobs:
        job.learner.drop.p = 0.0  # type: ignore[union-attr, assignment]
        job.learner.forward = lambda batch, learner=job.learner: (  # type: ignore[method-assign]
            (learner.b(learner.a(batch.values)) ** 2).sum(),
            {"extra": float(batch.weight)},
        )
    parted, joined = (finished(job)[1] for job in jobs)
    for one, other in zip(parted, joined, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
        assert (one["tokens"], one["samples"], one["fill"]) == (6, 2, 0.75)
        assert (one["extra"], other["extra"]) == (3.0, 6.0), "a mean over the parts"


@pytest.mark.parametrize("clip", [1e6, 1e-3])
def test_gradients_are_clipped_and_their_norm_told(toy: Callable[..., loop.Job], clip: float) -> None:
    """The first moment of AdamW after one step is a tenth of the gradient it was given."""
    job = toy(clip_norm=clip, checkpoint_seconds=-1)
    norm = next(lines := loop.steps(job))["grad_norm"]
    lines.close()
    found = checkpoints.newest(job.folder, "me")
    assert found
    given = [value / 0.1 for key, value in found.optimizer.items() if key.endswith("|exp_avg")]
    assert len(given) == 4 and norm > 0.1
    assert math.sqrt(sum(float(value.pow(2).sum()) for value in given)) == pytest.approx(min(norm, clip), rel=1e-2)


def test_a_step_that_trains_nothing_is_named(toy: Callable[..., loop.Job]) -> None:
    class Silent(Numbers):
        def __getitem__(self, index: int) -> StepBatch:
            batch = super().__getitem__(index)
            return replace(batch, weight=0.0) if index == 2 else batch

    with pytest.raises(UserError, match="no token of this step is trained") as caught:
        list(loop.steps(toy(batches=Silent())))
    assert "step 3" in caught.value.where and "'s'" in caught.value.where and "sample-2" in caught.value.where


def test_a_gradient_that_is_no_number_moves_no_weight(toy: Callable[..., loop.Job]) -> None:
    job = toy(checkpoint_seconds=-1)
    before = {name: value.clone() for name, value in job.learner.state_dict().items()}
    job.learner.b.weight.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[union-attr, operator]
    with pytest.raises(UserError, match=r"gradient (inf|nan)"):
        list(loop.steps(job))
    assert same(before, dict(job.learner.state_dict()))


def test_checkpoints_come_after_so_many_steps(toy: Callable[..., loop.Job]) -> None:
    job = toy(checkpoint_steps=3, keep=5)
    finished(job)
    assert [path.name[-1] for path in checkpoints.complete(job.folder)] == ["3", "6", "8"]


SCORES = {2: 0.1, 4: 0.9, 6: 0.9, 8: 0.2}


def judging(asked: list[int]) -> Callable[[int], float]:
    def judge(step: int) -> float:
        asked.append(step)
        torch.rand(3), random.random()
        return SCORES[step]

    return judge


def test_the_best_checkpoint_stays(toy: Callable[..., loop.Job]) -> None:
    """The first of two that are equally good; and a judge changes nothing but that."""
    expected, asked = finished(toy("unjudged")), list[int]()
    job = toy("judged", judge=judging(asked), judge_every=2, keep=1)
    weights, records = finished(job)
    assert asked == [2, 4, 6, 8] and checkpoints.best(job.folder) == (4, 0.9)
    assert [path.name[-1] for path in checkpoints.complete(job.folder)] == ["4", "8"]
    assert {line["step"]: line.pop("score") for line in records if "score" in line} == SCORES
    assert same(weights, expected[0]) and records == expected[1]


def test_a_judge_may_switch_the_model_to_answering(toy: Callable[..., loop.Job]) -> None:
    job = toy("judged", judge_every=1)
    job.judge = lambda step: float(not job.learner.eval().training)
    assert finished(job)[1][-1]["loss"] == finished(toy("unjudged"))[1][-1]["loss"]


@pytest.mark.parametrize("at", [3, 5])
def test_the_best_is_the_same_after_a_kill(
    toy: Callable[..., loop.Job], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Also after one between a checkpoint and the note that it is the best."""
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "mark_best", lambda *_: None)
        killed_after(toy("k", judge=judging([]), judge_every=2, keep=1), at)
    asked: list[int] = []
    finished(toy("k", judge=judging(asked), judge_every=2, keep=1))
    assert asked == [step for step in SCORES if step > at - 1]
    assert checkpoints.best(toy("k").folder) == (4, 0.9)


class Failing(Numbers):
    """Its fourth batch cannot be made, or kills who makes it."""

    def __init__(self, deadly: bool) -> None:
        super().__init__()
        self.deadly = deadly

    def __getitem__(self, index: int) -> StepBatch:
        if index == 3 and self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 3:
            raise UserError("the picture is broken", "a.jpg", "replace it")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_cannot_read_reaches_the_person(toy: Callable[..., loop.Job], workers: int) -> None:
    with pytest.raises(UserError) as caught:
        list(loop.steps(toy(batches=Failing(deadly=False), workers=workers)))
    error = caught.value
    assert (error.what, error.where, error.fix) == ("the picture is broken", "a.jpg", "replace it")


def test_a_killed_worker_is_told(toy: Callable[..., loop.Job]) -> None:
    with pytest.raises(UserError, match="a process that prepares batches ended") as caught:
        list(loop.steps(toy(batches=Failing(deadly=True), workers=1)))
    assert caught.value.where == "train.workers" and "lower workers" in caught.value.fix
