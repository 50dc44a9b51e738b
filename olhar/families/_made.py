"""A tensor that is not in memory yet: its shape and type, and how to get it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Made:
    """One tensor to be: its shape, torch's name of its type (``float32``), how it is made, from which files.

    ``load`` reads and makes it; until then nothing is in memory.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], "torch.Tensor"]
    how: str = "as it is"
    files: tuple[Path, ...] = ()

    def changed(self, shape: Sequence[int], change: Callable[["torch.Tensor"], "torch.Tensor"], how: str) -> "Made":
        """The same tensor passed through ``change``, which gives ``shape``."""
        return replace(self, shape=tuple(shape), load=lambda: change(self.load()), how=how)


def in_memory(tensor: "torch.Tensor", how: str = "as it is") -> Made:
    """A tensor that is there already."""
    return Made(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), lambda: tensor, how)


def on_disk(name: str, disk_names: Iterable[tuple[str, str]]) -> str:
    """A live model's parameter name as it is written in files: the first prefix (live, disk) that fits counts."""
    return next(disk + name[len(live) :] for live, disk in disk_names if name.startswith(live))
