"""The training loop: one stage, step by step, with checkpoints from which it continues bit for bit."""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.core.store import writing
from olhar.training import checkpoints
from olhar.training.checkpoints import Checkpoint
from olhar.training.optimizers import (
    Group,
    load_state_by_name,
    optimizers,
    set_rates,
    share_of_peak,
    state_by_name,
)
from olhar.training.team import Team

RECORDS = "steps.jsonl"
COUNTERS = ("seconds", "cpu_seconds", "tokens", "energy_kwh", "co2_g")
AHEAD = 4  # batches that workers prepare in advance


class Interrupted(UserError):
    """The stage was asked to stop (SIGTERM); its checkpoint is written."""


class Learner(Protocol):
    """What a stage trains: a module with a loss."""

    @property
    def module(self) -> torch.nn.Module: ...

    def loss(self, batch: Any) -> tuple[torch.Tensor, Mapping[str, float]]: ...


@dataclass(slots=True)
class Job:
    """One stage of training, ready to run.

    ``batches`` gives a batch for a step's index; ``identity`` is the hash of recipe, data and model that a
    checkpoint must match; ``meter`` has counted since this process began the stage, preparations included.
    """

    stage: TrainStage
    learner: Learner
    groups: list[Group]
    batches: torch.utils.data.Dataset[Any]
    folder: Path
    identity: str
    workers: int
    precision: str
    checkpoint_seconds: int
    meter: "Meter"
    team: Team = field(default_factory=Team)
    counters: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0.0))


def steps(job: Job) -> Iterator[dict[str, Any]]:
    """Train until the stage's last step, yielding every step's record; goes on from the newest checkpoint.

    The steps done before are yielded first, from the log, so a progress bar starts where training does.
    Raises ``UserError`` when the loss stops being a number, ``Interrupted`` on SIGTERM (after a checkpoint).
    """
    module, stage, team = job.learner.module, job.stage, job.team
    made = optimizers(module, job.groups)
    begin = team.in_turn(lambda: _resume(job, made))
    yield from (line for line in read_records(job.folder) if line["step"] <= begin)
    job.meter.start(job.counters)
    with _records(job.folder, begin, team.leads) as record, _stop_signal() as stop_asked:
        last_saved = time.monotonic()
        for step, batch in zip(range(begin + 1, stage.steps + 1), _stream(job, begin), strict=True):
            share = share_of_peak(step, stage)
            set_rates(made, share)
            numbers = (batch.weight, batch.tokens, job.meter.own_cpu_seconds())
            weight, tokens, cpu_seconds = team.summed(numbers)
            loss, extras, asked = _step(job, made, batch, batch.weight / weight, stop_asked)
            line = {"stage": stage.name, "step": step, "loss": loss, **extras}
            line |= {"learning_rate": share * max(stage.trains.values()), **job.meter.count(int(tokens), cpu_seconds)}
            record(line)
            stopping = asked and step < stage.steps
            due = time.monotonic() - last_saved > job.checkpoint_seconds
            if team.leads and (stopping or step == stage.steps or due):
                _save(job, made, step)
                last_saved = time.monotonic()
            yield line
            if stopping:
                raise Interrupted(
                    f"stopped at step {step} of {stage.steps}", str(job.folder), "give the same command to continue"
                )


def _step(
    job: Job, made: Mapping[str, torch.optim.Optimizer], batch: Any, share: float, stop_asked: Callable[[], bool]
) -> tuple[float, Mapping[str, float], bool]:
    """One update: the loss, what the learner adds to it, and whether any process was asked to stop.

    ``share``: how much of what the whole team learns from in this step lies in this batch.
    """
    bf16 = job.precision == "bf16"
    with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
        loss, extras = job.learner.loss(batch)
    value, asked = job.team.summed([float(loss.detach()) * share, stop_asked()])
    if not math.isfinite(value):
        raise UserError(f"the loss is {value}", f"stage {job.stage.name}", "lower its learning rates, or train in fp32")
    (loss * share).backward()
    parameters = [parameter for optimizer in made.values() for g in optimizer.param_groups for parameter in g["params"]]
    job.team.sum_gradients(parameters)
    torch.nn.utils.clip_grad_norm_(parameters, job.stage.clip_norm)
    for optimizer in made.values():
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return value, extras, asked > 0


