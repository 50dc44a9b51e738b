"""What a conversion did, for a person to read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from math import prod
from typing import TYPE_CHECKING, Any

from olhar.conversion._weights import Stored
from olhar.families._made import Made
from olhar.families._spoken import Spoken

if TYPE_CHECKING:
    from rich.console import RenderableType

PARTS = {
    "model.vision_tower.": "vision",
    "model.multi_modal_projector.": "connector",
    "model.image_newline": "connector",
    "lm_head.": "language head",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Tensors of one part that were made in the same way; ``before`` and ``after`` are what their names begin with."""

    part: str
    tensors: int
    parameters: int
    dtype: str
    before: str
    after: str
    how: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a source. ``added``: tokens and embeddings that it did not have, and why."""

    source: str
    target: str
    layout: str
    family: str
    rows: tuple[Row, ...]
    added: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]
    spoken: Spoken

    def to_json(self) -> dict[str, Any]:
        """The same for a program."""
        return asdict(self)


def rows(tensors: Mapping[str, Made]) -> tuple[Row, ...]:
    """The target's tensors by part and by how they were made."""
    groups: dict[tuple[str, str, str], dict[str, Made]] = {}
    for name, made in tensors.items():
        part = next((part for prefix, part in PARTS.items() if name.startswith(prefix)), "language")
        groups.setdefault((part, made.how, made.dtype), {})[name] = made
    return tuple(_row(*key, group) for key, group in groups.items())


def _row(part: str, how: str, dtype: str, group: Mapping[str, Made]) -> Row:
    parameters = sum(prod(made.shape) for made in group.values())
    before = [made.name for made in group.values() if isinstance(made, Stored)]
    return Row(part, len(group), parameters, dtype, _beginning(before), _beginning(list(group)), how)


def _beginning(names: Sequence[str]) -> str:
    """What all names begin with, in whole words between dots."""
    columns = zip(*(name.split(".") for name in names), strict=False)
    return ".".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))


def grouped(left_out: Mapping[str, str]) -> list[str]:
    """One line a reason: how many tensors, what their names begin with, why."""
    counts = Counter(left_out.values())
    lines = []
    for reason, count in counts.items():
        names = [name for name, why in left_out.items() if why == reason]
        lines.append(f"{count} x {_beginning(names) or names[0]}: {reason}" if count > 1 else f"{names[0]}: {reason}")
    return lines


def prompt_line(spoken: Spoken) -> str:
    """Which prompt the target is asked with."""
    name = f"{spoken.prompt}/{spoken.variant}" if spoken.variant else spoken.prompt
    return f"prompt {name} in {spoken.language}; --prompt NAME[/VARIANT] and --language CODE take another"


def table(report: Report) -> "RenderableType":
    """The report as a table and lines below it."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=f"{report.layout} → {report.family}", title_justify="left", box=None, pad_edge=False)
    for title in ("part", "tensors", "parameters", "type", "from → to"):
        shown.add_column(title, justify="right" if title in ("tensors", "parameters") else "left", overflow="fold")
    for row in report.rows:
        names = f"{row.before} → {row.after}" if row.before else f"→ {row.after}"
        how = "" if row.how == "as it is" else f" ({row.how})"
        shown.add_row(row.part, str(row.tensors), f"{row.parameters:,}", row.dtype, escape(names + how))
    lines = [f"added: {line}" for line in report.added]
    lines += [f"left out: {line}" for line in grouped(report.left_out)]
    lines += [*report.notes, prompt_line(report.spoken)]
    return Group(shown, "", *map(escape, lines))
