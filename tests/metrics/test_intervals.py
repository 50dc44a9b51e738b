"""Intervals against published values, a reference implementation's numbers and their own definitions."""

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.metrics.intervals import bootstrap_macro, clustered_stderr, mean_stderr, wilson

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics" / "stats_lmms_eval.json"


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_is_symmetric(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high
    mirrored = wilson(n - successes, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_bounds_solve_the_score_equation() -> None:
    low, high = wilson(30, 100, level=0.90)
    for bound in (low, high):
        assert abs(0.3 - bound) / math.sqrt(bound * (1 - bound) / 100) == pytest.approx(1.6448536, abs=1e-6)


def test_wilson_without_answers_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


def test_bootstrap_of_one_group_is_close_to_the_normal_interval() -> None:
    answers = [1.0] * 300 + [0.0] * 200
    low, high = bootstrap_macro([answers])
    half = 1.96 * math.sqrt(0.6 * 0.4 / 500)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.006)


def test_bootstrap_is_stratified() -> None:
    """Resampling across groups would mix 1.0 and 0.0; inside each group there is nothing to mix."""
    assert bootstrap_macro([[1.0] * 5, [0.0] * 500]) == (0.5, 0.5)


def test_bootstrap_weighs_groups_alike_and_repeats_itself() -> None:
    rng = random.Random(3)
    groups = [[float(rng.random() < share) for _ in range(n)] for share, n in ((0.9, 400), (0.2, 60), (0.5, 100))]
    low, high = bootstrap_macro(groups)
    macro = sum(sum(group) / len(group) for group in groups) / 3
    spread = math.sqrt(sum(mean_stderr(group) ** 2 for group in groups)) / 3
    assert low < macro < high
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.08)
    assert bootstrap_macro(groups) == (low, high)
    assert bootstrap_macro(groups, seed=1) != (low, high)


@pytest.mark.parametrize("groups", [[], [[1.0], []]])
def test_bootstrap_refuses_what_has_no_mean(groups: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="group"):
        bootstrap_macro(groups)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text())["cases"], ids=lambda case: f"n{len(case['current'])}")
def test_standard_errors_agree_with_the_reference(case: dict) -> None:  # type: ignore[type-arg]
    assert mean_stderr(case["current"]) == pytest.approx(case["mean_stderr"], abs=1e-12)
    assert clustered_stderr(case["current"], case["clusters"]) == pytest.approx(case["clustered_stderr"], abs=1e-12)


def test_questions_about_one_image_widen_the_error() -> None:
    values = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert clustered_stderr(values, "aaabbb") > mean_stderr(values)
    assert clustered_stderr(values, "abcdef") == pytest.approx(mean_stderr(values), abs=1e-12)


def test_one_value_has_no_error() -> None:
    assert math.isnan(mean_stderr([1.0])) and math.isnan(clustered_stderr([1.0], "a"))
