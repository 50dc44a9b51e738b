"""A run's page: numbers that are those of the log, nothing claimed that was not measured, nothing fetched."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from olhar.core.recipe import Recipe
from olhar.reports.run_page import COLUMNS, Spent, asked, stage_row, write_run_page

TINY = Path(__file__).parents[1] / "flow" / "tiny.toml"
MEASURED = Spent("measured", "CodeCarbon 3.3.2 with NVML", co2=True, country="BRA")
UNKNOWN = Spent("not measured", "", co2=False, country="BRA")
COUNTERS = {"tower": {"energy_kwh": 0.5, "co2_g": 50.0}, "skills": {"energy_kwh": 1.5, "co2_g": 150.0}}


def steps(stage: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage,
            "step": step,
            "loss": 2.0,
            "learning_rate": 1e-3,
            "tokens": 1000,
            "fill": 0.9,
            "memory_gib": 3.0 + step,
            "tokens_per_second": 456.0,
            "seconds": 2.0 * step,
        }
        for step in range(1, count + 1)
    ]


def answer(name: str, stage: str, step: int, said: str, right: bool, score: float | None = 0.25) -> dict[str, Any]:
    about = {"id": name, "question": f"What is <{name}>?", "expected": "a cat", "pictures": [], "thumbnails": ["a.jpg"]}
    return about | {
        "stage": stage, "step": step, "answer": said, "correct": right, "score": score, "questions": 100
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes the page of a run and returns its text, with plain spaces and dashes."""
    recipe = Recipe.model_validate(tomllib.loads(TINY.read_text(encoding="utf-8")))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.jpg")

    def written(records: list[dict[str, Any]], rows: Any = (), spent: Spent = MEASURED, finished: bool = True) -> str:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "answers.jsonl").write_text(lines, encoding="utf-8")
        page = write_run_page(tmp_path, recipe, records, COUNTERS, {"tower": 60, "skills": 60}, spent, finished)
        return page.read_text(encoding="utf-8").replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{EN DASH}", "-")

    return written


def table(page: str) -> dict[str, list[str]]:
    """Row -> its cells' text, of the table of stages."""
    rows = re.findall(r"<tr.*?</tr>", page[page.index("<tbody>") : page.index("</tbody>")], re.DOTALL)
    cells = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    return {row[0]: row[1:] for row in cells}


def test_the_table_says_what_the_log_says(write: Callable[..., str]) -> None:
    found = table(write(steps("tower", 60) + steps("skills", 30)))
    assert found["tower"] == ["60", "2.000", "2 min 0 s", "60,000", "456", "90 %", "63.0 GiB", "0.5 kWh", "50 g"]
    assert found["skills"][0] == "30 of 60"
    assert found["all stages"] == ["90", "-", "3 min 0 s", "90,000", "-", "-", "63.0 GiB", "2 kWh", "200 g"]


def test_energy_is_marked_as_what_it_is(write: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    page = write(steps("tower", 60) + steps("skills", 60))
    assert "energy, measured" in page and "by CodeCarbon 3.3.2 with NVML" in page and "100 g per kWh" in page
    assert "60 J a real token. " in page and "as in BRA" in page
    monkeypatch.setitem(COUNTERS, "tower", {"energy_kwh": 0.000157})
    assert table(write(steps("tower", 60)))["tower"][-2:] == ["0.157 Wh", "-"], "a small run has a readable number"
    monkeypatch.undo()
    own = write(steps("tower", 60), spent=Spent("measured", "NVML", co2=False, country="BRA"))
    assert table(own)["tower"][-2:] == ["0.5 kWh", "-"] and "CO₂ not reckoned" in own and "as in BRA" not in own
    unknown = write(steps("tower", 60), spent=UNKNOWN)
    assert table(unknown)["tower"][-2:] == ["-", "-"] and "energy, not measured" in unknown and " kWh" not in unknown


def test_an_older_log_leaves_dashes(write: Callable[..., str]) -> None:
    page = write([{"stage": "tower", "step": 1, "loss": 1.5, "learning_rate": 1e-3}], spent=UNKNOWN)
    assert table(page)["tower"] == ["1 of 60", "1.500", *["-"] * 7]


def test_a_run_that_has_not_begun_has_a_page(write: Callable[..., str]) -> None:
    assert table(write([]))["tower"][0] == "0 of 60"


def test_answers_stand_beside_each_other(write: Callable[..., str]) -> None:
    rows = [answer("one", "skills", step, f"try {step}", step == 20) for step in (10, 20)]
    page = write(steps("skills", 20), [*rows, answer("two", "skills", 20, "", False)])
    assert "What is &lt;one&gt;?" in page and "✗ try 10" in page and "✓ try 20" in page
    assert page.index("try 10") < page.index("try 20") and "not asked" in page and "(nothing)" in page
    assert page.count("data:image/jpeg;base64,") == 2 and "mean score on 100 questions" in page
    assert "step 10 <b>25 %</b>" in page


def test_samples_without_a_score_claim_none(write: Callable[..., str]) -> None:
    page = write(steps("tower", 20), [answer("one", "tower", 20, "a cat", True, score=None)])
    assert "✓ a cat" in page and "mean score" not in page.lower().replace("the mean score over", "mean score")


def test_of_many_checkpoints_the_first_and_the_last_are_shown(tmp_path: Path) -> None:
    rows = [answer("one", "skills", step, "x", False) for step in range(0, 1001, 10)]
    columns, (question,) = asked(rows, tmp_path)
    assert len(columns) == len(question.answers) == COLUMNS
    assert columns[0].step == 0 and columns[-1].step == 1000 and question.thumbnails == ()


def test_nothing_is_fetched_and_an_ended_page_rests(write: Callable[..., str]) -> None:
    for finished in (True, False):
        page = write(steps("tower", 60), finished=finished)
        assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|<script""", page)
        assert ('http-equiv="refresh"' in page) is not finished
    assert page.count("data:image/png;base64,") == 2
    assert "python" in page and "tokenizer" in page, "the machine and the recipe"


def test_a_stage_is_counted_from_its_records_first() -> None:
    row = stage_row("tower", 60, steps("tower", 10), {"seconds": 1.0, "tokens": 1.0, "energy_kwh": 0.001}, MEASURED)
    assert (row.seconds, row.tokens) == (20.0, 10_000) and row.joules_per_token == pytest.approx(0.36)
    bare = stage_row("tower", None, [], {"seconds": 7.0, "tokens": 5.0}, UNKNOWN)
    assert (bare.seconds, bare.tokens, bare.loss, bare.energy_kwh) == (7.0, 5.0, None, None)
