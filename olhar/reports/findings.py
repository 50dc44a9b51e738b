"""What the checks found, for the terminal, for a program, and as one page that needs nothing but itself.

Messages read ``kind: detail``. Findings of one check, severity and kind form a group; the module of the check
(or source) says in ``ADVICE[kind]`` what a person can do about it. Memory is bounded by the numbers below,
whatever the size of the data.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import PurePath
from typing import Any

from rich.console import Group as Lines
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from olhar.checks import images
from olhar.core import choices
from olhar.core.types import Finding, Sample, Severity, Turn
from olhar.sources import llava

KEPT = 500  # examples of a group, and rows a check shows on the page
KINDS = 20  # groups of one check and severity; further kinds are counted together
EXCERPT = 280  # characters of a turn shown on the page
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")  # worst first
OTHERS = "other findings"

_VARIABLE = re.compile(r"\d[\d.,]*|'[^']*'|\"[^\"]*\"")
_TURN = re.compile(r"\bturns? (\d+)")
_QUOTED = re.compile(r"'([^']+)'")
_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n\r"}  # to see them on the page
_CONTROLS |= {code: f"⟨{code:02X}⟩" for code in range(0x7F, 0xA0)}
_DEBRIS = "[\ufffd\u2400-\u241f]|⟨[789][0-9A-F]⟩"
_COLOURS: dict[Severity, str] = {"error": "red", "warning": "yellow", "info": "cyan"}


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """A turn on the page: its number, who speaks, and its pieces as (form, what is shown); the form is
    ``text``, ``media``, or ``found`` for the words that a finding is about."""

    number: int
    role: str
    pieces: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Example:
    sample_id: str
    detail: str
    turns: tuple[ShownTurn, ...] = ()


@dataclass(slots=True)
class Group:
    """Findings of one check, severity and kind. ``samples`` counts samples, ``count`` findings."""

    check: str
    severity: Severity
    kind: str
    count: int = 0
    samples: int = 0
    below: str = ""  # the deepest folder above all missing files
    examples: list[Example] = field(default_factory=list)


class FindingsReport:
    """Collects findings as they come: ``add`` a sample with its own, ``add_finding`` one of a row or file."""

    def __init__(self) -> None:
        self.samples = self.rejected = self.warned = self.unread = self.images = 0
        self._groups: dict[tuple[str, Severity, str], Group] = {}
        self._kinds: dict[tuple[str, Severity], int] = {}

    def add(self, sample: Sample, findings: Iterable[Finding]) -> None:
        """Count a sample and what the checks found in it; a sample without findings passes."""
        found = list(findings)
        self.samples += 1
        self.images += len(sample.media)
        severities = {finding.severity for finding in found}
        self.rejected += "error" in severities
        self.warned += "warning" in severities and "error" not in severities
        groups = {id(group): group for group in (self._count(finding, sample) for finding in found)}
        for group in groups.values():
            group.samples += 1

    def add_finding(self, finding: Finding) -> None:
        """Count a finding that belongs to no sample; an error stands for a row that could not be read."""
        self.unread += finding.severity == "error"
        self._count(finding, None).samples += 1

    @property
    def passed(self) -> int:
        """Samples without an error."""
        return self.samples - self.rejected

    @property
    def groups(self) -> list[Group]:
        """Worst first: a file not read to its end, then by severity and by the samples concerned."""
        return sorted(self._groups.values(), key=_rank)

    def share(self, group: Group) -> float:
        """The group's samples among all rows seen, in [0, 1]."""
        return min(1.0, group.samples / max(1, self.samples + self.unread))

    def verdict(self) -> str:
        """The outcome in one or two sentences."""
        rows = self.samples + self.unread
        if not rows:
            return "There was nothing to check."
        if not self.rejected + self.unread:
            return f"All {rows:,} samples pass." + (f" {self.warned:,} carry a warning." if self.warned else "")
        worst = self.groups[0]
        lost = [f"{self.rejected:,} rejected"] * bool(self.rejected) + [f"{self.unread:,} not read"] * bool(self.unread)
        return (
            f"{self.passed:,} of {rows:,} samples pass; {', '.join(lost)}. Look first at: {worst.kind} ({worst.check})."
        )

    def advice(self, group: Group) -> str:
        """What a person can do about a group; missing images are told as what they are, a wrong folder."""
        if (group.check, group.kind) != (images.NAME, images.MISSING):
            return _advice(group)
        told = f"{group.count:,} of {self.images:,} images missing below {group.below}"
        most = 2 * group.count > self.images
        return f"{told}: pass --images FOLDER" if most else f"{told}: {_advice(group)}"

    def to_json(self) -> dict[str, Any]:
        """Counts, groups with three examples each, and advice; made of plain JSON types."""
        names = ("samples", "passed", "rejected", "warned", "unread", "images")
        return {name: getattr(self, name) for name in names} | {
            "findings": [
                {
                    "check": group.check,
                    "severity": group.severity,
                    "kind": group.kind,
                    "count": group.count,
                    "samples": group.samples,
                    "share": round(self.share(group), 6),
                    "advice": self.advice(group),
                    "examples": [{"id": e.sample_id, "detail": e.detail} for e in group.examples[:3]],
                }
                for group in self.groups
            ]
        }

    def table(self) -> Table:
        """For the terminal: a row a group, with three examples and what to do."""
        table = Table(title=self.verdict(), title_justify="left", title_style="bold", show_lines=True, expand=False)
        table.add_column("finding", no_wrap=True)
        table.add_column("samples", justify="right", no_wrap=True)
        table.add_column("examples, and what to do", overflow="fold")
        for group in self.groups:
            colour = _COLOURS[group.severity]
            name = Text.assemble((f"{group.severity} ", colour), (group.kind, "bold"), (f"\n{group.check}", "dim"))
            shown = [Text.assemble((e.sample_id, "bold"), ("  " + e.detail, "dim")) for e in group.examples[:3]]
            advice = self.advice(group)
            doing = [Text.from_markup(f"[{colour}]→[/] {escape(advice)}")] if advice else []
            table.add_row(name, f"{group.samples:,}\n{self.share(group):.1%}", Lines(*shown, *doing))
        return table

    def html(self, title: str = "") -> str:
        """One page, no other file: the verdict, what to do, and up to ``KEPT`` findings of each check."""
        from olhar.reports import _pages

        sections = [(check, _of_check(self.groups, check)) for check in dict.fromkeys(g.check for g in self.groups)]
        template = _pages.html().get_template("findings.html.j2")
        return template.render(report=self, title=title, sections=sections, shown=_shown, severities=SEVERITIES)

    def _count(self, finding: Finding, sample: Sample | None) -> Group:
        kind, detail = _kind_and_detail(finding.message)
        group = self._group(finding.check, finding.severity, kind)
        group.count += 1
        if (group.check, group.kind) == (images.NAME, images.MISSING):
            folder = os.path.dirname(detail)
            group.below = os.path.commonpath((group.below or folder, folder))
        if len(group.examples) < KEPT:
            turns = _excerpt(sample, finding.message) if sample is not None else ()
            detail = finding.message if group.kind == OTHERS else detail
            group.examples.append(Example(finding.sample_id, _visible(detail), turns))
        return group

    def _group(self, check: str, severity: Severity, kind: str) -> Group:
        if (check, severity, kind) not in self._groups:
            kinds = self._kinds.get((check, severity), 0)
            kind = kind if kinds < KINDS else OTHERS
            self._kinds[check, severity] = kinds + 1
        return self._groups.setdefault((check, severity, kind), Group(check, severity, kind))


