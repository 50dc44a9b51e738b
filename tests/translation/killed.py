"""A translation in a process of its own that is killed at random moments until it is let through."""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent

PROGRAM = """
import sys
from pathlib import Path
from my_lab import engine
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.work import translate_file
given, output, cache, log, pause, batch, workers = sys.argv[1:]
opened = engine.open(engine.Options(log=log, pause=float(pause), batch=int(batch), concurrent=int(workers)), "en", "pt")
translate_file(Path(given), Path(output), opened, Path(cache), Settings("en", "pt", Policies()))
"""


def started(given: Path, output: Path, log: Path, pause: float, batch: int, workers: int) -> "subprocess.Popen[bytes]":
    """The translation of ``given``, its cache beside ``output``; the engine notes what it is asked in ``log``."""
    told = [given, output, output.with_name("cache.db"), log, pause, batch, workers]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, told)], cwd=HERE)


def killed_then_finished(
    given: Path, output: Path, log: Path, pause: float, batch: int, workers: int, moments: list[float]
) -> int:
    """Kill at these moments (seconds after the engine's first call), then run to the end; how many kills hit."""
    hit = 0
    for moment in moments:
        running = started(given, output, log, pause, batch, workers)
        asked = log.stat().st_size if log.exists() else 0
        while running.poll() is None and (not log.exists() or log.stat().st_size == asked):
            pass_time(running, 0.005)
        pass_time(running, moment)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            hit += 1
        running.wait()
        if output.exists():
            break
    if not output.exists():
        assert started(given, output, log, pause, batch, workers).wait() == 0
    return hit


def pass_time(running: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        running.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def asked(log: Path) -> Counter[str]:
    """How often the engine was asked for each segment."""
    return Counter(json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())


def moments(kills: int, seconds: float, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.uniform(0, seconds) for _ in range(kills)]
