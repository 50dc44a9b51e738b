"""What is told of training: right numbers, few lines, and an end that is neither too near nor too far."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from olhar.reports._steps import Pace, Steps, clock_time, is_record
from olhar.reports.live import Live


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def records(count: int, clock: Clock | None = None, each: float = 2.0, begin: int = 0) -> Iterator[dict[str, Any]]:
    """Steps of ``each`` seconds; the clock goes on while a step is worked on."""
    for step in range(begin + 1, begin + count + 1):
        if clock:
            clock.now += each
        yield {
            "stage": "skills",
            "step": step,
            "loss": 4.0 / step,
            "learning_rate": 1e-3,
            "tokens_per_second": 1234.5,
            "fill": 0.987,
            "memory_gib": 12.34,
            "seconds": step * each,
        }


def shown(terminal: bool, clock: Clock, width: int = 100) -> tuple[Live, StringIO]:
    out = StringIO()
    return Live(Console(file=out, force_terminal=terminal, width=width, highlight=False), clock), out


def test_the_numbers_of_a_step_are_told() -> None:
    steps = Steps(40)
    for record in records(10):
        steps.add(record)
    assert steps.facts() == ["loss 0.400", "1,234 tokens/s", "98.7% full", "12.3 GiB", "rate 1.0e-03"]
    assert steps.seconds_left == pytest.approx(60.0)
    steps.add({**steps.last, "step": 11, "energy_kwh": 0.01234})
    assert steps.facts()[-1] == "0.0123 kWh"


def test_an_old_record_tells_what_it_knows() -> None:
    clock, steps = Clock(), Steps(None)
    for loss in (1.0, float("nan")):
        steps.add({"loss": loss})
    assert steps.facts() == ["loss 1.000"] and steps.seconds_left is None and steps.done == 2
    timed = Steps(5, clock)
    for now in (0.0, 3.0):
        clock.now = now
        timed.add({"loss": 1.0})
    assert timed.seconds_left == 9.0, "without its own seconds the clock counts"


def test_the_loss_is_smoothed_over_the_last_steps_only() -> None:
    steps = Steps(None)
    for loss in [9.0] * 900 + [1.0, 3.0] * 50:
        steps.add({"loss": loss})
    assert steps.loss == pytest.approx(2.0)


@pytest.mark.parametrize("kind", ["records", "shards"])
def test_the_time_told_holds_the_first_item_too(kind: str) -> None:
    clock = Clock()
    live, out = shown(False, clock)
    items = records(3, clock) if kind == "records" else (record["step"] for record in records(3, clock))
    list(live.track(items, "look", 3))
    assert "look: 3 in 6.0 s" in out.getvalue().splitlines()[-1]


def test_a_pause_does_not_move_the_end() -> None:
    steps = Steps(100)
    for step in range(1, 51):
        steps.add({"loss": 1.0, "step": step, "seconds": step * 2.0 + (600 if step > 30 else 0)})
    assert steps.seconds_left == pytest.approx(100.0)


def test_the_small_curve_holds_the_whole_way() -> None:
    steps = Steps(None)
    for record in records(20_000):
        steps.add({**record, "loss": 20_000.0 - record["step"]})
    curve = steps.curve()
    assert 16 <= len(curve) <= 33 and curve[0] == "█" and curve[-1] == "▁" and list(curve) == sorted(curve)[::-1]


def test_without_a_terminal_lines_are_few_however_long_it_runs() -> None:
    for each, count, most in ((0.001, 1000, 1), (2.0, 1000, 60), (30.0, 20_000, 400)):
        clock = Clock()
        live, out = shown(False, clock)
        given = list(live.track(records(count, clock, each), "train skills", count))
        assert [record["step"] for record in given] == list(range(1, count + 1))
        lines = out.getvalue().splitlines()
        assert 1 <= len(lines) <= most
        assert lines[-1].startswith(f"  train skills: {count:,} in ") and "98.7% full" in lines[-1]
        assert each < 1 or len(lines) >= 10


def test_a_line_says_how_far_and_how_long() -> None:
    clock = Clock()
    live, out = shown(False, clock)
    list(live.track(records(100, clock, each=7.0), "train skills", 100))
    line = out.getvalue().splitlines()[0]
    assert line.startswith("  train skills: 10/100 (10%), loss 0.400") and line.endswith("10:30 left")


def test_steps_done_before_are_not_told_one_by_one() -> None:
    clock = Clock()
    live, out = shown(False, clock)
    before = ({**record, "seconds": record["step"] * 5.0} for record in records(900))  # from the log, all at once
    list(live.track(before, "train skills", 1000))
    assert len(out.getvalue().splitlines()) == 1
    pace = Pace(clock)
    assert not pace.due(500, 1000)
    clock.now += 1
    assert pace.due(500, 1000) and not pace.due(501, 1000)


def test_a_terminal_has_one_panel_with_the_end_in_it() -> None:
    clock = Clock()
    live, out = shown(True, clock)
    list(live.track(records(50, clock), "train skills", 50))
    text = out.getvalue()
    *_, bar, facts, _, _ = text.splitlines()
    assert "50/50" in bar and "in 1:38" in bar and "left" not in bar
    assert "1,234 tokens/s" in facts and "12.3 GiB" in facts


def test_a_narrow_terminal_shows_all_numbers() -> None:
    clock = Clock()
    live, out = shown(True, clock, width=48)
    list(live.track(records(50, clock), "train skills", 50))
    assert "rate" in out.getvalue() and "GiB" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_other_work_has_its_bar_as_ever(terminal: bool) -> None:
    live, out = shown(terminal, Clock())
    assert list(live.track([3, 4, 5], "count")) == [3, 4, 5]
    assert "count" in out.getvalue() and ("3/3" in out.getvalue() if terminal else "count: 3 in" in out.getvalue())
    assert list(live.track([], "nothing")) == []


def test_a_loop_left_early_leaves_the_terminal_whole() -> None:
    live, out = shown(True, Clock())
    tracked = live.track(records(50), "train skills", 50)
    next(tracked)
    tracked.close()
    assert out.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_a_record_is_known_by_its_loss() -> None:
    assert is_record({"loss": 1}) and not is_record({"steps": 1}) and not is_record("loss")


@pytest.mark.parametrize(("seconds", "told"), [(9.4, "0:09"), (59.6, "1:00"), (3600, "1:00:00"), (90061, "25:01:01")])
def test_times_are_read_like_clocks(seconds: float, told: str) -> None:
    assert clock_time(seconds) == told