def _rank(group: Group) -> tuple[bool, int, int, str, str]:
    cut_short = group.kind == llava.CUT_SHORT
    return not cut_short, SEVERITIES.index(group.severity), -group.samples, group.check, group.kind


def _kind_and_detail(message: str) -> tuple[str, str]:
    """``kind: detail``; without a colon, the message with what varies (numbers, quotations) left out."""
    kind, colon, detail = message.partition(": ")
    if colon and not _VARIABLE.search(kind):
        return kind, detail
    return _VARIABLE.sub("…", kind)[:60], message


def _advice(group: Group) -> str:
    """From the module of the check or source; "" where it has nothing to say on this kind."""
    for folder in ("checks", "sources"):
        if group.check in choices.names(folder):
            return str(getattr(choices.choose(folder, group.check), "ADVICE", {}).get(group.kind, ""))
    return ""


def _of_check(groups: list[Group], check: str) -> list[Group]:
    return [group for group in groups if group.check == check]


def _shown(groups: list[Group]) -> list[tuple[Group, Example]]:
    """Up to ``KEPT`` findings, worst first, the kinds of one severity taking turns so that each is seen."""
    return list(islice(_in_turns(groups), KEPT))


def _in_turns(groups: list[Group]) -> Iterator[tuple[Group, Example]]:
    for severity in SEVERITIES:
        columns = [[(group, e) for e in group.examples] for group in groups if group.severity == severity]
        for row in zip_longest(*columns):
            yield from (cell for cell in row if cell is not None)


def _excerpt(sample: Sample, message: str) -> tuple[ShownTurn, ...]:
    """The turn that the message names with its neighbours, or the first three turns."""
    named = _TURN.search(message)
    first = max(0, int(named[1]) - 2) if named else 0
    numbered = list(enumerate(sample.turns, start=1))[first : first + 3]
    about = re.compile("|".join(["(" + _DEBRIS, *map(re.escape, _QUOTED.findall(message))]) + ")")
    return tuple(ShownTurn(number, turn.role, tuple(_pieces(turn, about))) for number, turn in numbered)


def _pieces(turn: Turn, about: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    for part in turn.parts:
        if not isinstance(part, str):
            yield "media", _visible(PurePath(part.path).name)
            continue
        text = _visible(part if len(part) <= EXCERPT else part[:EXCERPT] + " …")
        for index, piece in enumerate(about.split(text)):
            if piece:
                yield ("found" if index % 2 else "text"), piece


def _visible(text: str) -> str:
    """Control characters as their pictures; half characters as escapes, so that the page can be written."""
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode("utf-8")
