"""Calls to an engine: side by side, not too fast, again after what passes, and stopped before money is wasted.

Workers only call; the one who asked takes their answers one by one and keeps each before a worker gets its next
batch. So a kill at any moment repeats at most one batch a worker, and one thread alone writes to the cache.

An engine's answer of another length, a ``None`` or an exception concerns exactly the segments of that call: they are
asked for again in halves until the one at fault stands alone.
"""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from olhar.core.errors import UserError
from olhar.translation.cache import Spent
from olhar.translation.pace import Pace, Patience, Purse
from olhar.translation.wording import characters
from olhar.translators import Failure, Kept, Limits, Segment, Translator

Result = Segment | Failure


@dataclass(slots=True)
class Answered:
    """A batch as it came back, and what its calls cost.

    results: None for a segment that must be asked again another time because work stopped; a passing failure is the
    last of several attempts.
    """

    segments: Sequence[Segment]
    results: list[Result | None]
    spent: Spent = field(default_factory=Spent)
    stop: UserError | None = None


def batches(segments: Iterable[Segment], limits: Limits, size: int | None = None) -> Iterator[list[Segment]]:
    """Neighbours together, as many as one call may hold; ``size`` may ask for fewer.

    A segment too long for any call stands alone; ``Caller`` answers it without a call.
    """
    most = max(1, min(limits.segments, size or limits.segments))
    batch: list[Segment] = []
    held = 0
    for segment in segments:
        length = characters(segment)
        too_many = limits.characters is not None and held + length > limits.characters
        if batch and (len(batch) == most or too_many):
            yield batch
            batch, held = [], 0
        batch.append(segment)
        held += length
    if batch:
        yield batch


class _Stopped(Exception):
    """Work must end; what was settled so far is kept."""

    def __init__(self, error: UserError) -> None:
        super().__init__(error)
        self.error = error


