"""Text that a translation carries over letter by letter: code, math, tags, addresses, coordinates, numbers.

The patterns know signs and digits, no word of any language. Where two of them meet, the one that begins first
wins, and of those that begin together the one named first.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, cast

Kind = Literal["code", "math", "tag", "address", "coordinates", "number"]

# A dollar opens math before a non-blank and closes it behind one, not before a digit; between them stands one piece
# without blanks, or a sign of mathematics: "$5 and $6" and "$5 to US$ 6" are prices.
_INLINE_MATH = r"(?<![\\$\w])\$(?=\S)(?=[^\s$]+\$|[^$\n]*[\\^_={}+<>][^$\n]*\$)[^$\n]{1,80}(?<=\S)\$(?![\d$])"
_LIST = r"\s*-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)+\s*"

PATTERNS: dict[Kind, str] = {
    "code": r"```.*?```|`[^`\n]+`",
    "math": rf"\$\$.+?\$\$|\\\[.*?\\\]|\\\(.*?\\\)|{_INLINE_MATH}",
    "tag": r"</?[A-Za-z][^<>\n]*>|<\|[^<>|\n]{1,40}\|>",
    "address": r"https?://[^\s<>\"]*[^\s<>\".,;:!?)\]}'”’»]|\bwww\.\w[^\s<>\"]*\w|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "coordinates": rf"\[{_LIST}\]|\((?!\d{{1,3}}(?:,\d{{3}})+\)){_LIST}\)",  # "(1,000)" is a number
    "number": r"\d+(?:[.,:/-]\d+)*%?",
}
SPANS: frozenset[Kind] = frozenset(PATTERNS) - {"number"}
FRAGILE = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in PATTERNS.items()), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """``text`` stands at the half-open characters [start, end)."""

    kind: Kind
    start: int
    end: int
    text: str


def spans(text: str, kinds: Collection[Kind] = SPANS) -> Iterator[Span]:
    """The fragile spans of these kinds, in order; numbers inside another span are part of it."""
    for match in FRAGILE.finditer(text):
        kind = cast(Kind, match.lastgroup)
        if kind in kinds:
            yield Span(kind, match.start(), match.end(), match.group())


def without(text: str, kinds: Collection[Kind] = SPANS) -> str:
    """The text with a blank in the place of each span of these kinds."""
    return FRAGILE.sub(lambda match: " " if match.lastgroup in kinds else match.group(), text)
