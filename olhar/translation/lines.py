"""A text as lines, cells and options: what parts them, and the markers they begin with, are never translated."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

from olhar.languages import Language
from olhar.translation.spans import Span

NEWLINES = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"

_SEPARATOR = re.compile(rf"\s*[{NEWLINES}\t|]\s*")
_MARKER = (
    r"(?:>|\#{1,6}(?=\s)|[-*+\u2022\u25cf\u25e6\u25aa\u2023\u00b7\u2013\u2014](?=\s)|\[[ xX]\](?=\s)"
    r"|\(?\d{1,3}[.)](?=\s|\Z)|\d{1,3}\u3001|\(?[ivxIVX]{1,5}[.)](?=\s))"
)
_CLAUSE_END = re.compile(r"(?:\A|[:.?!;\u3002\uff1a\uff1f])\s*\Z")
_AFTER_HEADING = re.compile(r"\s*(?:[:\uff1a]|[-\u2013\u2014]\s)\s*|\s*\Z")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters [start, end) of a text: ``ours`` to keep, or a line, cell or option to translate."""

    start: int
    end: int
    role: Literal["ours", "text", "option"]


def marker(line: str, language: Language) -> str:
    """What the line begins with: blanks, quoting, bullet, number, the label of an option."""
    return line[: _marked(line, 0, len(line), language)[0]]


def stretches(text: str, spans: Sequence[Span], language: Language) -> Iterator[Stretch]:
    """The whole text in order, without gaps. Spans that hold a newline, and instructions, are ours."""
    at = 0
    for start, end in _separators(text, spans):
        yield from _line(text, at, start, spans, language)
        yield Stretch(start, end, "ours")
        at = end
    yield from _line(text, at, len(text), spans, language)


def _separators(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    walls = [(s.start, s.end) for s in spans if s.kind == "instruction" or not set(NEWLINES).isdisjoint(s.text)]
    found = list(walls)
    for match in _SEPARATOR.finditer(text):
        start, end = match.span()
        for span in spans:  # blanks may belong to a block that begins or ends there
            if span.start < end and start < span.end:
                start, end = (span.end, end) if span.start <= start else (start, span.start)
        if start < end:
            found.append((start, end))
    return sorted(found)


def _line(text: str, start: int, end: int, spans: Sequence[Span], language: Language) -> Iterator[Stretch]:
    """One line or cell: cut at the labels of its options, else behind its marker."""
    if start >= end:
        return
    inside = [span for span in spans if start <= span.start and span.end <= end]
    labels = _inline_labels(text, start, end, inside, language)
    if not labels:
        yield from _marked_line(text, start, end, inside, language)
        return
    if start < labels[0][0]:
        yield from _marked_line(text, start, labels[0][0], inside, language)
    for (begin, behind), (following, _) in pairwise([*labels, (end, end)]):
        body = text[behind:following].rstrip(" ,;")
        yield Stretch(begin, behind, "ours")
        yield Stretch(behind, behind + len(body), "option")
        yield Stretch(behind + len(body), following, "ours")


def _inline_labels(text: str, start: int, end: int, spans: Sequence[Span], language: Language) -> list[tuple[int, int]]:
    """The labels of at least two options on one line, from the first letter on: "(A) cat (B) dog", "A. cat B. dog"."""
    letters = "".join(language.options)
    for pattern in (rf"(?<!\w)\(([{letters}])\)\s*", rf"(?<![\w(.])([{letters}])[.)]\s+"):
        found: list[tuple[int, int]] = []
        for match in re.compile(pattern).finditer(text, start, end):
            free = all(span.kind == "letter" or not span.start <= match.start() < span.end for span in spans)
            if free and match[1] == letters[len(found) : len(found) + 1]:
                found.append(match.span())
        if len(found) > 1 and _CLAUSE_END.search(text[start : found[0][0]]):
            return found
    return []


def _marked_line(text: str, start: int, end: int, spans: Sequence[Span], language: Language) -> Iterator[Stretch]:
    behind, is_option = _marked(text, start, end, language)
    if start < behind:
        yield Stretch(start, behind, "ours")
    role: Literal["text", "option"] = "option" if is_option else "text"
    for cut in _heading(text, behind, end, spans):
        yield Stretch(behind, cut[0], "text")
        yield Stretch(*cut, "ours")
        behind = cut[1]
    if behind < end:
        yield Stretch(behind, end, role)


def _marked(text: str, start: int, end: int, language: Language) -> tuple[int, bool]:
    """Where the marker ends, and whether its last part is the label of an option."""
    match = _marker_scanner(language.options).match(text, start, end)
    return (match.end(), match["label"] is not None) if match else (start, False)


@cache
def _marker_scanner(options: tuple[str, ...]) -> re.Pattern[str]:
    letters = "".join(options)
    some = f"[{letters}{letters.lower()}]"
    label = rf"\({some}\)|\(?{some}[.)](?=\s|\*|\Z)|[{letters}]\s?(?::(?=\s|\*|\Z)|\uff1a)"
    return re.compile(rf"\s*(?:{_MARKER}\s*)*(?P<label>(?:\*\*)?(?:{label})(?:\*\*)?)?\s*")


def _heading(text: str, start: int, end: int, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """The marks of an emphasis at the beginning that is a heading or label of its own: "**Where:** in a park"."""
    marks = [span for span in spans if span.kind == "emphasis" and span.start >= start]
    if len(marks) < 2 or marks[0].start != start or marks[0].text != marks[1].text:
        return []
    opening, closing = marks[:2]
    after = _AFTER_HEADING.match(text[closing.end : end])
    if after is None and not text[opening.end : closing.start].rstrip().endswith((":", "\uff1a")):
        return []
    return [(opening.start, opening.end), (closing.start, closing.end + (after.end() if after else 0))]
