"""An engine outside olhar that shouts, and does wrong what it is told to do wrong."""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from olhar.core.errors import UserError
from olhar.translators import About, EngineOptions, Failure, Kept, Limits, Segment


class Options(EngineOptions):
    log: str | None = None  # every segment of every call, a line each
    pause: float = 0.0  # seconds of a call
    keeps: bool = True
    deterministic: bool = True
    batch: int = 32
    characters: int | None = None
    concurrent: int = 1
    price: float = 0.0
    faults: dict[str, str] = Field(default_factory=dict)  # a word -> what goes wrong with the segments that hold it


def open(options: Options, source: str, target: str) -> "Shouting":
    return Shouting(options)


class Shouting:
    """A ``Translator`` into upper case. ``calls``: the segments of each call."""

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        self.options = options or Options(**changes)
        self.about = About("my_lab.engine", "1", "none")
        self.keeps, self.deterministic = self.options.keeps, self.options.deterministic
        self.limits = Limits(
            self.options.batch,
            self.options.characters,
            concurrent=self.options.concurrent,
            price=self.options.price,
        )
        self.calls: list[list[Segment]] = []
        self.at_once = self.most_at_once = 0
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        with self._lock:
            self.calls.append(list(segments))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._log(segments)
        try:
            time.sleep(self.options.pause)
            results = [self._one(segment) for segment in segments]
            return results[:-1] if any(result == "short" for result in results) else results  # type: ignore
        finally:
            with self._lock:
                self.at_once -= 1

    def close(self) -> None: ...

    def _log(self, segments: Sequence[Segment]) -> None:
        if self.options.log:
            lines = "".join(json.dumps(told(segment)) + "\n" for segment in segments)
            handle = os.open(self.options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, lines.encode())
            os.close(handle)

    def _one(self, segment: Segment) -> Any:
        text = told(segment)
        fault = next((fault for word, fault in self.options.faults.items() if word in text), "")
        with self._lock:
            self._times[text] += 1
            first = self._times[text] == 1
        shouted: list[str | Kept] = [part if isinstance(part, Kept) else part.upper() for part in segment]
        kept = [part for part in shouted if isinstance(part, Kept)]
        words = [part for part in shouted if not isinstance(part, Kept)]
        if fault == "raise" or (fault == "raise once" and first):
            raise RuntimeError("a bad day")
        if fault == "refuse":
            raise UserError("the key is refused", "the engine", "get another key")
        made: dict[str, Any] = {
            "none": None,
            "short": "short",
            "empty": (),
            "text": "text",
            "final": Failure("it says no"),
            "busy": Failure("429", passing=True, wait=7.0),
            "busy once": Failure("429", passing=True, wait=7.0) if first else tuple(shouted),
            "drop": tuple(words),
            "twice": (*shouted, *kept),
            "turn": tuple(reversed(shouted)),
            "spaces": tuple(f"  {part}  " if isinstance(part, str) else part for part in shouted),
        }
        return made.get(fault, tuple(shouted))


def told(segment: Segment) -> str:
    return "".join(part.text if isinstance(part, Kept) else part for part in segment)
