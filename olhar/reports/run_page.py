"""A run while it trains and afterwards, as one HTML file without network: what it cost, how it learned, what it says.

Written whole at every judging and at the end, from what lies in the stage's folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olhar.core import environment
from olhar.core.recipe import Recipe
from olhar.core.store import writing
from olhar.reports import _pages
from olhar.reports.curves import run_curves
from olhar.reports.scores import amount, duration, percent, significant

PAGE, ANSWERS = "report.html", "answers.jsonl"
COLUMNS = 6  # checkpoints whose answers stand beside each other
REFRESH = 60  # seconds after which an unfinished page reads itself again
JOULES = 3.6e6  # in a kWh


Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """How energy was counted: measured, estimated or not measured; by what; whether grams of CO2 are known; where.

    country: ISO 3166-1 alpha-3 code.
    """

    method: str
    source: str
    co2: bool
    country: str

    @property
    def known(self) -> bool:
        return self.method != "not measured"


@dataclass(frozen=True, slots=True)
class StageRow:
    """One training stage so far. None: not known. ``tokens`` are real ones, of all processes."""

    name: str
    steps: int
    total: int | None
    loss: float | None
    seconds: float | None
    tokens: float | None
    tokens_per_second: float | None
    fill: float | None
    memory_gib: float | None
    energy_kwh: float | None
    co2_g: float | None

    @property
    def joules_per_token(self) -> float | None:
        return self.energy_kwh * JOULES / self.tokens if self.energy_kwh and self.tokens else None


@dataclass(frozen=True, slots=True)
class Column:
    """A checkpoint that was asked. ``score`` is the mean over ``questions``; None where only samples were taken."""

    stage: str
    step: int
    score: float | None
    questions: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its answers, one a column; None where it was not asked. Thumbnails are JPEG files."""

    text: str
    expected: str
    thumbnails: tuple[bytes, ...]
    answers: tuple[Mapping[str, Any] | None, ...]


@dataclass(frozen=True, slots=True)
class RunPage:
    """Everything the page shows. ``plots`` are PNG files by what they show; ``recipe`` is its text."""

    run: str
    language: str  # code
    finished: bool
    rows: tuple[StageRow, ...]
    spent: Spent
    plots: Mapping[str, bytes]
    columns: tuple[Column, ...]
    questions: tuple[Question, ...]
    facts: Mapping[str, str]
    recipe: str

    @property
    def whole(self) -> StageRow:
        """All stages together."""
        return StageRow(
            "all stages",
            sum(row.steps for row in self.rows),
            None,
            None,
            _sum(row.seconds for row in self.rows),
            _sum(row.tokens for row in self.rows),
            None,
            None,
            max((row.memory_gib for row in self.rows if row.memory_gib is not None), default=None),
            _sum(row.energy_kwh for row in self.rows),
            _sum(row.co2_g for row in self.rows),
        )


