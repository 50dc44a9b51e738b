"""A translated text as people review it: sentence beside sentence, what must survive marked in both.

A passage is one text of a record (a turn, an option); its lines are its sentences, and between them what no engine
saw. Differences between the marked spans of both sides are found by counting: another language may order them anew.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from olhar.core.fragile import PATTERNS, spans
from olhar.core.types import Severity
from olhar.translators import Kept, Segment

Look = Literal["text", "kept", "lost", "added"]
Method = Literal["engine", "second method", "correction", "table", "glossary", "none", "untouched"]
Rank = Literal["left", "error", "warning", "info", "clean"]
RANKS: tuple[Rank, ...] = ("left", "error", "warning", "info", "clean")  # worst first
LEFT = "left in the source language"


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody has to say of a passage: a check, the translation itself. ``kind`` is a short stable phrase."""

    severity: Severity
    check: str
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence, or a stretch that no engine saw (then without a ``key``).

    source, target: pieces as (look, text); no target where the sentence was left in the source language.
    segment: the sentence as JSON text; what a correction is kept under, together with the languages, is ``key``.
    """

    source: tuple[tuple[Look, str], ...]
    target: tuple[tuple[Look, str], ...]
    method: Method
    key: str = ""
    segment: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def source_text(self) -> str:
        return "".join(text for _, text in self.source)

    @property
    def target_text(self) -> str:
        return "".join(text for _, text in self.target)


@dataclass(frozen=True, slots=True)
class Passage:
    """One text. ``row`` counts the file's records from 1; ``before`` is the text that precedes it in the record;
    ``stale``: the cache holds corrections that came after the file was written."""

    row: int
    record: str
    place: str
    role: str
    policy: str
    lines: tuple[Line, ...]
    remarks: tuple[Remark, ...]
    before: str = ""
    left: bool = False  # the whole text stands in the source language
    stale: bool = False

    @property
    def rank(self) -> Rank:
        if self.left or any(line.method == "none" for line in self.lines):
            return "left"
        severities = {remark.severity for remark in self.remarks}
        return next((rank for rank in RANKS if rank in severities), "clean")

    @property
    def kind(self) -> str:
        """What to group it by: the worst that is said of it."""
        said = sorted(self.remarks, key=lambda remark: RANKS.index(remark.severity))
        return f"{said[0].check}: {said[0].kind}" if said else ""


def marked(
    source: Segment, target: Segment | None
) -> tuple[tuple[tuple[Look, str], ...], tuple[tuple[Look, str], ...]]:
    """Both sides as pieces; a span that the other side has less often is ``lost`` or ``added``."""
    here = list(_pieces(source))
    if target is None:
        return tuple(("kept" if fragile else "text", text) for fragile, text in here), ()
    there = list(_pieces(target))
    return tuple(_compared(here, there, "lost")), tuple(_compared(there, here, "added"))


def _pieces(segment: Segment) -> Iterator[tuple[bool, str]]:
    """(whether it must survive, text) in reading order."""
    for part in segment:
        if isinstance(part, Kept):
            yield True, part.text
            continue
        end = 0
        for span in spans(part, PATTERNS):
            yield False, part[end : span.start]
            yield True, span.text
            end = span.end
        yield False, part[end:]


def _compared(
    pieces: Sequence[tuple[bool, str]], others: Sequence[tuple[bool, str]], look: Look
) -> Iterator[tuple[Look, str]]:
    left = Counter(text for fragile, text in others if fragile)
    for fragile, text in pieces:
        if fragile:
            left[text] -= 1
            yield ("kept" if left[text] >= 0 else look), text
        elif text:
            yield "text", text
