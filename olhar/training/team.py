"""Several processes train one model: each takes its share of every step's packs, and gradients are summed.

Process 0 is the one a person started; it alone writes and shows. The others are started by it, do the same steps on
the same weights, and end when it ends, however that comes about. Transport is gloo of torch.distributed.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

from olhar.core.errors import StageError

Result = TypeVar("Result")
PATIENCE = timedelta(days=2)  # processes wait while process 0 prepares tokens and features
HEARTBEAT = 1.0  # seconds between two looks at whether process 0 still lives


class Team:
    """The processes that train together; a team of one does nothing of what is said below."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def in_turn(self, do: Callable[[], Result]) -> Result:
        """Process 0 does it first, so that the others find what it made."""
        if self.leads:
            result = do()
            self._wait()
            return result
        self._wait()
        return do()

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes, the same bits in each."""
        if self.size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)
        self._reduce(tensor)
        return [float(value) for value in tensor]

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Every gradient becomes its sum over all processes; one that a process lacks counts as zero."""
        if self.size == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._reduce(flat)
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def _reduce(self, tensor: torch.Tensor) -> None:
        with _lost_processes():
            distributed.all_reduce(tensor)

    def _wait(self) -> None:
        if self.size > 1:
            with _lost_processes():
                distributed.barrier()


@contextmanager
def _lost_processes() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise StageError(
            "a process of this training was lost",
            "train.processes",
            "give the same command to continue from the last checkpoint; if it was killed for memory, lower processes",
        ) from error


@contextmanager
def assembled(size: int, work: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[Team]:
    """A team of ``size`` processes. The others run ``work(team, *arguments)``; this one does its part inside."""
    if size == 1:
        yield Team()
        return
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_assist, args=(store.port, rank, size, work, arguments)) for rank in range(1, size)
    ]
    for process in others:
        process.start()
    try:
        distributed.init_process_group("gloo", store=store, rank=0, world_size=size, timeout=PATIENCE)
        yield Team(0, size)
        for process in others:
            process.join()
    finally:
        for process in others:
            process.kill()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _assist(port: int, rank: int, size: int, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """A further process: silent, because process 0 says what there is to say."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    store = distributed.TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        work(Team(rank, size), *arguments)
    except (StageError, KeyboardInterrupt):
        os._exit(1)


def _end_with(parent: int) -> None:
    """A process whose process 0 was killed would wait for it for ever."""
    while os.getppid() == parent:
        time.sleep(HEARTBEAT)
    os._exit(1)