def stage_row(
    name: str, total: int | None, records: Sequence[Record], counters: Mapping[str, float] | None, spent: Spent
) -> StageRow:
    """A stage's row from its step records and what its newest checkpoint counted (None: no checkpoint yet)."""
    last: Record = records[-1] if records else {}
    counted = counters or {}
    tokens = [record["tokens"] for record in records if record.get("tokens") is not None]
    fills = [record["fill"] for record in records if record.get("fill") is not None]
    losses = [float(record["loss"]) for record in records[-max(1, len(records) // 50) :]]
    return StageRow(
        name=name,
        steps=int(last.get("step", 0)),
        total=total,
        loss=sum(losses) / len(losses) if losses else None,
        seconds=last.get("seconds", counted.get("seconds")),
        tokens=sum(tokens) if tokens else counted.get("tokens"),
        tokens_per_second=last.get("tokens_per_second"),
        fill=sum(fills) / len(fills) if fills else None,
        memory_gib=max((r["memory_gib"] for r in records if r.get("memory_gib") is not None), default=None),
        energy_kwh=counted.get("energy_kwh", last.get("energy_kwh")) if spent.known else None,
        co2_g=counted.get("co2_g", last.get("co2_g")) if spent.known and spent.co2 else None,
    )


def asked(rows: Sequence[Mapping[str, Any]], folder: Path) -> tuple[tuple[Column, ...], tuple[Question, ...]]:
    """The kept answers as a table: a column a checkpoint, at most ``COLUMNS`` from first to last, a row a question.

    ``rows`` are those of ``answers.jsonl``; their thumbnails lie in ``folder``.
    """
    found = {(row["stage"], row["step"]): Column(row["stage"], row["step"], row["score"], row["questions"])
             for row in rows}  # fmt: skip
    columns = _spread(list(found.values()), COLUMNS)
    cells = {(row["id"], row["stage"], row["step"]): row for row in rows}
    questions = {row["id"]: row for row in rows}
    return tuple(columns), tuple(
        Question(
            row["question"],
            row["expected"],
            tuple((folder / path).read_bytes() for path in row["thumbnails"] if (folder / path).exists()),
            tuple(cells.get((name, column.stage, column.step)) for column in columns),
        )
        for name, row in questions.items()
    )


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most so many of them, evenly; the first and the last always."""
    if len(items) <= count:
        return list(items)
    return [items[round(number * (len(items) - 1) / (count - 1))] for number in range(count)]


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def run_page(page: RunPage) -> str:
    """The page as one HTML file; plots and pictures are inside it."""
    pages = _pages.html()
    pages.filters = pages.filters | {
        form.__name__.strip("_"): form for form in (amount, duration, percent, significant, _data_uri, _count)
    }
    return pages.get_template("run.html.j2").render(page=page, refresh=None if page.finished else REFRESH)


def write_run_page(
    folder: Path,
    recipe: Recipe,
    records: Sequence[Record],
    counters: Mapping[str, Mapping[str, float]],
    totals: Mapping[str, int],
    spent: Spent,
    finished: bool,
) -> Path:
    """Draw the run's curves and write ``report.html`` into the folder of the stage ``train``; returns its path.

    Args:
        records: of all stages one after another, each stage's ``step`` counted from 1.
        counters: stage -> what its newest checkpoint counted: ``seconds``, ``tokens``, ``energy_kwh``, ``co2_g``.
        totals: stage -> its steps, where they are known already.
    """
    assert recipe.train
    plots: dict[str, bytes] = {}
    if records:
        run_curves(records, folder)
        plots = {
            "The loss (thin: every step; thick: smoothed) and the learning rate.": (folder / "loss.png").read_bytes(),
            "Real tokens a second, how full the packs are, and memory.": (folder / "speed.png").read_bytes(),
        }
    by_stage: dict[str, list[Record]] = {}
    for record in records:
        by_stage.setdefault(record["stage"], []).append(record)
    names = [stage.name for stage in recipe.train.stages]
    rows = [
        stage_row(name, totals.get(name), by_stage.get(name, []), counters.get(name), spent)
        for name in names
        if name in by_stage or name in totals
    ]
    columns, questions = asked(_answers(folder / ANSWERS), folder)
    text = json.dumps(recipe.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, indent=1)
    page = RunPage(
        recipe.name, recipe.language, finished, tuple(rows), spent, plots, columns, questions, environment.facts(), text
    )
    with writing(folder / PAGE) as handle:
        handle.write(run_page(page))
    return folder / PAGE


def _answers(path: Path) -> list[Mapping[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _data_uri(picture: bytes) -> str:
    from base64 import b64encode

    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(picture).decode('ascii')}"


def _count(number: float) -> str:
    """A large count in few letters: 950; 12,300; 4.56 M; 1.2 B."""
    for unit, name in ((1e9, " B"), (1e6, " M")):
        if number >= unit:
            return f"{significant(number / unit):,g}{name}"
    return f"{number:,.0f}"
