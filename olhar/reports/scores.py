"""What a run scored, as one self-contained HTML page: numbers beside what they must be compared with,
and the pictures that were answered wrongly first."""

import math
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from struct import unpack
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from olhar.core.environment import gpus, listed, processor
from olhar.core.types import Control, Score
from olhar.reports import _pages

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable

MACRO = "macro"
LEARNED = 0.15  # a skill counts as learned when it is further than this above the majority answer
CONTROLS: tuple[Control, ...] = ("majority", "blank", "text", "shuffled")
NO_BREAK, DASH = "\N{NARROW NO-BREAK SPACE}", "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Row:
    """One skill: its score on the pictures, and what it is compared with (None: not measured)."""

    score: Score
    controls: tuple[Score | None, ...]  # in the order of Table.controls
    elsewhere: tuple[Score | None, ...]  # in the order of Table.splits

    @property
    def skill(self) -> str:
        return self.score.skill.replace("_", " ")

    @property
    def majority(self) -> float | None:
        return next((score.value for score in self.controls if score and score.control == "majority"), None)

    @property
    def learned(self) -> bool | None:
        """Whether the skill is more than ``LEARNED`` above the majority answer; None without a majority."""
        return None if self.majority is None else round(self.score.value - self.majority, 9) > LEARNED


@dataclass(frozen=True, slots=True)
class Table:
    """The scores of one benchmark in one language: the macro, then the skills, best first."""

    benchmark: str
    language: str
    metric: str
    protocol: str
    split: str
    controls: tuple[Control, ...]
    splits: tuple[str, ...]  # further splits that were measured
    macro: Row | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Energy:
    """What a run cost. ``kwh`` and ``co2_g`` are None where nothing could be counted or estimated."""

    seconds: float
    kwh: float | None
    co2_g: float | None
    method: Literal["measured", "estimated"]
    source: str  # what counted: "RAPL and NVML", "CodeCarbon 3.3.2"
    hardware: str
    country: str

    @property
    def g_per_kwh(self) -> float | None:
        return self.co2_g / self.kwh if self.co2_g is not None and self.kwh else None


def energy_of(counts: Mapping[str, Any], country: str) -> Energy:
    """What training cost, from the counts in its manifest. Those of older manifests name no source: CodeCarbon's was
    the only one, and CO2 was always known."""
    known, total = counts["energy_method"] != "not measured", counts["total"]
    co2_g = counts.get("co2_g") if "energy_source" in counts else total["co2_g"]
    return Energy(
        seconds=total["seconds"],
        kwh=total["energy_kwh"] if known else None,
        co2_g=co2_g if known else None,
        method="measured" if counts["energy_method"] == "measured" else "estimated",
        source=counts.get("energy_source") or "CodeCarbon",
        hardware=_hardware(counts),
        country=country,
    )


def _hardware(counts: Mapping[str, Any]) -> str:
    """This machine's processor, and before it the GPUs that were learned with: one a process."""
    used = gpus()[: counts.get("processes", 1)] if counts.get("device") == "cuda" else []
    return f"{listed(used)}, {processor()}" if used else f"{processor()}, {os.cpu_count()} cores"


@dataclass(frozen=True, slots=True)
class Example:
    """A question as the model met it, for the gallery. ``pictures`` are PNG files."""

    sample_id: str
    skill: str
    split: str
    question: str
    expected: str
    answer: str
    correct: bool
    pictures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ScoresPage:
    """Everything the page shows. ``table`` comes from ``table(scores, split)``; plots are PNG files."""

    run: str
    language: str  # its name, for the reader
    table: Table
    examples: tuple[Example, ...]
    loss_png: bytes | None
    skills_png: bytes | None
    recipe: str
    energy: Energy | None
    counts: Mapping[str, int]


