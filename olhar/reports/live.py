"""What a person sees while a stage works: one bar at a time, on a terminal; one line when done, elsewhere."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

EVERY = 0.1  # seconds between two looks at the bar


class Live:
    """``track`` wraps an iterable in a progress bar; ``say`` prints below what was said before."""

    def __init__(self, console: Console) -> None:
        self.console = console
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
        """The items, unchanged; a mapping with a ``loss`` shows it and its tokens per second."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        if not self.console.is_terminal:
            yield from self._quietly(items, label)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[more]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(label, total=total, more="")
            done, looked = 0, 0.0
            for item in items:
                yield item
                done += 1
                if time.monotonic() - looked > EVERY:
                    looked = time.monotonic()
                    progress.update(task, completed=done, more=_more(item))
            progress.update(task, completed=done, total=done)

    def _quietly(self, items: Iterable[Any], label: str) -> Iterator[Any]:
        began, done, last = time.monotonic(), 0, None
        for item in items:
            yield item
            done, last = done + 1, item
        more = _more(last)
        self.console.print(f"  {label}: {done:,} in {time.monotonic() - began:.1f} s{', ' + more if more else ''}")


def _more(item: Any) -> str:
    if not isinstance(item, Mapping) or "loss" not in item:
        return ""
    return f"loss {item['loss']:.3f}, {item['tokens_per_second']:,.0f} tokens/s"
