"""Where the sentences of one line begin and end, by the habits of its language.

A mistake costs quality, never text: whatever lies between two sentences is kept, and a sentence that was not cut is
translated with its neighbour.
"""

import re
from collections.abc import Sequence

from olhar.languages import Language
from olhar.translation.spans import LETTERS, Span

_CLOSERS = r"[)\]}\"'\u201d\u2019\u00bb\u300d\u300f]*"
_END = re.compile(rf"(?P<stop>[.!?\u2026]+){_CLOSERS}(?=\s)|[\u3002\uff01\uff1f]+{_CLOSERS}")  # the last: of Chinese
_OPENERS = "\"'\u201c\u2018\u00ab\u300c\u300e([{<\u00bf\u00a1*_`$#"
_WORD = re.compile(rf"[{LETTERS}]+")
_LAST_WORD = re.compile(r"[^\s()\[\]\"'\u201c\u2018/]*$")
_INITIALS = re.compile(rf"(?:[{LETTERS}]\.)*[{LETTERS}]")


def sentences(text: str, spans: Sequence[Span], language: Language) -> list[tuple[int, int]]:
    """The half-open places of the sentences of one line, without the blanks around them.

    spans: what is protected in this text, in order; no sentence ends inside of one, but one may end where a
        quotation does: He said "Stop." Then he left.
    """
    found: list[tuple[int, int]] = []
    start = _next_word(text, 0)
    for end in _ends(text, spans):
        after = _next_word(text, end)
        if start < end and after < len(text) and _parts(text, start, end, after, language):
            found.append((start, end))
            start = after
    if start < len(text):
        found.append((start, len(text.rstrip())))
    return found


def _next_word(text: str, at: int) -> int:
    """The first place from ``at`` on that holds no blank."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _ends(text: str, spans: Sequence[Span]) -> list[int]:
    """Where a sentence may end: behind stops outside of spans, and behind quotations that end in one."""
    ends = {match.end() for match in _END.finditer(text) if not any(s.start <= match.start() < s.end for s in spans)}
    ends |= {span.end for span in spans if span.kind == "quote" and _END.search(span.text[-3:] + " ")}
    return sorted(end for end in ends if not any(span.start < end < span.end for span in spans))


def _parts(text: str, start: int, end: int, after: int, language: Language) -> bool:
    """Whether what ends at ``end`` is a sentence, given what begins at ``after``."""
    body = text[start:end]
    if re.search(rf"[\u3002\uff01\uff1f]{_CLOSERS}\Z", body):
        return True
    if end == after or not _may_begin(text[after:]):
        return False
    stops = re.search(rf"[.!?\u2026]+(?={_CLOSERS}\Z)", body)
    if stops is None or "?" in stops.group() or "!" in stops.group():
        return True
    if stops.group() in ("...", "\u2026"):
        return text[after : after + 1] not in language.translation.capitals
    before = body[: stops.start()]
    last = _LAST_WORD.search(before)
    return _dot_ends(before, last.group() if last else "", text[after:], language)


def _may_begin(rest: str) -> bool:
    """A capital, a digit or an opening mark, as of quotations; a script without capitals may always begin."""
    first = rest[0]
    return not first.islower() if first.isalnum() else first in _OPENERS


def _dot_ends(before: str, word: str, rest: str, language: Language) -> bool:
    """Whether the dot behind ``word`` ends a sentence, rather than belonging to an abbreviation or a numeral."""
    words = language.translation
    short = word.lower().strip(".")
    if short in words.abbreviations:
        return False
    if short in words.numbered and rest[0].isdigit():
        return False
    if word.isdigit() and (before == word or before[: -len(word)].rstrip().endswith((":", ";"))):
        return False  # "1. First"
    if short in words.ending_abbreviations or (_INITIALS.fullmatch(word) and word[-1].isupper()):
        return _begins_sentence(rest, language)
    return True


def _begins_sentence(rest: str, language: Language) -> bool:
    """Whether the words begin as sentences do and names do not: The, It, He; not a further initial."""
    match = _WORD.match(rest)
    return match is not None and match.group().lower() in language.stopwords and rest[match.end() :][:1] != "."
