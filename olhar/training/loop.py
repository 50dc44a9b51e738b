"""The training loop: one stage, step by step, with checkpoints from which it continues bit for bit."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.training.data.feeding import fed, lost_worker
from olhar.training.model.optimizers import Group, optimizers
from olhar.training.processes import checkpoints, sharding
from olhar.training.processes.state import load_state_by_name, load_weights, state_by_name, trained_weights
from olhar.training.processes.team import Team
from olhar.training.records import COUNTERS, Meter, memory_gib, read_records, recording
from olhar.training.schedule import set_rates, share_of_peak

NAMED = 8  # samples of a bad step that are named


class Interrupted(UserError):
    """The stage was asked to stop (SIGTERM); its checkpoint is written."""


@dataclass(slots=True)
class Job:
    """One stage of training, ready to run.

    learner: a module whose ``forward(part)`` returns the sum of its labelled tokens' weighted losses, and more to
        record. batches: for a step's index what this process learns from in it (``StepBatch``).
    identity: hashes, by name, that a checkpoint must match. meter has counted since this process began the stage.
    total, warmup: steps. checkpoint_steps: write one after so many steps too, beside ``checkpoint_seconds``.
    judge: looks at the model after every ``judge_every`` steps and the last one; the higher the better. Process 0 alone
        needs one.
    """

    stage: TrainStage
    learner: torch.nn.Module
    groups: list[Group]
    batches: torch.utils.data.Dataset[Any]
    folder: Path
    identity: checkpoints.Identity
    workers: int
    precision: str
    checkpoint_seconds: int
    meter: Meter
    total: int
    warmup: int
    team: Team = field(default_factory=Team)
    sharding: str = "replicate"
    keep: int = 2
    checkpoint_steps: int | None = None
    judge: Callable[[int], float] | None = None
    judge_every: int = 0
    counters: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0.0))


@dataclass(slots=True)
class _Running:
    """A job under way."""

    job: Job
    shared: sharding.Shared
    made: Mapping[str, torch.optim.Optimizer]
    stop_asked: Callable[[], bool]
    last_saved: float


def steps(job: Job) -> Iterator[dict[str, Any]]:
    """Train until the stage's last step, yielding every step's record; goes on from the newest checkpoint.

    The steps done before are yielded first, from the log, so a progress bar starts where training does.
    Raises ``UserError`` when the loss stops being a number or a worker dies, ``Interrupted`` on SIGTERM (after a
    checkpoint), ``StageError`` when a process is lost, ``DiskError`` when a checkpoint cannot be written.
    """
    try:
        with job.team.guarded():  # also while a checkpoint is written in parts
            yield from _steps(job)
    except RuntimeError as error:
        if told := lost_worker(error):
            raise told from error
        raise


def _steps(job: Job) -> Iterator[dict[str, Any]]:
    found = job.team.in_turn(lambda: checkpoints.newest(job.folder, job.identity))
    begin = found.step if found else 0
    yield from (line for line in read_records(job.folder) if line["step"] <= begin)
    if found and begin >= job.total:
        load_weights(job.learner, found.weights)
        job.counters.update(found.counters)
        return
    looks = "vision" in job.stage.trains  # of whose layers the last ones may never be used
    shared = sharding.wrap(job.learner, job.team, job.sharding, job.precision, partly_used=looks)
    made = optimizers(shared.module, job.groups, job.stage.betas)
    _resume(job, shared, made, found)
    job.meter.start(job.counters)
    with recording(job.folder, begin, job.team.leads) as record, _stop_signal() as stop_asked:
        running = _Running(job, shared, made, stop_asked, time.monotonic())
        batches = fed(job.batches, range(begin, job.total), job.workers, job.team.device)
        for step, batch in zip(range(begin + 1, job.total + 1), batches, strict=True):
            line, save, stopping = _step(running, step, batch)
            record(line)
            if save:
                _save(running, step, line.get("score"))
            yield line
            if stopping:
                raise Interrupted(
                    f"stopped at step {step} of {job.total}", str(job.folder), "give the same command to continue"
                )
    shared.give_back()


def _step(running: _Running, step: int, batch: Any) -> tuple[dict[str, Any], bool, bool]:
    """One step of all processes: its record, whether a checkpoint is due, whether any was asked to stop."""
    job, team = running.job, running.job.team
    share = share_of_peak(step, job.total, job.warmup, job.stage.final_share)
    set_rates(running.made, share)
    drawn = (batch.weight, batch.tokens, batch.samples, batch.capacity, job.meter.own_cpu_seconds())
    weight, tokens, samples, capacity, cpu_seconds = team.summed(drawn)
    if not weight:
        where = f"train.stages, {job.stage.name!r}, step {step}{_named_samples(job, step)}"
        raise UserError("no token of this step is trained", where, "check the answers of this mixture's samples")
    with team.guarded():
        loss, norm, extras = _learn(running, batch, weight)
    mine = (loss, running.stop_asked(), team.leads and _late(running), team.leads and _judges(job, step))
    loss, asked, late, judged = team.summed(mine)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the loss is {loss:.4g} and its gradient {norm}"
        where = f"stage {job.stage.name}, step {step}{_named_samples(job, step)}"
        raise UserError(what, where, "lower its learning rates, or train in fp32")
    with team.guarded():
        for optimizer in running.made.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    line = {"stage": job.stage.name, "step": step, "loss": loss, **extras, "grad_norm": norm}
    line |= {"learning_rate": share * max(job.stage.trains.values()), "tokens": int(tokens), "samples": int(samples)}
    line |= {"fill": round(tokens / capacity, 4) if capacity else 1.0, "memory_gib": memory_gib(team.device)}
    line |= job.meter.count(int(tokens), cpu_seconds)
    if judged:
        line["score"] = _judged(running, step)
    due = late or judged or step == job.total or (job.checkpoint_steps and step % job.checkpoint_steps == 0)
    stopping = asked > 0 and step < job.total
    return line, bool(due or stopping), stopping


def _learn(running: _Running, batch: Any, weight: float) -> tuple[float, float, dict[str, float]]:
    """Gradients of the step: this process's part of its loss, the norm of all gradients before they are clipped, and
    the mean of what else the learner records of this process's part."""
    job, shared, device = running.job, running.shared, running.job.team.device
    loss, extras = torch.zeros((), dtype=torch.float64, device=device), dict[str, float]()
    for number, part in enumerate(batch.parts, start=1):
        part = part.to(device)
        with shared.exchanging(last=number == len(batch.parts)):
            with torch.autocast(device.type, torch.bfloat16, enabled=job.precision == "bf16"):
                summed, more = shared.loss(part)
            (summed * (job.team.size / weight)).backward()  # what several processes compute is averaged over them
        loss += summed.detach().double()
        for name, value in more.items():
            extras[name] = extras.get(name, 0.0) + value * part.weight / (batch.weight or 1.0)
    groups = (group for optimizer in running.made.values() for group in optimizer.param_groups)
    parameters = [parameter for group in groups for parameter in group["params"]]
    norm: Any = torch.nn.utils.clip_grad_norm_(parameters, job.stage.clip_norm)
    if hasattr(norm, "full_tensor"):
        norm = norm.full_tensor()
    return float(loss) / weight, float(norm), extras


