"""Several processes train one model: each takes its share of every step's packs, and gradients are summed.

``processes`` of the recipe are started here by the process a person started. Under ``torchrun``, which starts them
itself, also on several machines, the team is the one its environment describes. Process 0 alone writes and shows.
Gradients travel by gloo between processors and by NCCL between GPUs; a few numbers a step travel by gloo.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

from olhar.core.errors import StageError, UserError
from olhar.training.processes.heartbeat import BEAT, LAST_WORDS, Heartbeat

Result = TypeVar("Result")
PATIENCE = timedelta(days=2)  # processes wait while process 0 prepares tokens and features
GRACE = 10.0  # seconds in which a collective may fail by itself after a process was lost
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells its processes


class Team:
    """The processes that train together; a team of one does nothing of what is said below.

    ``device``: what this process computes on.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        device: torch.device | str = "cpu",
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.rank, self.size, self.device, self.heartbeat = rank, size, torch.device(device), heartbeat

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def in_turn(self, do: Callable[[], Result]) -> Result:
        """Process 0 does it first, so that the others find what it made."""
        if self.leads:
            result = do()
            self.wait()
            return result
        self.wait()
        return do()

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes, the same bits in each."""
        if self.size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)  # on the CPU: no GPU waits for it
        with self.guarded():
            distributed.all_reduce(tensor)
        return [float(value) for value in tensor]

    def wait(self) -> None:
        """Until all processes are here."""
        self.summed([0.0])

    def broadcast(self, tensors: Sequence[torch.Tensor]) -> None:
        """Every tensor becomes what it is in process 0."""
        if self.size > 1:
            with self.guarded():
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A collective that fails because a process ended becomes a ``StageError``; any other error stays itself."""
        try:
            yield
        except RuntimeError as error:
            if self.size > 1 and (self.heartbeat is None or self.heartbeat.lost()):
                raise lost_process(self.heartbeat.words if self.heartbeat else "") from error
            raise


def lost_process(words: str = "") -> StageError:
    """The error for a process that ended before the others; ``words``: what it said of itself."""
    return StageError(
        f"a process of this training was lost{': ' + words if words else ''}",
        "train.processes",
        "give the same command to continue from the last checkpoint; if it was killed for memory, lower processes",
    )


def launched() -> bool:
    """Whether torchrun started this process, and others beside it."""
    return all(name in os.environ for name in LAUNCHED)


def device_of(wanted: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` for one of the processes of this machine; each gets a GPU of its own.

    Raises ``UserError`` where there are too few.
    """
    count = torch.cuda.device_count() if wanted != "cpu" else 0
    if wanted == "cpu" or (wanted == "auto" and not count):
        return torch.device("cpu")
    if local_size > count:
        raise UserError(
            f"{local_size} processes and {count} GPUs on this machine",
            "train.device, train.processes",
            "lower processes to the number of GPUs, or write device = 'cpu'",
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


@contextmanager
def assembled(size: int, work: Callable[..., Any], arguments: Sequence[Any], device: str = "auto") -> Iterator[Team]:
    """A team of ``size`` processes. The others run ``work(team, *arguments)``; this one does its part inside.

    Under torchrun, ``size`` and ``work`` do not count: each of its processes comes here with its own part.
    """
    if launched():
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local, beside = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        store, _, _ = next(distributed.rendezvous("env://", rank, count, timeout=PATIENCE))
        with _group(store, rank, count, device_of(device, local, beside)) as team:
            yield team
    elif size == 1:
        yield Team(device=device_of(device))
    else:
        with _spawned(size, work, arguments, device) as team:
            yield team


@contextmanager
def _spawned(size: int, work: Callable[..., Any], arguments: Sequence[Any], device: str) -> Iterator[Team]:
    place = device_of(device, 0, size)
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    context = multiprocessing.get_context("spawn")
    told = (store.port, size, device, work, arguments)
    others = [context.Process(target=_assist, args=(rank, *told)) for rank in range(1, size)]
    for process in others:
        process.start()
    try:
        _all_here(store, others)
        with _group(store, 0, size, place) as team:
            yield team
            for process in others:
                process.join()
    finally:
        for process in others:
            process.kill()


def _all_here(store: Any, others: Sequence[Any]) -> None:
    """Wait until every further process has come; one that ends instead would be waited for for days."""
    while not store.check([f"here-{rank}" for rank in range(1, len(others) + 1)]):
        if not all(process.is_alive() for process in others):
            raise lost_process("it ended before training began")
        time.sleep(0.05)


@contextmanager
def _group(store: Any, rank: int, size: int, device: torch.device) -> Iterator[Team]:
    """The process group, and signs of life beside it."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    heart = distributed.PrefixStore("olhar", store.clone())
    heartbeat = Heartbeat(heart, rank, size, lambda _: _end(heartbeat))
    try:
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        yield Team(rank, size, device, heartbeat)
    except UserError as error:
        if not isinstance(error, StageError):
            with suppress(Exception):  # the store may be what was lost
                heart.set(LAST_WORDS, f"{error.what} ({error.where})")
        raise
    finally:
        heartbeat.stop()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _end(heartbeat: Heartbeat) -> None:
    """A process was lost, and this one may wait for it in a collective that never fails: end it from its thread."""
    time.sleep(GRACE)
    print(f"error: {lost_process(heartbeat.words)}", file=sys.stderr, flush=True)
    os._exit(2)


def _assist(rank: int, port: int, size: int, device: str, work: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """A further process: silent, because process 0 says what there is to say."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    store = distributed.TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
    store.set(f"here-{rank}", "")
    try:
        with _group(store, rank, size, device_of(device, rank, size)) as team:
            work(team, *arguments)
    except (UserError, KeyboardInterrupt):
        os._exit(1)


def _end_with(parent: int) -> None:
    """A process whose process 0 was killed would wait for it for ever."""
    while os.getppid() == parent:
        time.sleep(BEAT)
    os._exit(1)
