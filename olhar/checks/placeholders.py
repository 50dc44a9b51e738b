"""Media and their marks: each file has its place, each place its file, no mark is left in the text.

A translated mark (``<imagem>``) trains a model without its images and without an error: unprotected, an engine
translated the marks of all 600 image turns it was given, and LLaVA's own code then falls back to text alone.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from olhar.core.types import Finding, ImageRef, Sample
from olhar.languages import Language

NAME = "placeholders"
ADVICE: Mapping[str, str] = {
    "media without a mark": "put <image> (or <video>) into the user's turn where the file belongs",
    "mark without media": "name the missing file in the record, or remove the mark",
    "mark left in the text": "write exactly <image> or <video>, in small letters and without blanks",
    "media differ": "the translation moved, lost or added media: translate the sample again",
    "media outside a question": "meant as a drawing? if not, move the mark into the user's turn",
}

# a bracketed word on the marks' stems, maybe behind an article of a letter or two; or a broken spelling of a mark
_LEFTOVER = re.compile(
    r"(?:[<＜‹]|&lt;)\s*/?\s*(?:[^\W\d_]{1,2}\s+)?(?:imag|vid)\w*(?:\s*\d+)?\s*/?\s*(?:[>＞›]|&gt;)", re.IGNORECASE
)
_BRACKETED = re.compile(r"<[^<>\n]{1,30}>")


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    """Findings on media, marks and their counts; errors, but for media outside a question (a warning)."""
    yield from (Finding(sample.id, NAME, "error", message) for message in _counts(sample))
    for number, turn in enumerate(sample.turns, start=1):
        for part in turn.parts:
            if isinstance(part, str) and (found := _LEFTOVER.search(part)):
                message = f"mark left in the text: {found.group()!r} in turn {number}"
                yield Finding(sample.id, NAME, "error", message)
        if turn.media and turn.role != "user":
            message = f"media outside a question: turn {number}, by the {turn.role}, holds {len(turn.media)}"
            yield Finding(sample.id, NAME, "warning", message)
    if parent is not None and _places(sample) != _places(parent):
        message = f"media differ: {_told(sample)}; in the original {_told(parent)}"
        yield Finding(sample.id, NAME, "error", message)


def _counts(sample: Sample) -> Iterator[str]:
    unplaced = sample.meta.get("unplaced", ())
    homeless = sample.meta.get("marks_without_media", ())
    placed = len(sample.media)
    if unplaced:
        names = ", ".join(PurePath(path).name for path in unplaced[:3])
        like = next((m.group() for turn in sample.turns for m in _BRACKETED.finditer(turn.text)), None)
        guess = f"; {like!r} may be what became of it" if like else ""
        yield f"media without a mark: files {placed + len(unplaced)}, marks {placed}; left over {names}{guess}"
    if homeless:
        turns = ", ".join(str(number + 1) for number in sorted({turn for turn, _ in homeless}))
        yield f"mark without media: marks {placed + len(homeless)}, files {placed}; left over in turn {turns}"


def _places(sample: Sample) -> list[tuple[object, ...]]:
    return [turn.media for turn in sample.turns]


def _told(sample: Sample) -> str:
    """For a message: ``turn 1: a.jpg, b.jpg``."""
    told = (
        f"turn {number}: " + ", ".join(_name(ref) for ref in turn.media)
        for number, turn in enumerate(sample.turns, start=1)
        if turn.media
    )
    return "; ".join(told) or "none"


def _name(ref: object) -> str:
    marks = f" with {len(ref.marks)} marks drawn" if isinstance(ref, ImageRef) and ref.marks else ""
    return PurePath(getattr(ref, "path", "")).name + marks
