"""Batches, workers, waiting, trying again, giving up, money: with an engine that does everything wrong."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from my_lab.engine import Shouting, told

from olhar.core.errors import UserError
from olhar.translation.calls import Answered, Caller, batches
from olhar.translation.pace import Pace, Patience, Purse
from olhar.translation.wording import characters
from olhar.translators import About, Failure, Kept, Limits, Segment

QUICK = Patience(attempts=3, failures=6, first_wait=0.001, longest_wait=0.002, seed=1)


def segments(count: int) -> list[Segment]:
    return [(f"word {number}",) for number in range(count)]


def answers(caller: Caller, asked: Iterable[Sequence[Segment]]) -> tuple[dict[str, Any], UserError | None]:
    """Everything that came back, by text, and what work ended with."""
    found: dict[str, Any] = {}
    try:
        for answered in caller.run(asked):
            found |= {told(one): result for one, result in zip(answered.segments, answered.results, strict=True)}
    except UserError as error:
        return found, error
    return found, None


def instant(patience: Patience) -> Pace:
    """A pace whose waits take no time at all."""
    ticks = iter(range(10**9))
    return Pace(None, patience, now=lambda: 100.0 * next(ticks), sleep=lambda seconds: None)


def all_in_one(engine: Shouting) -> dict[str, Any]:
    found, error = answers(Caller(engine, QUICK, pace=instant(QUICK)), [segments(8)])
    assert error is None
    return found


@given(some.lists(some.text(min_size=1, max_size=30)), some.integers(1, 7), some.none() | some.integers(1, 40))
def test_batches_hold_what_a_call_may_and_lose_nothing(texts: list[str], most: int, length: int | None) -> None:
    asked: list[Segment] = [(text,) for text in texts]
    made = list(batches(asked, Limits(most, length), 5))
    assert [segment for batch in made for segment in batch] == asked
    assert all(0 < len(batch) <= min(most, 5) for batch in made)
    assert all(len(batch) == 1 or length is None or sum(map(characters, batch)) <= length for batch in made)


def test_every_segment_gets_its_own_answer() -> None:
    engine = Shouting(batch=3)
    found, error = answers(Caller(engine), batches(segments(10), engine.limits))
    assert error is None and [len(call) for call in engine.calls] == [3, 3, 3, 1]
    assert found == {f"word {number}": (f"WORD {number}",) for number in range(10)}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "RuntimeError: a bad day"),
        ("short", "0 results for 1 segments"),
        ("none", "nothing back"),
        ("empty", "nothing back"),
        ("text", "gave back str"),
        ("final", "it says no"),
    ],
)
def test_a_fault_concerns_its_segment_alone(fault: str, reason: str) -> None:
    engine = Shouting(faults={"word 5": fault})
    found = all_in_one(engine)
    assert isinstance(found["word 5"], Failure) and reason in found["word 5"].reason
    assert not found["word 5"].passing
    assert [found[f"word {number}"] for number in range(8) if number != 5] == [
        (f"WORD {number}",) for number in range(8) if number != 5
    ]


def test_a_fault_that_passes_leaves_no_trace() -> None:
    for fault in ("raise once", "busy once"):
        assert all_in_one(Shouting(faults={"word 5": fault}))["word 5"] == ("WORD 5",)


def test_what_is_put_off_alone_is_asked_again() -> None:
    engine = Shouting(faults={"word 5": "busy once"})
    assert all_in_one(engine)["word 5"] == ("WORD 5",)
    assert [len(call) for call in engine.calls] == [8, 1]


def test_waiting_obeys_the_engine_and_grows(clock: Any) -> None:
    patience = Patience(attempts=9, failures=5, first_wait=4.0, longest_wait=20.0, seed=7)
    engine = Shouting(faults={"word": "busy"})
    _, error = answers(Caller(engine, patience, pace=clock.pace(patience)), [segments(3)])
    assert error is not None and "failed 5 times in a row, at last: 429" in error.what
    assert len(engine.calls) == 5 and len(clock.slept) == 4
    assert clock.slept[0] == 7.0  # as asked: more than 4 seconds at most
    assert all(limit / 2 <= slept <= limit for slept, limit in zip(clock.slept[2:], (16.0, 20.0), strict=True))
    again = Shouting(faults={"word": "busy"})
    other = type(clock)()
    answers(Caller(again, patience, pace=other.pace(patience)), [segments(3)])
    assert other.slept == clock.slept  # the jitter is seeded


def test_calls_keep_to_the_rate(clock: Any) -> None:
    engine = Shouting(batch=1)
    caller = Caller(engine, pace=clock.pace(Patience(), calls_per_minute=30))
    answers(caller, batches(segments(5), engine.limits))
    assert clock.at == pytest.approx(8.0)  # five calls, two seconds apart


def test_what_came_before_the_breaker_opens_is_given() -> None:
    engine = Shouting(batch=2, faults={f"word {number}": "busy" for number in range(4, 100)})
    patience = Patience(attempts=50, failures=4, first_wait=0.001, longest_wait=0.001)
    found, error = answers(Caller(engine, patience, pace=instant(patience)), batches(segments(100), engine.limits))
    assert error is not None and "kept" in error.fix
    assert {text for text, result in found.items() if isinstance(result, tuple)} == {f"word {n}" for n in range(4)}
    assert len(engine.calls) == 2 + 4


def test_a_dead_engine_is_given_up_although_it_raises() -> None:
    engine = Shouting(batch=1, faults={"word": "raise"})
    _, error = answers(Caller(engine, QUICK), batches(segments(50), engine.limits))
    assert error is not None and len(engine.calls) == QUICK.failures


def test_one_that_stays_busy_does_not_hold_up_the_rest() -> None:
    found = all_in_one(Shouting(faults={"word 5": "busy"}))
    assert found.pop("word 5") == Failure("429", passing=True, wait=7.0)
    assert all(isinstance(result, tuple) for result in found.values())


def test_what_no_call_can_mend_stops_work_at_once() -> None:
    engine = Shouting(batch=1, faults={"word 3": "refuse"})
    found, error = answers(Caller(engine, QUICK), batches(segments(9), engine.limits))
    assert error is not None and "refused" in error.what
    assert [result for result in found.values() if result] == [("WORD 0",), ("WORD 1",), ("WORD 2",)]


def test_too_long_for_any_call_is_no_call() -> None:
    engine = Shouting(characters=6)
    asked: list[Segment] = [("a",), ("seven77",), ("bb", Kept("cc"))]
    found, error = answers(Caller(engine), batches(asked, engine.limits))
    assert error is None and found["seven77"].passing and "6 characters" in found["seven77"].reason
    assert all(("seven77",) not in call for call in engine.calls)
    assert found["a"] == ("A",) and found["bbcc"] == ("BB", Kept("cc"))


def test_workers_call_side_by_side_but_no_more_than_allowed() -> None:
    engine = Shouting(batch=1, concurrent=3, pause=0.01)
    found, _ = answers(Caller(engine), batches(segments(12), engine.limits))
    assert len(found) == 12 and engine.most_at_once == 3
    fewer = Shouting(batch=1, concurrent=3, pause=0.01)
    answers(Caller(fewer, workers=2), batches(segments(8), fewer.limits))
    assert fewer.most_at_once == 2


def test_no_worker_gets_a_batch_before_the_last_answer_is_kept() -> None:
    """What a kill may cost: one batch a worker."""
    engine = Shouting(batch=1, concurrent=2)
    begun = Counter[str]()

    def asked() -> Iterator[list[Segment]]:
        for segment in segments(20):
            begun["batches"] += 1
            yield [segment]

    for number, _ in enumerate(Caller(engine).run(asked())):
        assert begun["batches"] - number <= 2


def test_an_engine_that_hangs_is_told_of() -> None:
    release = threading.Event()

    class Hanging(Shouting):
        def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
            release.wait(10)
            return super().translate(segments)

    began = time.monotonic()
    with pytest.raises(UserError, match="not answered"):
        list(Caller(Hanging(), Patience(answer=0.1)).run([segments(1)]))
    release.set()
    assert time.monotonic() - began < 5


def test_money_stops_the_call_that_would_cost_too_much() -> None:
    engine = Shouting(batch=1, price=1_000_000.0)  # each of 6 characters costs 1
    caller = Caller(engine, purse=Purse(engine.limits, most=20.0, spent=3.0))
    given: list[Answered] = []
    with pytest.raises(UserError, match="cost"):
        for answered in caller.run(batches(segments(9), engine.limits)):
            given.append(answered)
    assert len(engine.calls) == 2  # 3 + 6 + 6 is 15; another 6 is more than 20
    assert [answered.spent.money for answered in given] == [6.0, 6.0, 0.0]
    assert given[0].spent.calls == 1 and given[0].spent.characters == 6


def test_calls_that_were_put_off_cost_nothing() -> None:
    engine = Shouting(price=1_000_000.0, faults={"word 1": "busy once"})
    (answered,) = Caller(engine, QUICK, pace=instant(QUICK)).run([segments(2)])
    assert answered.spent.characters == 12 and answered.spent.calls == 2


def test_workers_side_by_side_do_not_overspend() -> None:
    engine = Shouting(batch=1, concurrent=4, price=1_000_000.0, pause=0.01)
    caller = Caller(engine, purse=Purse(engine.limits, most=31.0))
    answers(caller, batches(segments(50), engine.limits))
    assert len(engine.calls) == 5


def test_an_engine_that_knows_its_cost_is_believed() -> None:
    engine = Shouting(batch=1, price=1_000_000.0)
    purse = Purse(engine.limits, most=20.0, measured=lambda: 0.5 * len(engine.calls))
    given = []
    with pytest.raises(UserError):
        for answered in Caller(engine, purse=purse).run(batches(segments(99), engine.limits)):
            given.append(answered)
    assert len(engine.calls) == 27  # 13.5 spent; a call of 7 characters may cost 7, and that would be too much
    assert sum(answered.spent.money for answered in given) == pytest.approx(13.5)


def test_a_pace_says_when_an_answer_is_overdue(clock: Any) -> None:
    pace = clock.pace(QUICK)
    assert pace.wait() is None and not pace.overdue(10)
    pace.hold(100, 1)
    clock.at = 50
    assert not pace.overdue(10)
    clock.at = 111
    assert pace.overdue(10)
    pace.stop()
    assert isinstance(pace.wait(), UserError)


def test_a_success_closes_the_breaker_again() -> None:
    pace, about = Pace(None, QUICK), About("e", "1", "none")
    for _ in range(3):
        assert all(pace.failed("x", about) is None for _ in range(QUICK.failures - 1))
        pace.succeeded()
