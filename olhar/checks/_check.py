"""What the checks share: their shape, and the turns of a translation beside those of its original."""

import re
from collections.abc import Callable, Iterator

from olhar.core.fragile import PATTERNS, without
from olhar.core.types import Finding, Sample, Turn
from olhar.languages import Language

Check = Callable[[Sample, Sample | None, Language], Iterator[Finding]]
Pairs = tuple[tuple[str, str], ...]

APOSTROPHES = "'\u2019"


def beside(sample: Sample, parent: Sample | None) -> Iterator[tuple[int, Turn, Turn]]:
    """The number by which a person would call a turn, the turn, and what it was before translation.

    Nothing without a parent, or where the turns do not match: that is told by the check ``structure``.
    """
    if parent is None or [turn.role for turn in sample.turns] != [turn.role for turn in parent.turns]:
        return
    for number, (turn, original) in enumerate(zip(sample.turns, parent.turns, strict=True), start=1):
        yield number, turn, original


def prose(text: str, language: Language) -> str:
    """The text without what may be in another language or in none: code, tags, numbers and such, quotations."""
    text = without(text, set(PATTERNS))
    for opening, closing in quotes(language):
        text = re.sub(f"{re.escape(opening)}[^{re.escape(closing)}\n]*{re.escape(closing)}", " ", text)
    return text


def quotes(language: Language) -> Pairs:
    """The opening and closing marks of quotations, but for those that are apostrophes too."""
    return tuple(pair for pair in language.translation.quotes if pair[1] not in APOSTROPHES)


def shortened(text: str, most: int = 60) -> str:
    """The text on one line, for a message, quoted; cut where it is long."""
    line = " ".join(text.split())
    return repr(line if len(line) <= most else line[: most - 2] + " …")
