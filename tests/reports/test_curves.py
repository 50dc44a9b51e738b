"""Plots: that the picture is the size it should be, and that what is drawn is what was given."""

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from olhar.core.types import Control, Score
from olhar.reports import curves


def steps(stage: str, count: int, first: int = 1) -> list[dict[str, Any]]:
    rows = range(first, first + count)
    return [{"step": n, "loss": 4 / n, "learning_rate": 1e-3, "tokens_per_second": 9.0, "stage": stage} for n in rows]


def score(skill: str, value: float, control: Control = "image", split: str = "pairs") -> Score:
    return Score(
        "b", skill, "exact_match", value, max(0, value - 0.1), min(1, value + 0.1), 50, "pt", split, control, ""
    )


def coloured(path: Path, colour: str) -> int:
    """How many pixels have exactly this colour."""
    wanted = tuple(bytes.fromhex(colour[1:]))
    with Image.open(path) as picture:
        return sum(count for count, pixel in picture.convert("RGB").getcolors(1 << 24) or [] if pixel == wanted)


def test_the_loss_curve_names_shades_and_draws_every_stage(tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    curves.loss_curve(steps("align", 200), one)
    curves.loss_curve(steps("align", 100) + steps("instruct", 100, first=101), two)
    with Image.open(one) as picture:
        assert picture.width == 1600  # 800 at double density
    assert coloured(one, curves.BLUE) > 500 and coloured(one, curves.AMBER) > 500
    shaded, half_shaded = coloured(one, curves.BANDS[0]), coloured(two, curves.BANDS[0])
    assert 0.4 < half_shaded / shaded < 0.6


@pytest.mark.parametrize("records", [steps("align", 1), [{**row, "loss": math.nan} for row in steps("align", 3)]])
def test_a_run_that_hardly_ran_is_drawn(records: list[dict[str, Any]], tmp_path: Path) -> None:
    curves.loss_curve(records, tmp_path / "loss.png")
    assert coloured(tmp_path / "loss.png", curves.AMBER) > 0


def test_smoothing_keeps_a_constant_and_the_length() -> None:
    assert curves._smoothed([2.0] * 120) == [2.0] * 120
    jagged = [float(place % 2) for place in range(500)]
    assert all(0.4 < value < 0.6 for value in curves._smoothed(jagged))


def test_spikes_do_not_flatten_the_curve() -> None:
    assert curves._ceiling([1.0] * 999 + [1000.0]) < 2


def test_a_longer_bar_is_a_better_skill(tmp_path: Path) -> None:
    low, high = tmp_path / "low.png", tmp_path / "high.png"
    curves.skills_chart([score("name", 0.3)], low)
    curves.skills_chart([score("name", 0.6)], high)
    assert coloured(high, curves.SKY) / coloured(low, curves.SKY) == pytest.approx(2, rel=0.1)


def test_the_chart_marks_what_is_known_without_looking(tmp_path: Path) -> None:
    bare, marked = tmp_path / "bare.png", tmp_path / "marked.png"
    curves.skills_chart([score("name", 0.9), score("macro", 0.9)], bare)
    curves.skills_chart([score("name", 0.9), score("macro", 0.9), score("name", 0.2, "majority")], marked)
    assert coloured(bare, curves.AMBER) == 0 < coloured(marked, curves.AMBER)


def test_nothing_to_draw_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step"):
        curves.loss_curve([], tmp_path / "x.png")
    with pytest.raises(ValueError, match="image"):
        curves.skills_chart([score("name", 0.2, "majority")], tmp_path / "x.png")
    with pytest.raises(ValueError, match="two scores of name"):
        curves.skills_chart([score("name", 0.2), score("name", 0.3, split="style")], tmp_path / "x.png")


def run_steps(stage: str, count: int, each: float = 0.5) -> list[dict[str, Any]]:
    """Records of a training stage: 1,000 real tokens a step, ``each`` seconds a step."""
    rows = [{**row, "tokens": 1000, "fill": 0.9, "memory_gib": 3.0} for row in steps(stage, count)]
    return [{**row, "seconds": round(10 + row["step"] * each, 2)} for row in rows]


def test_a_run_has_two_pictures_with_what_was_measured(tmp_path: Path) -> None:
    curves.run_curves(run_steps("align", 30) + run_steps("instruct", 20), tmp_path)
    assert coloured(tmp_path / "loss.png", curves.BLUE) > 0
    assert all(coloured(tmp_path / "speed.png", colour) > 100 for colour in (curves.BLUE, curves.SKY, curves.AMBER))
    whole = picture_height(tmp_path / "speed.png")
    curves.run_curves(steps("align", 30), tmp_path)  # an older log: no fill, no memory
    assert picture_height(tmp_path / "speed.png") < whole and coloured(tmp_path / "speed.png", curves.AMBER) == 0


def picture_height(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.height


@pytest.mark.parametrize("records", [run_steps("align", 1), [{"stage": "s", "step": 1, "loss": 1.0}]])
def test_one_step_is_drawn(records: list[dict[str, Any]], tmp_path: Path) -> None:
    curves.run_curves(records, tmp_path)
    assert coloured(tmp_path / "loss.png", curves.BLUE) > 30


def test_speed_is_that_of_the_steps_around() -> None:
    records = run_steps("align", 100, each=0.5)
    slow = [{**row, "seconds": row["seconds"] + max(0, row["step"] - 50) * 1.5} for row in records]  # 2 s a step
    speeds = curves._speeds(slow)
    assert speeds[20] == pytest.approx(2000) and speeds[80] == pytest.approx(500)
    assert curves._speeds([{"tokens_per_second": 7.0}, {}])[0] == 7.0, "an older log knows the mean only"
    quick = [{**row, "seconds": 0.01} for row in records]
    assert set(curves._speeds(quick)) == {9.0}, "seconds that cannot be told apart give no speed"


def test_smoothing_leaves_out_what_is_no_number() -> None:
    values = [1.0] * 200
    values[100] = math.nan
    assert curves._smoothed(values) == [1.0] * 200


def test_a_long_line_is_thinned_and_keeps_its_spikes() -> None:
    values = [1.0] * 20_000
    values[12_345] = 9.0
    shown, numbers = curves._thinned(range(1, 20_001), values)
    assert len(shown) <= 2 * curves.SPANS and (12_346, 9.0) in list(zip(shown, numbers, strict=True))
    assert list(shown) == sorted(shown)
