"""What is told of every step: the step log of a stage, and what it cost so far."""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from olhar.core.store import writing

RECORDS = "steps.jsonl"
COUNTERS = ("seconds", "cpu_seconds", "tokens", "energy_kwh", "co2_g")
Energy = tuple[float, float]  # kWh, g of CO2


class Meter:
    """Seconds, tokens and energy of this process since it was made, added to what earlier processes counted.

    energy: (kWh, g of CO2) so far. recent: the same, perhaps a little old, but cheap enough to be told of every step.
    """

    def __init__(self, energy: Callable[[], Energy], recent: Callable[[], Energy] | None = None) -> None:
        self.energy, self.recent, self.spent_before = energy, recent, energy()
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
        told = {"tokens_per_second": round(speed, 1), "seconds": round(seconds, 2)}
        if self.recent:
            told |= {name: round(value, 6) for name, value in self._spent(self.recent()).items()}
        return told

    def _spent(self, read: Energy) -> dict[str, float]:
        pairs = zip(("energy_kwh", "co2_g"), read, self.spent_before, strict=True)
        return {name: self.before[name] + now - before for name, now, before in pairs}

    def total(self) -> dict[str, float]:
        """All counters, this process and the earlier ones."""
        now = {
            "seconds": time.monotonic() - self.began,
            "cpu_seconds": self.cpu_seconds,
            "tokens": float(self.tokens),
        }
        return {name: self.before[name] + value for name, value in now.items()} | self._spent(self.energy())


def memory_gib(device: torch.device) -> float:
    """The most memory that tensors took on a GPU so far, or this process in the machine's memory."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    unit = 1 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


@contextmanager
def recording(folder: Path, begin: int, writes: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
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