def _late(running: _Running) -> bool:
    return time.monotonic() - running.last_saved > running.job.checkpoint_seconds


def _judges(job: Job, step: int) -> bool:
    return bool(job.judge) and (step == job.total or step % (job.judge_every or job.total) == 0)


def _named_samples(job: Job, step: int) -> str:
    ids = getattr(job.batches, "sample_ids", None)
    if ids is None:
        return ""
    found = list(ids(step - 1))
    return f": samples {', '.join(found[:NAMED])}{', ...' if len(found) > NAMED else ''}"


def _judged(running: _Running, step: int) -> float:
    """What the judge says of the weights as they are; training goes on as if it had not looked."""
    team, learner = running.job.team, running.job.learner
    modes, numbers = {module: module.training for module in learner.modules()}, checkpoints.random_state()
    with running.shared.whole():
        score = running.job.judge(step) if running.job.judge and team.leads else 0.0
        for module, mode in modes.items():
            module.training = mode
        (score,) = team.summed([score])
    checkpoints.set_random_state(numbers)
    return score


def _save(running: _Running, step: int, score: float | None) -> None:
    job, module = running.job, running.shared.module
    job.counters.update(job.meter.total())
    parts = {
        checkpoints.WEIGHTS: trained_weights(module),
        checkpoints.OPTIMIZER: state_by_name(module, running.made),
    }
    checkpoints.save(job.folder, step, parts, job.counters, job.identity, job.team, job.keep)
    running.last_saved = time.monotonic()
    if score is not None and job.team.leads:
        best = checkpoints.best(job.folder)
        if best is None or score > best[1]:
            checkpoints.mark_best(job.folder, step, score)
            checkpoints.prune(job.folder, job.keep)


def _resume(
    job: Job,
    shared: sharding.Shared,
    made: Mapping[str, torch.optim.Optimizer],
    found: checkpoints.Checkpoint | None,
) -> None:
    """Restore a checkpoint into what trains here."""
    _settle_best(job, found.step if found else 0)
    if found is None:
        checkpoints.seed_apart(torch.initial_seed(), job.team)
        return
    parameters = dict(shared.module.named_parameters())
    like = parameters.get if shared.spread else None
    load_weights(shared.module, found.tensors(checkpoints.WEIGHTS, like))
    slots = (lambda key: parameters.get(key.rpartition("|")[0])) if shared.spread else None
    load_state_by_name(shared.module, made, found.tensors(checkpoints.OPTIMIZER, slots))
    found.restore_random(job.team)
    job.counters.update(found.counters)


def _settle_best(job: Job, begin: int) -> None:
    """A kill between a checkpoint and the note that it is the best so far: the records know."""
    if not job.team.leads:
        return
    judged = [line for line in read_records(job.folder) if line["step"] <= begin and "score" in line]
    if judged:
        best = max(judged, key=lambda line: line["score"])
        checkpoints.mark_best(job.folder, best["step"], best["score"])
    else:
        (job.folder / checkpoints.BEST).unlink(missing_ok=True)


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
