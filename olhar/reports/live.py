"""What a person sees while a stage works: one bar at a time, on a terminal; a few lines, elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import chain, islice
from typing import Any

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from olhar.reports._steps import Pace, Steps, clock_time, is_record

EVERY = 0.1  # seconds between two looks at the bar


class Live:
    """``track`` wraps an iterable in a progress bar; ``say`` prints below what was said before."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self._clock = console, clock
        self._told = ("", -1)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """How far some work is that is no iterable: a line each time it is another work or a tenth further."""
        tenth = 10 * done // total if total else 0
        if (what, tenth) != self._told:
            self._told = (what, tenth)
            self.console.print(f"  [dim]{what}: {done:,}{f' of {total:,}' if total else ''}[/]")

    def say(self, what: Any) -> None:
        self.console.print(what)

    def track(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        """The items, unchanged; records of training steps, known by their ``loss``, are told number by number."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        rest, began = iter(items), self._clock()
        if not self.console.is_terminal:
            first = list(islice(rest, 1))
            told = self._lines if first and is_record(first[0]) else self._quietly
            yield from told(chain(first, rest), label, total, began)
            return
        for item in self._until_a_record(rest, label, total):
            if is_record(item):
                yield from self._panel(chain([item], rest), label, total)
                return
            yield item

    def _until_a_record(self, items: Iterator[Any], label: str, total: int | None) -> Iterator[Any]:
        """A bar over the items; it goes away for the first record of a step, the last item that comes out."""
        with self._bar() as bar:
            task = bar.add_task(label, total=total)
            done, looked = 0, 0.0
            for done, item in enumerate(items, start=1):
                if is_record(item):
                    bar.update(task, visible=False)
                    break
                yield item
                if self._clock() - looked > EVERY:
                    looked = self._clock()
                    bar.update(task, completed=done)
            else:
                bar.update(task, completed=done, total=done)
                return
        yield item

    def _bar(self, *more: Any) -> Progress:
        remaining = more or (TimeRemainingColumn(elapsed_when_finished=True),)
        columns = (SpinnerColumn(), TextColumn("  {task.description}"), BarColumn(bar_width=28), MofNCompleteColumn())
        return Progress(*columns, *remaining, console=self.console)

    def _panel(self, records: Iterator[Any], label: str, total: int | None) -> Iterator[Any]:
        """Two lines that stay where they are: how far the stage is and what is left; what its last steps were."""
        steps, bar = Steps(total, self._clock), self._bar(TextColumn("{task.fields[told]}"))
        task = bar.add_task(label, total=total, told="")
        looked, below, began = -EVERY, Text(), self._clock()
        with Screen(Group(bar, below), console=self.console, refresh_per_second=10) as screen:
            for record in records:
                steps.add(record)
                yield record
                if self._clock() - looked >= EVERY:
                    looked = self._clock()
                    left = steps.seconds_left
                    self._show(steps, bar, task, screen, "" if left is None else f"{clock_time(left)} left")
            self._show(steps, bar, task, screen, f"in {clock_time(self._clock() - began)}")

    def _show(self, steps: Steps, bar: Progress, task: Any, screen: Screen, told: str) -> None:
        bar.update(task, completed=steps.done, told=f"[cyan]{told}[/]")
        below = Text("    " + ", ".join(steps.facts()), style="dim")
        curve = steps.curve()
        screen.update(Group(bar, below, Text("    " + curve, style="blue")) if curve else Group(bar, below))

    def _lines(self, records: Iterator[Any], label: str, total: int | None, began: float) -> Iterator[Any]:
        """A line now and then: see ``Pace``; the last step has one of its own."""
        steps, pace = Steps(total, self._clock), Pace(self._clock)
        for record in records:
            steps.add(record)
            yield record
            if pace.due(steps.done, total) and steps.done != total:
                self._tell(self._line(steps, label))
        self._tell(f"  {label}: {steps.done:,} in {self._clock() - began:.1f} s, {', '.join(steps.facts())}")

    def _line(self, steps: Steps, label: str) -> str:
        left = steps.seconds_left
        way = f"{steps.done:,}/{steps.total:,} ({steps.done / steps.total:.0%})" if steps.total else f"{steps.done:,}"
        ending = [] if left is None else [f"{clock_time(left)} left"]
        return f"  {label}: {', '.join([way, *steps.facts(), *ending])}"

    def _tell(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _quietly(self, items: Iterable[Any], label: str, total: int | None, began: float) -> Iterator[Any]:
        done = 0
        for item in items:
            yield item
            done += 1
        self.console.print(f"  {label}: {done:,} in {self._clock() - began:.1f} s")
