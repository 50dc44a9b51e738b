"""Exact resume: live weights, optimizer, random state and position, written whole or not at all.

``Trainer`` of transformers reloads vision-language models under names that match nothing (transformers#43701);
here weights are stored by live name and loaded strictly.
"""

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from olhar.core.errors import StageError
from olhar.core.store import read_json, write_json, writing

STATE = "state.json"  # written last: a checkpoint without it does not exist


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where training stands after ``step`` finished steps."""

    step: int
    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    counters: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, identity: str, keep: int = 2) -> None:
    """Write ``folder/checkpoint-<step>`` and drop all but the newest ``keep``."""
    target = folder / f"checkpoint-{checkpoint.step:08d}"
    parts = {"weights": distinct(checkpoint.weights), "optimizer": checkpoint.optimizer, "random": random_state()}
    for name, tensors in parts.items():
        with writing(target / f"{name}.safetensors", "wb") as handle:
            handle.write(serialized(dict(tensors)))
    state = {"step": checkpoint.step, "identity": identity, "counters": checkpoint.counters}
    write_json(target / STATE, state)
    for old in complete(folder)[:-keep]:
        shutil.rmtree(old)


def newest(folder: Path, identity: str) -> Checkpoint | None:
    """The last complete checkpoint; restores the random state. Incomplete ones are removed."""
    there = complete(folder)
    for leftover in set(folder.glob("checkpoint-*")) - set(there):
        shutil.rmtree(leftover)
    if not there:
        return None
    state = read_json(there[-1] / STATE)
    if state["identity"] != identity:
        raise StageError(
            "this checkpoint belongs to another recipe or data set",
            str(there[-1]),
            "pass --redo train to start again, or give the recipe another name",
        )
    set_random_state(load_file(there[-1] / "random.safetensors"))
    return Checkpoint(
        state["step"],
        load_file(there[-1] / "weights.safetensors"),
        load_file(there[-1] / "optimizer.safetensors"),
        state["counters"],
    )


def steps_done(folder: Path) -> int:
    """After which step the newest complete checkpoint was written, from its name; 0 without one."""
    there = complete(folder)
    return int(there[-1].name.rpartition("-")[2]) if there else 0


def complete(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("checkpoint-*") if (path / STATE).exists())


def distinct(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors without those that are another one under a second name (tied embeddings)."""
    kept: dict[tuple[Any, ...], str] = {}
    for name, tensor in weights.items():
        kept.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), name)
    return {name: weights[name].detach().contiguous() for name in kept.values()}


def load_strictly(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights by live name; every tensor must be there, tied ones once."""
    wanted = {name: tensor.shape for name, tensor in distinct(module.state_dict()).items()}
    found = {name: tensor.shape for name, tensor in weights.items()}
    if wanted != found:
        wrong = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise StageError(
            f"{len(wrong)} tensors do not fit the model, such as {wrong[0]!r}", "checkpoint", "pass --redo train"
        )
    module.load_state_dict(weights, strict=False)


def random_state() -> dict[str, torch.Tensor]:
    """The state of every random generator in use, as tensors."""
    version, inner, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": torch.tensor(inner, dtype=torch.int64),
        "python_more": torch.tensor([version, 0 if gauss is None else 1, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy_more": torch.tensor([position, has_gauss, cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }


def set_random_state(state: Mapping[str, torch.Tensor]) -> None:
    version, has_gauss, gauss = state["python_more"].tolist()
    inner = tuple(int(value) for value in state["python"])
    random.setstate((int(version), inner, gauss if has_gauss else None))
    position, has_cached, cached = state["numpy_more"].tolist()
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_cached), cached))
    torch.set_rng_state(state["torch"])