def table(scores: Sequence[Score], split: str) -> Table:
    """Arranges ``scores`` around those on the pictures of ``split``: its controls and the other splits are columns.

    Raises ``ValueError`` if nothing was scored on ``split``, if the scores are of several benchmarks or
    languages, or if two of them claim one cell.
    """
    cells = {(score.skill, score.split, score.control): score for score in scores}
    skills = [score for score in scores if (score.split, score.control) == (split, "image")]
    if not skills:
        raise ValueError(f"no score on the pictures of {split!r}")
    if len(cells) != len(scores) or len({(score.benchmark, score.language) for score in scores}) > 1:
        raise ValueError("a table holds one benchmark in one language, and one score a cell")
    present = {score.control for score in scores if score.split == split}
    controls = tuple(name for name in CONTROLS if name in present or name in ("majority", "blank"))
    splits = tuple(dict.fromkeys(s.split for s in scores if s.split != split and s.control == "image"))
    rows = [
        Row(
            score,
            tuple(cells.get((score.skill, split, control)) for control in controls),
            tuple(cells.get((score.skill, other, "image")) for other in splits),
        )
        for score in sorted(skills, key=lambda score: (-score.value, score.skill))
    ]
    macro = next((row for row in rows if row.score.skill == MACRO), None)
    rest = tuple(row for row in rows if row is not macro)
    one = skills[0]
    return Table(one.benchmark, one.language, one.metric, one.protocol, split, controls, splits, macro, rest)


def terminal_table(scores: Sequence[Score], split: str) -> "TerminalTable":
    """``table`` for the terminal: a line a skill, what it is compared with beside it."""
    from rich.table import Table as TerminalTable

    found = table(scores, split)
    shown = TerminalTable(title=f"{found.benchmark}, {found.language}, {split}", title_justify="left", box=None)
    shown.add_column("skill")
    for column in ("accuracy", "95 % interval", "n", *found.controls, *found.splits):
        shown.add_column(column.replace("_", " "), justify="right")
    for row in (*filter(None, [found.macro]), *found.rows):
        beside = [share(score) for score in (*row.controls, *row.elsewhere)]
        colour = "" if row.learned or row is found.macro else "dim"
        cells = (row.skill, percent(row.score.value), interval(row.score), str(row.score.n), *beside)
        shown.add_row(*cells, style="bold" if row is found.macro else colour)
    return shown


def scores_page(page: ScoresPage) -> str:
    """The page as one HTML file without scripts; plots and pictures are inside it."""
    in_order = sorted(page.examples, key=lambda example: (_place(page.table, example.skill), example.correct))
    gallery = [(skill, list(examples)) for skill, examples in groupby(in_order, key=lambda example: example.skill)]
    environment = _pages.html()
    formats = (percent, share, interval, duration, amount, _data_uri, _twice)
    environment.filters = environment.filters | {form.__name__.strip("_"): form for form in formats}
    return environment.get_template("scores.html.j2").render(
        page=page, table=page.table, gallery=gallery, learned=LEARNED
    )


def percent(share: float) -> str:
    """A share as a percentage; a decimal only where rounding would claim all or nothing."""
    rounded = f"{share:.0%}"
    if rounded in ("0%", "100%") and share not in (0.0, 1.0):
        rounded = f"{share:.1%}"
    return rounded.replace("%", f"{NO_BREAK}%")


def share(score: Score | None) -> str:
    """A score as a percentage, a dash where it was not measured."""
    return DASH if score is None else percent(score.value)


def interval(score: Score) -> str:
    """The 95 % interval in whole percentage points."""
    return f"{100 * score.low:.0f}{DASH}{100 * score.high:.0f}"


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{significant(seconds):g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def amount(value: float, unit: str) -> str:
    """Three significant digits and the unit: ``37 kWh``, ``0.0123 kWh``; a thousand grams are a kilogram."""
    if unit == "g" and value >= 1000:
        return f"{value / 1000:,.2f} kg"
    return f"{significant(value):,g} {unit}"


def significant(value: float, digits: int = 3) -> float:
    """``value`` rounded to ``digits`` significant digits."""
    return 0.0 if value == 0 else round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _place(table: Table, skill: str) -> tuple[float, str]:
    """Where a skill stands in the gallery: the worst first, those that were not scored last."""
    return next((row.score.value for row in table.rows if row.score.skill == skill), math.inf), skill


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def _twice(png: bytes) -> Markup:
    """Width and height attributes of a PNG at twice its size (its header's, PNG specification 11.2.2)."""
    width, height = unpack(">II", png[16:24])
    return Markup(f'width="{2 * width}" height="{2 * height}"')
