"""The page of scores: one file, every number beside what it is compared with, failures first."""

import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from olhar.core.environment import processor
from olhar.core.types import Control, Score
from olhar.reports import scores as scores_of_runs
from olhar.reports.scores import Energy, Example, ScoresPage, amount, duration, energy_of, percent, scores_page, table

PLAIN = str.maketrans("\N{NARROW NO-BREAK SPACE}\N{EN DASH}", " -")
VOID = {"meta", "img", "input", "br"}


def score(skill: str, value: float, control: Control = "image", split: str = "pairs") -> Score:
    return Score("world", skill, "exact_match", value, value / 2, (1 + value) / 2, 250, "pt", split, control, "a rule")


def scores() -> list[Score]:
    found = [score("where", 0.34), score("name", 0.98), score("macro", 0.66)]
    found += [score("where", 0.29, "majority"), score("name", 0.04, "majority"), score("where", 0.27, "blank")]
    return [*found, score("name", 0.42, split="unseen_style"), score("name", 0.04, "majority", "unseen_style")]


def png(width: int = 64, height: int = 48) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


def example(number: int, skill: str, correct: bool, answer: str = "gato") -> Example:
    return Example(f"id-{number}", skill, "pairs", "onde?", "gato", answer, correct, (png(),))


@pytest.fixture
def page() -> ScoresPage:
    examples = (example(0, "name", True), example(1, "name", False, "uva"), example(2, "where", False, ""))
    energy = Energy(431, 0.00897, 3.4, "estimated", "CodeCarbon", "two threads", "Brazil")
    arranged = table(scores(), "pairs")
    return ScoresPage("first", "Portuguese", arranged, examples, png(), png(), "a = 1", energy, {"questions": 2900})


class Balance(HTMLParser):
    """Fails at the first tag that closes something else than the last opened one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(html: str) -> str:
    without_style = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", without_style).split()).translate(PLAIN)


def test_the_page_is_one_well_formed_file(page: ScoresPage) -> None:
    html = scores_page(page)
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert "<script" not in html and "http" not in html and "url(" not in html
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]+)"', html))


def test_each_skill_stands_beside_its_majority_blank_and_other_splits(page: ScoresPage) -> None:
    text = text_of(scores_page(page))
    assert "skill accuracy [95 %] n majority blank unseen style" in text
    assert "where not learned 34 % 17-67 250 29 % 27 % -" in text
    assert "name 98 % 49-99 250 4 % - 42 %" in text


def test_failures_come_first_and_the_worst_skill_before_the_others(page: ScoresPage) -> None:
    html = scores_page(page)
    assert [int(number) for number in re.findall(r"id-(\d)", html)] == [2, 1, 0]
    assert "(nothing)" in html and "2 shown, 1 wrong" in html


def test_pictures_are_shown_at_twice_their_size(page: ScoresPage) -> None:
    html = scores_page(page)
    assert html.count('width="128" height="96"') == 3
    inside = b64decode(re.findall(r'base64,([^"]+)" width', html)[0])
    assert Image.open(BytesIO(inside)).size == (64, 48)


def test_what_the_run_cost_is_said_with_how_it_is_known(page: ScoresPage) -> None:
    text = text_of(scores_page(page))
    for part in ("7 min 11 s", "0.00897 kWh", "3.4 g", "estimated by CodeCarbon", "379 g CO₂ per kWh"):
        assert part in text
    assert page.energy
    unknown = replace(page, energy=replace(page.energy, kwh=None, co2_g=None))
    assert "Energy was not recorded" in text_of(scores_page(unknown))
    assert "Neither time nor energy was recorded" in text_of(scores_page(replace(page, energy=None)))


def test_text_of_a_model_cannot_become_markup(page: ScoresPage) -> None:
    evil = replace(page.examples[0], answer="<script>x</script>", question='"><img src=http://x>')
    html = scores_page(replace(page, examples=(evil,), recipe="</pre><b>"))
    assert "<script>" not in html and "<img src=http" not in html and "</pre><b>" not in html


def test_a_page_without_plots_and_examples_is_whole(page: ScoresPage) -> None:
    html = scores_page(replace(page, examples=(), loss_png=None, skills_png=None))
    assert "<img" not in html and "failures first" not in html


def test_the_table_puts_the_best_skill_first_and_the_macro_apart() -> None:
    arranged = table(scores(), "pairs")
    assert [row.score.skill for row in arranged.rows] == ["name", "where"]
    assert arranged.macro and arranged.macro.score.value == 0.66
    assert [row.learned for row in arranged.rows] == [True, False]
    assert arranged.macro.learned is None  # no majority was given for it


def test_fifteen_points_are_not_enough() -> None:
    arranged = table([score("name", 0.65), score("name", 0.5, "majority")], "pairs")
    assert arranged.rows[0].learned is False


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [score("name", 0.5, split="elsewhere")],
        [score("name", 0.5), score("name", 0.6)],
        [score("name", 0.5), replace(score("box", 0.5), language="vi")],
    ],
)
def test_a_table_refuses_what_it_cannot_show_truly(wrong: list[Score]) -> None:
    with pytest.raises(ValueError, match="score"):
        table(wrong, "pairs")


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (1, "100 %"), (0.9977, "99.8 %"), (0.004, "0.4 %"), (0.846, "85 %")]
)
def test_a_percentage_never_claims_all_or_nothing_by_rounding(share: float, shown: str) -> None:
    assert percent(share).replace("\N{NARROW NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0123, "0.0123 s"), (59.7, "1 min 0 s"), (431, "7 min 11 s"), (52949.86, "14 h 42 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(37.001107, "kWh", "37 kWh"), (14095.57, "g", "14.10 kg"), (0.0012345, "kWh", "0.00123 kWh"), (0, "g", "0 g")],
)
def test_amounts(value: float, unit: str, shown: str) -> None:
    assert amount(value, unit) == shown


COUNTS: dict[str, Any] = {"energy_method": "measured", "total": {"seconds": 10.0, "energy_kwh": 0.5, "co2_g": 0.0}}


def test_energy_names_what_counted_it() -> None:
    found = energy_of({**COUNTS, "energy_source": "RAPL and NVML"}, "BRA")
    assert (found.source, found.kwh, found.co2_g) == ("RAPL and NVML", 0.5, None), "counters know no CO2"
    both = energy_of({**COUNTS, "energy_source": "CodeCarbon 3.3.2", "co2_g": 40.0}, "BRA")
    assert (both.source, both.co2_g, both.g_per_kwh) == ("CodeCarbon 3.3.2", 40.0, 80.0)
    unknown = energy_of({**COUNTS, "energy_method": "not measured", "energy_source": ""}, "BRA")
    assert (unknown.kwh, unknown.co2_g) == (None, None)


def test_energy_of_an_older_manifest_is_codecarbons() -> None:
    total = {**COUNTS["total"], "co2_g": 40.0}
    found = energy_of({**COUNTS, "total": total}, "BRA")
    assert (found.source, found.co2_g) == ("CodeCarbon", 40.0)


def test_the_gpus_are_named_where_they_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores_of_runs, "gpus", lambda: ["H200"] * 8)
    learned = energy_of({**COUNTS, "device": "cuda", "processes": 2}, "BRA")
    assert learned.hardware == f"2 x H200, {processor()}"
    assert "H200" not in energy_of({**COUNTS, "device": "cpu", "processes": 2}, "BRA").hardware
    monkeypatch.setattr(scores_of_runs, "gpus", list)
    assert energy_of({**COUNTS, "device": "cuda"}, "BRA").hardware.startswith(processor())
