"""What people corrected, checked and kept in the cache. A row is kept or refused with its reasons; none is lost."""

import json
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from olhar.languages import Language
from olhar.translation.cache import Cache, Correction, correction_key
from olhar.translation.editing import plain
from olhar.translation.exchange import Returned, returned
from olhar.translation.invariants import problems
from olhar.translation.translated import Translated
from olhar.translation.wording import segment_from_value, segment_to_json
from olhar.translators import Kept, Segment

_IDEOGRAPHS = "\u2e80"  # from here on most letters are words by themselves


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not kept: its place in the file, what it would have said, and why not."""

    number: int
    source: str
    target: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the rows of one file: kept now, kept already, the same as exported, refused."""

    kept: int
    already: int
    unchanged: int
    refused: tuple[Refused, ...]


class _NotFit(ValueError):
    """Why a row cannot be kept; the arguments are the reasons."""


def import_into(path: Path, translated: Translated, who: str = "") -> Imported:
    """``import_corrections`` into the cache of a translated file."""
    codes = (translated.direction.source, translated.direction.target)
    with closing(Cache(translated.cache)) as cache:
        return import_corrections(path, cache, translated.source, translated.target, codes, who)


def import_corrections(
    path: Path, cache: Cache, source: Language, target: Language, codes: tuple[str, str], who: str = ""
) -> Imported:
    """Keep every changed target of the file, or refuse it; giving the same file again changes nothing.

    codes: source and target as the translation was asked for (``pt-BR``). who: whose corrections they are where the
    file does not say. Raises ``UserError`` for a file that cannot be read at all; then nothing is kept.
    """
    changed: dict[str, list[Returned]] = defaultdict(list)
    unchanged = 0
    refused: list[Refused] = []
    for row in returned(path):
        if row.problem is not None:
            refused.append(Refused(row.number, "", "", (row.problem,)))
        elif row.changed:
            changed[row.key].append(row)
        else:
            unchanged += 1
    fit: list[Correction] = []
    for rows in changed.values():
        try:
            fit.append(_correction(rows, source, target, codes, who))
        except _NotFit as error:
            refused += (Refused(row.number, _source(row), row.target, error.args) for row in rows)
    known = cache.corrections(correction.key for correction in fit)
    new = [correction for correction in fit if known.get(correction.key) != correction.translation]
    cache.correct(new)
    refused.sort(key=lambda row: row.number)
    return Imported(len(new), len(fit) - len(new), unchanged, tuple(refused))


def aligned(segment: Segment, text: str) -> Segment:
    """A person's text with the segment's kept spans set apart, in their order.

    Raises ``ValueError`` saying which span is missing, or that the order is another one.
    """
    parts: list[str | Kept] = []
    at = 0
    kept = [part.text for part in segment if isinstance(part, Kept)]
    for span in kept:
        found = _find(text, span, at)
        if found < 0:
            missing = [each for each in kept if _find(text, each, 0) < 0]
            listed = ", ".join(missing or kept)
            raise ValueError(
                f"kept span missing: {listed}" if missing else f"kept spans in another order: not {listed}"
            )
        parts += [text[at:found], Kept(span)]
        at = found + len(span)
    return tuple(part for part in (*parts, text[at:]) if part != "")


def _correction(
    rows: list[Returned], source: Language, target: Language, codes: tuple[str, str], who: str
) -> Correction:
    """The one correction that all rows of a key agree on. Raises ``_NotFit``."""
    row = rows[-1]
    try:
        segment = segment_from_value(json.loads(row.segment))
    except ValueError as error:
        raise _NotFit(f"the column segment was changed: {error}") from error
    key = correction_key(*codes, segment_to_json(segment))
    if key.hex() != row.key:
        raise _NotFit(f"not a sentence of this translation ({codes[0]} to {codes[1]}), or the column key was changed")
    if len({each.target.strip() for each in rows}) > 1:
        raise _NotFit(f"corrected differently in rows {', '.join(str(each.number) for each in rows)}: keep one of them")
    text = row.target.strip()
    if not text:
        raise _NotFit("nothing is written: delete the row, or write the translation")
    if len(text.splitlines()) > 1:
        raise _NotFit("more than one line: a sentence stands on one")
    try:
        made = aligned(segment, text)
    except ValueError as error:
        raise _NotFit(str(error)) from error
    if found := problems(segment, made, source, target):
        raise _NotFit(*found)
    return Correction(key, made, row.who or who, row.when or "", "", *codes, segment_to_json(segment))


def _source(row: Returned) -> str:
    """The sentence of a row, for a person; "" where it cannot be told."""
    try:
        return plain(segment_from_value(json.loads(row.segment)))
    except ValueError:
        return ""


def _find(text: str, span: str, start: int) -> int:
    """Where the span stands from ``start`` on, not as a part of a longer number or word; -1 where it does not."""
    while (at := text.find(span, start)) >= 0:
        if not _runs_on(text[at - 1 : at], span[0]) and not _runs_on(span[-1], text[at + len(span) :][:1]):
            return at
        start = at + 1
    return -1


def _runs_on(left: str, right: str) -> bool:
    """Whether a number, or a word of an alphabet, goes on from one character to the other."""
    digits = left.isdigit() and right.isdigit()
    return digits or (left.isalpha() and right.isalpha() and max(left, right) < _IDEOGRAPHS)
