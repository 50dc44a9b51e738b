"""Exact resume: weights, optimizer, random state and position, written whole or not at all.

``Trainer`` of transformers reloads vision-language models under names that match nothing (transformers#43701);
here tensors are stored by live name and loaded strictly. A checkpoint is a folder::

    checkpoint-00000120/
      weights.safetensors, optimizer.safetensors    written by process 0, or, of a model spread over processes,
      weights/, optimizer/                          each process its part (torch.distributed.checkpoint)
      random-<rank>.safetensors                     of every process
      state.json                                    step, counters, identity; written last

It is made under a temporary name. Tensors of either layout are read by any number of processes.
"""

import random
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from olhar.core.errors import StageError
from olhar.core.store import PARTIAL, changes, disk_errors, read_json, sync_folder, write_json, writing
from olhar.training.processes.state import empty_like_part, is_spread
from olhar.training.processes.team import Team

STATE = "state.json"  # written last: a checkpoint without it does not exist
BEST = "best.json"
WEIGHTS, OPTIMIZER = "weights", "optimizer"
WRITER = "inline_container"  # of torch: its error names its own file where a disk is full, and hides the disk's
Identity = str | Mapping[str, str]
Like = Callable[[str], torch.Tensor | None]  # by a tensor's name, what it will be copied into


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where training stands after ``step`` finished steps; its tensors are read when they are asked for."""

    path: Path
    step: int
    counters: Mapping[str, Any]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """What was trained, whole, on the CPU."""
        return self.tensors(WEIGHTS)

    @property
    def optimizer(self) -> dict[str, torch.Tensor]:
        return self.tensors(OPTIMIZER)

    def tensors(self, part: str, like: Like | None = None) -> dict[str, torch.Tensor]:
        """All tensors of one part. With ``like``, where the checkpoint has parts, each process reads what belongs to
        its part of that tensor; all processes call it together then."""
        file = self.path / f"{part}.safetensors"
        return load_file(file) if file.exists() else _read_parts(self.path / part, like)

    def restore_random(self, team: Team) -> None:
        """Random numbers go on where they were; a process more than there were gets numbers of its own."""
        file = self.path / f"random-{team.rank}.safetensors"
        if file.exists():
            set_random_state(load_file(file))
        else:
            seed_apart(self.step, team)


def save(
    folder: Path,
    step: int,
    parts: Mapping[str, Mapping[str, torch.Tensor]],
    counters: Mapping[str, Any],
    identity: Identity,
    team: Team | None = None,
    keep: int = 2,
) -> None:
    """Write ``folder/checkpoint-<step>`` and drop all but the newest ``keep`` and the best. All processes call it.

    Raises ``DiskError``, and leaves the checkpoints before, when the disk refuses.
    """
    team = team or Team()
    target = folder / f"checkpoint-{step:08d}"
    partial = target.with_name(target.name + PARTIAL)
    if team.leads:
        shutil.rmtree(partial, ignore_errors=True)
    team.wait()
    _write(partial / f"random-{team.rank}.safetensors", random_state())
    for name, tensors in parts.items():
        if any(is_spread(tensor) for tensor in tensors.values()):
            _write_parts(partial / name, tensors)
        elif team.leads:
            _write(partial / f"{name}.safetensors", tensors)
    team.wait()
    if team.leads:
        write_json(partial / STATE, {"step": step, "identity": _named(identity), "counters": counters})
        with disk_errors(target):
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            sync_folder(folder)
        prune(folder, keep)


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    with writing(path, "wb") as handle:
        handle.write(serialized({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _write_parts(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    import torch.distributed.checkpoint as parts

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        parts.save(dict(tensors), storage_writer=parts.FileSystemWriter(folder, sync_files=True))
    except parts.CheckpointException as error:  # of any process, told to all
        for failure, _ in error.failures.values():
            if isinstance(failure, OSError) or WRITER in str(failure):
                with disk_errors(folder):
                    raise failure if isinstance(failure, OSError) else OSError("the disk refused") from error
        raise


def _read_parts(folder: Path, like: Like | None) -> dict[str, torch.Tensor]:
    import torch.distributed.checkpoint as parts
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = parts.FileSystemReader(folder)
    found: dict[str, torch.Tensor] = {}
    for name, entry in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(entry, TensorStorageMetadata)  # nothing else is written
        found[name] = empty_like_part(like(name) if like else None, entry.size, entry.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is", UserWarning)  # one process reads alone: it is meant
        parts.load(found, storage_reader=reader, no_dist=like is None)
    return found


def prune(folder: Path, keep: int) -> None:
    """Drop all checkpoints but the newest ``keep`` and the best."""
    kept = best(folder)
    for old in complete(folder)[:-keep]:
        if kept is None or old != path_of(folder, kept[0]):
            shutil.rmtree(old)


def newest(folder: Path, identity: Identity) -> Checkpoint | None:
    """The last complete checkpoint; incomplete ones are removed.

    Raises ``StageError``, naming what differs, when it is of another recipe, data, tokenizer or version.
    """
    there = complete(folder)
    for leftover in set(folder.glob("checkpoint-*")) - set(there):
        shutil.rmtree(leftover, ignore_errors=True)  # another process may be removing it too
    return read(there[-1], identity) if there else None


def read(path: Path, identity: Identity) -> Checkpoint:
    """One complete checkpoint; raises ``StageError`` as ``newest`` does."""
    state = read_json(path / STATE)
    if state["identity"] != _named(identity):
        differing = "; ".join(changes(state["identity"], _named(identity)))
        raise StageError(
            f"this checkpoint was made from something else: {differing}",
            str(path),
            "pass --redo train to start again, or give the recipe another name",
        )
    return Checkpoint(path, state["step"], state["counters"])


def _named(identity: Identity) -> dict[str, str]:
    return {"recipe": identity} if isinstance(identity, str) else dict(identity)


def mark_best(folder: Path, step: int, score: float) -> None:
    """That step's checkpoint is the best one so far, and stays."""
    write_json(folder / BEST, {"step": step, "score": score})


