"""What stays ours of a text while its segments are with an engine; and segments in pieces."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from olhar.translation.spans import LETTERS
from olhar.translators import Kept, Segment

_OTHERS = r"\u0530-\u1dff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\ufeff\uff66-\uffdc\U00020000-\U0003ffff"  # other scripts
_SAYABLE = re.compile(rf"[{LETTERS}]{{2,}}|(?=[^\W\d_])[{_OTHERS}]")
_FIGURES = re.compile(r"[$€£¥₫₹]?\d[\d.,:/%\s$€£¥₫₹;&+\u2013\u2014-]*")
_SPACED = re.compile(
    "[^\\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)  # blanks part its words
_BLANKS = re.compile(r" {2,}")
_BLANK_BEFORE = re.compile(r"\s[.,;:!?)\]}\u00bb\u201d]")
_BLANK_BEHIND = re.compile(r"[(\[{\u00ab\u201c]\s")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a table, the glossary or a reviewed instruction translates."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment stands. ``original`` is its text as it was; ``beside``: kept quotations of the segment, each
    with what follows it."""

    segment: Segment
    original: str
    beside: tuple[tuple[str, "Beside"], ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Those it takes of ``Skeleton.segments``, its own first."""
        return (self.segment, *(each for _, beside in self.beside for each in beside.segments))


@dataclass(frozen=True, slots=True)
class Beside:
    """The translation of a quotation that is kept, to stand behind it in brackets."""

    skeleton: "Skeleton"

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.skeleton.segments


Part = str | Answer | Place | Beside


@dataclass(frozen=True, slots=True)
class Restored:
    """A text put together; ``left`` are the segments that stay in the source language."""

    text: str
    left: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A text taken apart, in reading order: strings that are kept, answers of tables, places of segments."""

    parts: tuple[Part, ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What an engine must see, in reading order; equal ones are repeated."""
        return tuple(each for part in self.parts if isinstance(part, Place | Beside) for each in part.segments)

    @property
    def original(self) -> str:
        """The text that was taken apart."""
        return "".join(map(_original, self.parts))

    def put_together(self, translated: Sequence[Segment | None]) -> Restored:
        """The text with one translation for each of ``segments``; None: it stays in the source language.

        Raises ``ValueError`` where there are more or fewer.
        """
        if len(translated) != len(self.segments):
            raise ValueError(f"{len(translated)} translations for {len(self.segments)} segments")
        coming = iter(translated)
        left: list[Segment] = []
        return Restored("".join(_restored(part, coming, left) for part in self.parts), tuple(left))


def _original(part: Part) -> str:
    if isinstance(part, Answer):
        return part.source
    return part if isinstance(part, str) else part.original if isinstance(part, Place) else ""


def _restored(part: Part, coming: Iterator[Segment | None], left: list[Segment]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Answer):
        return part.target
    if isinstance(part, Beside):
        return _in_brackets(part, coming, left)
    translated = next(coming)
    beside = {quotation: _in_brackets(each, coming, left) for quotation, each in part.beside}
    if translated is None:
        left.append(part.segment)
        return part.original
    return "".join(each.text + beside.get(each.text, "") if isinstance(each, Kept) else each for each in translated)


def _in_brackets(beside: Beside, coming: Iterator[Segment | None], left: list[Segment]) -> str:
    restored = beside.skeleton.put_together(list(islice(coming, len(beside.segments))))
    left += restored.left
    return "" if restored.left or restored.text == beside.skeleton.original else f" ({restored.text})"


def sayable(text: str) -> bool:
    """Whether there is a word to translate: two letters of an alphabet in a row, or one of another script."""
    return _SAYABLE.search(text) is not None


def figures(kept: Kept) -> bool:
    """Whether it holds plain numbers, which engines that keep nothing copy as a rule."""
    return _FIGURES.fullmatch(kept.text) is not None


def flat(segment: Segment) -> str:
    """The segment as one string."""
    return "".join(part.text if isinstance(part, Kept) else part for part in segment)


def for_engine(segment: Segment, keeps: bool) -> list[Segment]:
    """What an engine gets in place of the segment: itself, or for one that does not keep, pieces of one string each.

    The pieces are cut at kept spans, but not at plain numbers: "There are 3 people" stays one.
    """
    return [segment] if keeps else _cut(segment, loose=True)


def from_engine(segment: Segment, keeps: bool, results: Sequence[Segment]) -> Segment:
    """The segment's translation from the results for ``for_engine``, blanks put in order.

    It is empty where a piece came back without a letter. Raises ``ValueError`` for too few or too many results.
    """
    if not keeps:
        return _refilled(segment, results, loose=True)
    (result,) = results
    return _tidied(result, segment)


def pieces(segment: Segment) -> list[Segment]:
    """The second method: the texts between all kept spans, as segments of their own."""
    return _cut(segment, loose=False)


def from_pieces(segment: Segment, translated: Sequence[Segment]) -> Segment:
    """The segment put together from its translated pieces, every blank as it was; empty and errors as above."""
    return _refilled(segment, translated, loose=False)


def _cut(segment: Segment, loose: bool) -> list[Segment]:
    return [(run.strip(),) for run in _runs(segment, loose) if isinstance(run, str) and sayable(run)]


def _runs(segment: Segment, loose: bool) -> list[str | Kept]:
    """The parts, neighbouring strings joined; ``loose``: plain numbers are strings."""
    runs: list[str | Kept] = []
    for part in segment:
        if loose and isinstance(part, Kept) and figures(part):
            part = part.text
        if isinstance(part, str) and runs and isinstance(runs[-1], str):
            runs[-1] += part
        else:
            runs.append(part)
    return runs


def _refilled(segment: Segment, results: Sequence[Segment], loose: bool) -> Segment:
    runs = _runs(segment, loose)
    places = [at for at, run in enumerate(runs) if isinstance(run, str) and sayable(run)]
    if len(places) != len(results):
        raise ValueError(f"{len(results)} results for {len(places)} pieces")
    for at, result in zip(places, results, strict=True):
        run, said = _text(runs[at]), flat(result).strip()
        if not any(letter.isalpha() for letter in said):
            return ()
        core = run.strip()
        lead, _, trail = run.partition(core)
        runs[at] = lead + (said if _BLANKS.search(core) else _BLANKS.sub(" ", said)) + trail
    return tuple(runs)


def _tidied(result: Segment, segment: Segment) -> Segment:
    """The result without blanks at its ends, doubled ones, or such as the segment does not have beside kept spans."""
    runs = _runs(result, loose=False)
    source = flat(segment)
    if not _BLANKS.search(source):
        runs = [run if isinstance(run, Kept) else _BLANKS.sub(" ", run) for run in runs]
    if runs and isinstance(runs[0], str):
        runs[0] = runs[0].lstrip()
    if runs and isinstance(runs[-1], str):
        runs[-1] = runs[-1].rstrip()
    before, behind = _habits_beside(runs, segment)
    for at, run in enumerate(runs):
        if isinstance(run, Kept):
            continue
        if before[at + 1] == "blank" and _SPACED.fullmatch(run[-1:]):
            run += " "
        elif before[at + 1] == "tight" or (_BLANK_BEHIND.fullmatch(run[-2:]) and not _BLANK_BEHIND.search(source)):
            run = run.rstrip(" ")
        if behind[at] == "blank" and _SPACED.fullmatch(run[:1]):
            run = " " + run
        elif behind[at] == "tight" or (at and _BLANK_BEFORE.fullmatch(run[:2]) and not _BLANK_BEFORE.search(source)):
            run = run.lstrip(" ")
        runs[at] = run
    return tuple(run for run in runs if run != "")


def _text(run: str | Kept) -> str:
    return run.text if isinstance(run, Kept) else run


def _habits_beside(runs: Sequence[str | Kept], segment: Segment) -> tuple[list[str], list[str]]:
    """For each run how the segment has it before the run itself, and behind the run before it: see ``_habit``.

    The nth of several equal spans is like the segment's nth; one entry more for the end.
    """
    known: dict[str, deque[tuple[str, str]]] = {}
    for at, part in enumerate(segment):
        if isinstance(part, Kept):
            left = _text(segment[at - 1])[-1:] if at > 0 else ""
            right = _text(segment[at + 1])[:1] if at + 1 < len(segment) else ""
            habit = _habit(left, part.text[:1]), _habit(right, part.text[-1:])
            known.setdefault(part.text, deque()).append(habit)
    before, behind = [], [""]
    for run in runs:
        coming = known.get(run.text) if isinstance(run, Kept) else None
        habit = coming.popleft() if coming else ("", "")
        before.append(habit[0])
        behind.append(habit[1])
    return [*before, ""], behind


def _habit(neighbour: str, edge: str) -> str:
    """A "blank" stands beside a kept span; a word, "tight" against a sign, as in *word*; or "": anything may."""
    if neighbour.isspace():
        return "blank"
    return "tight" if neighbour.isalnum() and not edge.isalnum() else ""