class Caller:
    """Asks one engine. ``workers``: calls side by side, at most what the engine allows; None for that many."""

    def __init__(
        self,
        translator: Translator,
        patience: Patience | None = None,
        purse: Purse | None = None,
        workers: int | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.translator, limits = translator, translator.limits
        self.patience = patience or Patience()
        self.purse = purse or Purse(limits)  # knows no limit
        self.pace = pace or Pace(limits.calls_per_minute, self.patience)
        self._workers = max(1, min(limits.concurrent, workers or limits.concurrent))

    def run(self, asked: Iterable[Sequence[Segment]]) -> Iterator[Answered]:
        """Every batch answered, in the order in which answers come. The caller keeps one before it takes the next.

        Raises ``UserError`` when the engine cannot go on or the money is spent, after all that was settled was given.
        """
        todo: queue.SimpleQueue[Sequence[Segment] | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[Answered | BaseException] = queue.SimpleQueue()
        for _ in range(self._workers):
            # a daemon: an engine that hangs for ever must not keep the process alive
            threading.Thread(target=self._work, args=(todo, done), daemon=True).start()
        stop: UserError | None = None
        batches_left, under_way = iter(asked), 0
        try:
            while True:
                while under_way < self._workers and not stop and (batch := next(batches_left, None)) is not None:
                    todo.put(batch)
                    under_way += 1
                if under_way == 0:
                    break
                answered = self._next(done)
                under_way -= 1
                if answered.stop is not None:
                    stop = stop or answered.stop
                    self.pace.stop()
                yield answered
        finally:
            self.pace.stop()
            for _ in range(self._workers):
                todo.put(None)
        if stop is not None:
            raise stop

    def _next(self, done: "queue.SimpleQueue[Answered | BaseException]") -> Answered:
        while True:
            try:
                answered = done.get(timeout=self.patience.answer)
            except queue.Empty:
                if self.pace.overdue(self.patience.answer):
                    raise self._silent() from None
            else:
                if isinstance(answered, BaseException):
                    raise answered
                return answered

    def _silent(self) -> UserError:
        about = self.translator.about
        return UserError(
            f"the engine has not answered for {self.patience.answer:.0f} seconds",
            f"engine {about.name} {about.version}",
            "see whether it still runs, then give the same command again: everything answered so far is kept",
        )

    def _work(
        self,
        todo: "queue.SimpleQueue[Sequence[Segment] | None]",
        done: "queue.SimpleQueue[Answered | BaseException]",
    ) -> None:
        while (batch := todo.get()) is not None:
            try:
                done.put(_Asking(self, batch).answered())
            except BaseException as error:  # raised again where the answers are taken
                done.put(error)


class _Asking:
    """One batch on its way to being settled."""

    def __init__(self, caller: Caller, segments: Sequence[Segment]) -> None:
        self.caller, self.pace = caller, caller.pace
        self.answer = Answered(segments, [None] * len(segments))
        self.waiting = deque([list(range(len(segments)))])  # places, in groups that are asked together
        self.tries = [0] * len(segments)

    def answered(self) -> Answered:
        self._leave_out_too_long()
        try:
            while self.waiting:
                self._ask(self.waiting.popleft())
        except _Stopped as stopped:
            self.answer.stop = stopped.error
        except UserError as error:  # no later call can mend it
            self.answer.stop = error
        return self.answer

    def _leave_out_too_long(self) -> None:
        most = self.caller.translator.limits.characters
        fitting = []
        for place in self.waiting.popleft():
            if most is not None and characters(self.answer.segments[place]) > most:
                reason = f"longer than the {most} characters that one call may hold"
                self.answer.results[place] = Failure(reason, passing=True)  # with other limits it may
            else:
                fitting.append(place)
        if fitting:
            self.waiting.append(fitting)

    def _ask(self, places: list[int]) -> None:
        """One call, and what it means for each of its segments."""
        segments = [self.answer.segments[place] for place in places]
        length = sum(map(characters, segments))
        purse = self.caller.purse
        if (error := self.pace.wait() or purse.take(length)) is not None:
            raise _Stopped(error)
        try:
            results: object = self.caller.translator.translate(segments)
        except UserError:
            self._charge(length, 0)
            raise
        except Exception as fault:
            results = f"the engine failed: {type(fault).__name__}: {fault}"
        if isinstance(results, list | tuple) and len(results) == len(places):
            self._settle(places, list(map(_checked, results)))
        else:
            self._charge(length, length)
            self._halve(places, results if isinstance(results, str) else _wrong_length(results, len(places)))

    def _settle(self, places: list[int], results: list[Result]) -> None:
        """Keep what came; what may still come is asked for again after all else of the batch."""
        put_off: list[tuple[int, Failure]] = []
        charged = 0
        for place, result in zip(places, results, strict=True):
            self.answer.results[place] = result
            if isinstance(result, Failure) and result.passing:
                put_off.append((place, result))
            else:
                charged += characters(self.answer.segments[place])
        waits = max((failure.wait or 0.0 for _, failure in put_off), default=0.0)
        self._charge(sum(characters(self.answer.segments[place]) for place in places), charged)
        if len(put_off) < len(places):
            self.pace.succeeded()
        else:
            self._count_failure(put_off[0][1].reason)
        self._again([place for place, _ in put_off], waits)

    def _again(self, places: list[int], wait: float = 0.0) -> list[int]:
        """Ask for these once more after a pause, as far as patience goes; those for which it ended."""
        for place in places:
            self.tries[place] += 1
        again = [place for place in places if self.tries[place] < self.caller.patience.attempts]
        if places:
            self.pace.hold(wait, max(self.tries[place] for place in places))
        if again:
            self.waiting.append(again)
        return [place for place in places if place not in again]

    def _halve(self, places: list[int], told: str) -> None:
        """Narrow down which segment of a call is at fault; one that stands alone gets further attempts."""
        self._count_failure(told)
        if len(places) > 1:
            middle = len(places) // 2
            self.waiting.extend((places[:middle], places[middle:]))
        elif self._again(places):
            self.answer.results[places[0]] = Failure(told)

    def _count_failure(self, reason: str) -> None:
        if (error := self.pace.failed(reason, self.caller.translator.about)) is not None:
            raise _Stopped(error)

    def _charge(self, taken: int, charged: int) -> None:
        self.answer.spent += Spent(1, charged, self.caller.purse.settle(taken, charged))


def _checked(result: object) -> Result:
    """An engine's result, or the failure that it amounts to."""
    if isinstance(result, Failure):
        return result
    if not result:
        return Failure("the engine gave nothing back")
    if isinstance(result, tuple) and all(isinstance(part, str | Kept) for part in result):
        return result
    return Failure(f"the engine gave back {type(result).__name__} in place of a segment")


def _wrong_length(results: object, asked: int) -> str:
    if isinstance(results, list | tuple):
        return f"the engine gave {len(results)} results for {asked} segments"
    return f"the engine gave back {type(results).__name__} for {asked} segments"
