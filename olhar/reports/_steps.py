"""What is told of a stage of training while it runs: the numbers of its last steps, and how long it will take."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import fmean, median
from typing import Any

KEPT = 100  # steps that the pace is taken from
PAUSE = 10  # a step this many times longer than the median was no step: a checkpoint, questions asked, a new start
BARS = "▁▂▃▄▅▆▇█"
SHOWN = 32  # columns of the small curve
BRIEF, LINE = 60.0, 0.02  # a line at most every so many seconds, and every such share of the time so far

Record = Mapping[str, Any]


def is_record(item: Any) -> bool:
    """Whether this is the record of a step of training."""
    return isinstance(item, Mapping) and "loss" in item


class Steps:
    """The steps of one stage seen so far. ``total``: of the stage, None where it is not known."""

    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self._clock = total, 0, clock
        self.last: Record = {}
        self._losses: deque[float] = deque(maxlen=KEPT)
        self._times: deque[float] = deque(maxlen=KEPT + 1)
        self._curve: list[float] = []  # mean losses of spans of equal length
        self._span, self._sum, self._in_span = 1, 0.0, 0

    def add(self, record: Record) -> None:
        """One step more; ``step`` counts from 1, ``seconds`` since the stage began."""
        self.last = record
        self.done = int(record.get("step", self.done + 1))
        self._times.append(float(record.get("seconds", self._clock())))
        loss = float(record["loss"])
        if math.isfinite(loss):
            self._losses.append(loss)
            self._draw(loss)

    def _draw(self, loss: float) -> None:
        """Keeps the whole curve in at most 2 ``SHOWN`` points: neighbours are joined when it grows longer."""
        self._sum, self._in_span = self._sum + loss, self._in_span + 1
        if self._in_span < self._span:
            return
        self._curve.append(self._sum / self._span)
        self._sum, self._in_span = 0.0, 0
        if len(self._curve) == 2 * SHOWN:
            self._curve = [fmean(pair) for pair in zip(self._curve[::2], self._curve[1::2], strict=True)]
            self._span *= 2

    @property
    def loss(self) -> float:
        """The mean of the last ``KEPT`` losses, or of the last tenth of all where those are fewer; nats."""
        recent = list(self._losses)[-max(1, min(KEPT, self.done // 10)) :]
        return fmean(recent) if recent else math.nan

    @property
    def seconds_left(self) -> float | None:
        """From the pace of the last steps, without pauses; None while there is no pace or no known end."""
        times = list(self._times)
        took = [later - earlier for earlier, later in pairwise(times)]
        if self.total is None or not took:
            return None
        usual = median(took)
        steps = [seconds for seconds in took if seconds <= PAUSE * usual] if usual > 0 else took
        return max(0, self.total - self.done) * fmean(steps)

    def curve(self) -> str:
        """The loss from the first step on, one sign a span: a higher bar is a higher loss."""
        points = self._curve
        if len(points) > SHOWN:
            points = [fmean(points[place : place + 2]) for place in range(0, len(points), 2)]
        low, high = (min(points), max(points)) if points else (0.0, 0.0)
        if high <= low:
            return ""
        return "".join(BARS[round((point - low) / (high - low) * (len(BARS) - 1))] for point in points)

    def facts(self) -> list[str]:
        """Loss, real tokens a second, fill, memory, rate and energy, as far as the last record knows them."""
        record, told = self.last, [f"loss {self.loss:.3f}"]
        formats: tuple[tuple[str, Callable[[float], str]], ...] = (
            ("tokens_per_second", lambda speed: f"{speed:,.0f} tokens/s"),
            ("fill", lambda share: f"{share:.1%} full"),
            ("memory_gib", lambda memory: f"{memory:.1f} GiB"),
            ("learning_rate", lambda rate: f"rate {rate:.1e}"),
            ("energy_kwh", lambda energy: f"{energy:.3g} kWh"),
        )
        unread = record.get("energy_kwh") == 0  # its meter is asked every few seconds
        known = [(name, form) for name, form in formats if record.get(name) is not None]
        return told + [form(float(record[name])) for name, form in known if not (unread and name == "energy_kwh")]


class Pace:
    """When a line is due where there is no terminal: every tenth of the way, every minute, and ever more rarely.

    A line a minute for an hour; then one each time ``LINE`` more of the time so far has gone by, so that a run of
    weeks is told in a few hundred lines. Never twice in a second: steps done before pass by all at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._told = clock()
        self._tenth = 0

    def due(self, done: int, total: int | None) -> bool:
        """Whether to write a line now, after ``done`` steps; then the waiting begins anew."""
        now = self._clock()
        tenth = 10 * done // total if total else 0
        waited = now - self._told
        if waited < 1 or (tenth == self._tenth and waited < max(BRIEF, LINE * (now - self._began))):
            return False
        self._told, self._tenth = now, tenth
        return True


def clock_time(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``; ``0:09``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
