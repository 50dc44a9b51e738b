"""Batches for the loop, prepared ahead by worker processes whose troubles reach a person."""

from collections.abc import Iterator
from typing import Any

import torch

from olhar.core.errors import UserError

AHEAD = 4  # batches that workers prepare in advance
WORKER = "DataLoader worker"  # how torch's error of a dead worker begins


class _Told(torch.utils.data.Dataset[Any]):
    """A data set whose ``UserError`` is a value: torch raises a worker's error again from its text alone."""

    def __init__(self, batches: torch.utils.data.Dataset[Any]) -> None:
        self.batches = batches

    def __getitem__(self, index: int) -> Any:
        try:
            return self.batches[index]
        except UserError as error:
            return error


def fed(batches: torch.utils.data.Dataset[Any], indices: range, workers: int, device: torch.device) -> Iterator[Any]:
    """The batches of these indices, in order.

    Raises the ``UserError`` that making one raised, and one of its own when a worker was killed.
    """
    loader = torch.utils.data.DataLoader(
        _Told(batches),
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it draws from the global one, once more in a resumed run
    )
    made = iter(loader)
    while True:
        try:
            batch = next(made, None)
        except (ConnectionError, EOFError, FileNotFoundError) as error:  # it died while its tensors were fetched
            if not workers:
                raise
            raise _ended(repr(error)) from error
        if batch is None:
            return
        if isinstance(batch, UserError):
            raise batch
        yield batch


def lost_worker(error: RuntimeError) -> UserError | None:
    """What to tell when a worker's death is what an error is about: it is raised wherever the loop happens to be."""
    return _ended(str(error).splitlines()[0]) if WORKER in str(error) else None


def _ended(told: str) -> UserError:
    return UserError(
        f"a process that prepares batches ended: {told}",
        "train.workers",
        "give the same command to continue; if it was killed for memory, lower workers, max_tokens or max_tiles",
    )