def _stream(job: Job, begin: int) -> Iterator[Any]:
    """Batches from index ``begin`` on, prepared ahead by worker processes."""
    return iter(
        torch.utils.data.DataLoader(
            job.batches,
            batch_size=None,
            sampler=range(begin, job.stage.steps),
            num_workers=job.workers,
            prefetch_factor=AHEAD if job.workers else None,
            generator=torch.Generator(),  # else it draws from the global one, once more in a resumed run
        )
    )


class Meter:
    """Seconds, tokens and energy of this process since it was made, added to what earlier processes counted."""

    def __init__(self, energy: Callable[[], tuple[float, float]]) -> None:
        self.energy, self.spent_before = energy, energy()
        self.began, self.began_cpu = time.monotonic(), time.process_time()
        self.before = dict.fromkeys(COUNTERS, 0.0)
        self.began_steps, self.tokens, self.cpu_seconds = self.began, 0, 0.0

    def start(self, counters: Mapping[str, float]) -> None:
        """The first step begins, after what a checkpoint had counted."""
        self.before, self.began_steps = dict(counters), time.monotonic()

    def own_cpu_seconds(self) -> float:
        return time.process_time() - self.began_cpu

    def count(self, tokens: int, cpu_seconds: float) -> dict[str, float]:
        """One step more, by all processes: tokens per second of the steps alone, and the seconds of the stage."""
        self.tokens += tokens
        self.cpu_seconds = cpu_seconds
        speed = self.tokens / (time.monotonic() - self.began_steps)
        seconds = self.before["seconds"] + time.monotonic() - self.began
        return {"tokens_per_second": round(speed, 1), "seconds": round(seconds, 2)}

    def total(self) -> dict[str, float]:
        """All counters, this process and the earlier ones."""
        energy_kwh, co2_g = self.energy()
        now = {
            "seconds": time.monotonic() - self.began,
            "cpu_seconds": self.cpu_seconds,
            "tokens": float(self.tokens),
            "energy_kwh": energy_kwh - self.spent_before[0],
            "co2_g": co2_g - self.spent_before[1],
        }
        return {name: self.before[name] + value for name, value in now.items()}


def _save(job: Job, made: Mapping[str, torch.optim.Optimizer], step: int) -> None:
    job.counters.update(job.meter.total())
    module = job.learner.module
    state = Checkpoint(step, module.state_dict(), state_by_name(module, made), dict(job.counters))
    checkpoints.save(job.folder, state, job.identity)


def _resume(job: Job, made: Mapping[str, torch.optim.Optimizer]) -> int:
    """Restore the newest checkpoint, if any; returns how many steps are done."""
    found = checkpoints.newest(job.folder, job.identity)
    if found is None:
        return 0
    checkpoints.load_strictly(job.learner.module, found.weights)
    load_state_by_name(job.learner.module, made, found.optimizer)
    job.counters.update(found.counters)
    return found.step


@contextmanager
def _records(folder: Path, begin: int, writes: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Append to the stage's step log; lines after the checkpoint are dropped first, their steps run again."""
    if not writes:
        yield lambda line: None
        return
    path = folder / RECORDS
    kept = [line for line in read_records(folder) if line["step"] <= begin]
    with writing(path) as handle:
        handle.writelines(json.dumps(line) + "\n" for line in kept)
    with open(path, "a", encoding="utf-8", buffering=1) as handle:

        def record(line: Mapping[str, Any]) -> None:
            handle.write(json.dumps(line) + "\n")

        yield record


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The step log of a stage; a last line cut by a kill is not a line."""
    path = folder / RECORDS
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """SIGTERM asks to stop after the current step instead of killing it."""
    asked = False

    def ask(*_: Any) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, before)