def best(folder: Path) -> tuple[int, float] | None:
    """(step, score) of the best checkpoint; None where no judge looked."""
    if not (folder / BEST).exists():
        return None
    found = read_json(folder / BEST)
    return found["step"], found["score"]


def steps_done(folder: Path) -> int:
    """After which step the newest complete checkpoint was written, from its name; 0 without one."""
    there = complete(folder)
    return int(there[-1].name.rpartition("-")[2]) if there else 0


def path_of(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step:08d}"


def complete(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("checkpoint-*") if (path / STATE).exists())
    return [path for path in found if not path.name.endswith(PARTIAL)]


def seed_apart(seed: int, team: Team) -> None:
    """Every process draws other numbers: their samples are dropped out independently."""
    if not team.leads:
        for draw in (random.seed, np.random.seed, torch.manual_seed):
            draw((seed * team.size + team.rank) % 2**32)


def random_state() -> dict[str, torch.Tensor]:
    """The state of every random generator in use, those of all GPUs too, as tensors."""
    version, inner, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {
        "python": torch.tensor(inner, dtype=torch.int64),
        "python_more": torch.tensor([version, 0 if gauss is None else 1, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy_more": torch.tensor([position, has_gauss, cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
        **{f"cuda-{number}": state for number, state in enumerate(gpus)},
    }


def set_random_state(state: Mapping[str, torch.Tensor]) -> None:
    version, has_gauss, gauss = state["python_more"].tolist()
    inner = tuple(int(value) for value in state["python"])
    random.setstate((int(version), inner, gauss if has_gauss else None))
    position, has_cached, cached = state["numpy_more"].tolist()
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_cached), cached))
    torch.set_rng_state(state["torch"])
    for number in range(torch.cuda.device_count()):
        if f"cuda-{number}" in state:
            torch.cuda.set_rng_state(state[f"cuda-{number}"], number)
