"""Other people's trackers beside ``steps.jsonl``: TensorBoard, trackio, Weights & Biases. All stay on this machine.

Nothing is uploaded unasked: Weights & Biases runs ``offline`` unless the person set ``WANDB_MODE``, trackio writes to
its own folder unless the person set ``TRACKIO_SPACE_ID``. The packages are extras, imported only when a recipe names
them.
"""

import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from olhar.core.errors import UserError

LOGGED = "logged.jsonl"
PROJECT = "olhar"


class Log(Protocol):
    """One tracker: ``write`` keeps the values of one step of one stage, ``close`` ends it."""

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Logs:
    """The trackers of one run. A step that was written is not written again, also by a later process.

    After every step a line of ``logged.jsonl`` says so; a process killed between the two writes that one step again.
    """

    def __init__(self, logs: Sequence[Log], path: Path, done: Mapping[str, int]) -> None:
        self._logs, self._done = tuple(logs), dict(done)
        self._marks = open(path, "a", encoding="utf-8", buffering=1) if logs else None

    def record(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of a step's record to all trackers; what is no number is left out."""
        stage, step = str(record["stage"]), int(record["step"])
        if not self._logs or step <= self._done.get(stage, 0):
            return
        values = {name: float(value) for name, value in record.items() if _number(value) and name != "step"}
        for log in self._logs:
            log.write(stage, step, values)
        self._done[stage] = step
        if self._marks:
            self._marks.write(json.dumps({"stage": stage, "step": step}) + "\n")

    def close(self) -> None:
        """End all trackers; the run can be gone on with."""
        for log in self._logs:
            log.close()
        if self._marks:
            self._marks.close()


def open_logs(names: Sequence[str], folder: Path, run: str) -> Logs:
    """The trackers of these names for a run, with their files in ``folder``.

    Raises ``UserError`` saying what to install where a package is missing.
    """
    if not names:
        return Logs((), folder / LOGGED, {})
    folder.mkdir(parents=True, exist_ok=True)
    identity, done = _earlier(folder / LOGGED)
    return Logs([OPENERS[name](folder, run, identity) for name in names], folder / LOGGED, done)


def _earlier(path: Path) -> tuple[str, dict[str, int]]:
    """Which run this is for the trackers, and the last step of every stage that they have.

    A run that is begun anew is another one: its folder was discarded, and with it this file.
    """
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        if len(rows) < len(lines):  # the last one was cut by a kill
            path.write_text("".join(lines[:-1]), encoding="utf-8")
        if rows:
            return rows[0]["run"], {row["stage"]: row["step"] for row in rows[1:]}
    identity = uuid4().hex[:8]
    path.write_text(json.dumps({"run": identity}) + "\n", encoding="utf-8")
    return identity, {}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"the recipe logs to {extra}, which is not installed: {error}",
            "train.logs",
            f"pip install 'olhar[{extra}]', or take {extra!r} out of train.logs",
        ) from error


class _TensorBoard:
    """Scalars by stage, ``skills/loss``, over the stage's own steps: ``tensorboard --logdir runs``."""

    def __init__(self, folder: Path, run: str, identity: str) -> None:
        self._writer = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder / "tensorboard"))

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        self._writer.flush()  # what the mark says must be in the file, whatever kills this process

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    """trackio's own folder on this machine: ``trackio show --project olhar``."""

    def __init__(self, folder: Path, run: str, identity: str) -> None:
        self._trackio = _imported("trackio", "trackio")
        self._trackio.init(project=PROJECT, name=f"{run}-{identity}", resume="allow", embed=False)

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log({f"{stage}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._trackio.finish()


class _Wandb:
    """Files below ``folder``; ``wandb sync`` uploads them, if the person wants that."""

    def __init__(self, folder: Path, run: str, identity: str) -> None:
        wandb = _imported("wandb", "wandb")
        mode = os.environ.get("WANDB_MODE", "offline")
        options = {"project": PROJECT, "name": run, "id": f"{run}-{identity}", "resume": "allow"}
        self._run = wandb.init(dir=str(folder), mode=mode, **options)
        self._stages: set[str] = set()

    def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        if stage not in self._stages:  # every stage counts its steps from 1; one axis of all would refuse that
            self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
            self._stages.add(stage)
        self._run.log({f"{stage}/{name}": value for name, value in values.items()} | {f"{stage}/step": step})

    def close(self) -> None:
        self._run.finish()


OPENERS: Mapping[str, Callable[[Path, str, str], Log]] = {
    "tensorboard": _TensorBoard,
    "trackio": _Trackio,
    "wandb": _Wandb,
}
