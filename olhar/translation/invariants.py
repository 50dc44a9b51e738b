"""What must hold of a translation, whatever the engine: of a segment as it comes back, and of a whole text."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from olhar.languages import Language
from olhar.translation.lines import NEWLINES, marker
from olhar.translation.policies import Policy
from olhar.translation.segments import protected
from olhar.translation.skeletons import figures, flat
from olhar.translation.spans import Kind, Span, find, numbers
from olhar.translators import Kept, Segment

WARNINGS = frozenset({"question mark", "final stop", "capital"})  # kinds that leave a text usable
_SAME: frozenset[Kind] = frozenset({"media", "code", "math", "tag", "link", "address", "coordinates", "emphasis"})
_WITHIN: frozenset[Kind] = frozenset({"quote", "name", "term"})  # an engine may add to these, not take from them
_NEWLINE = re.compile(f"[{NEWLINES}]")
_QUESTION = re.compile("[?\uff1f\u061f]")
_TAG = re.compile(r"<[^<>]*>")
_LABEL = re.compile(r"(?<!\w)\([A-I]\)")
_LETTER_ANSWER = re.compile(r"\s*\(?[A-I][.)]?\)?\s*")
_STOP = r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019\u00bb)\]*_]*\s*\Z"
_ENDED = re.compile(_STOP)
_ENDS = re.compile(_STOP + r"|[\"\u201d\u2019\u00bb)>`\]]\s*\Z")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a translated text: a stable word or two, and the particulars."""

    kind: str
    detail: str

    @property
    def severity(self) -> Literal["error", "warning"]:
        return "warning" if self.kind in WARNINGS else "error"


def problems(segment: Segment, translated: Segment, source: Language, target: Language) -> list[str]:
    """Why a translated segment cannot be used; stable words, none where it can.

    ``nothing`` no letter left; ``newline`` a line begun; ``kept spans`` one lost, added, changed or moved; ``numbers``
    the same of numbers; ``markup`` signs that are read by programs; ``pipe`` a cell begun; ``marker`` a list begun.
    """
    before, after = flat(segment), flat(translated)
    said = "".join(part for part in translated if isinstance(part, str))
    found: list[str] = []
    if not any(letter.isalpha() for letter in said):
        found.append("nothing")
    if _NEWLINE.search(after) and not _NEWLINE.search(before):
        found.append("newline")
    if _hard(segment) != _hard(translated):
        found.append("kept spans")
    elif not _same_numbers(_numbers_among_kept(segment), _numbers_among_kept(translated)):
        found.append("numbers")
    if _spans(before, source, _SAME) != _spans(after, source, _SAME):
        found.append("markup")
    if before.count("|") != after.count("|") or before.count("\t") != after.count("\t"):
        found.append("pipe")
    if marker(before, source).strip() != marker(after, source).strip():
        found.append("marker")
    return found


def text_problems(text: str, translation: str, source: Language, target: Language, policy: Policy) -> list[Problem]:
    """What a translation lost, moved or made up of its text: invariants I3 to I6, and warnings.

    The reference is the text with its instructions and glossary terms translated; closed answers and option letters
    are looked at only where they are a whole text.
    """
    spans = protected(text, source, target, policy)
    reference = _reference(text, spans)
    found = [
        *_of_markup(reference, translation, source, policy),
        *_of_words(spans, translation),
        *_of_lines(reference, translation, source),
    ]
    if text.strip() and not translation.strip():
        found.append(Problem("nothing", "the translation is empty"))
    if _LETTER_ANSWER.fullmatch(text) and translation != text:
        found.append(Problem("letter", f"{translation!r} instead of {text!r}"))
    return [*found, *_of_habits(reference, translation)]


def _reference(text: str, spans: Sequence[Span]) -> str:
    parts: list[str] = []
    at = 0
    for span in spans:
        parts += [text[at : span.start], span.text]
        at = span.end
    return "".join((*parts, text[at:]))


def _of_markup(reference: str, translation: str, source: Language, policy: Policy) -> Iterator[Problem]:
    """What programs read, and numbers, are the same in the same order; beside quotations there may be more."""
    added = policy.quotes == "both"
    here, there = _spans(translation, source, _SAME), _spans(reference, source, _SAME)
    if added:
        here = _those_of(there, here)
    if here != there:
        yield _difference(there, here)
    if not added and not _same_numbers(numbers(reference), numbers(translation)):
        said, meant = (", ".join(number for number, _ in numbers(each)) for each in (translation, reference))
        yield Problem("number", f"{said or 'none'} instead of {meant or 'none'}")


def _of_words(spans: Sequence[Span], translation: str) -> Iterator[Problem]:
    """Quotations, names and terms are there in their order."""
    at = 0
    for span in spans:
        if span.kind in _WITHIN:
            at = translation.find(span.text, at)
            if at < 0:
                yield Problem(span.kind, f"{span.text!r} is not where it was")
                return
            at += len(span.text)


def _of_lines(reference: str, translation: str, source: Language) -> Iterator[Problem]:
    """Newlines, cells, list markers and labels of options are the same."""
    breaks, others = _NEWLINE.findall(reference), _NEWLINE.findall(translation)
    if breaks != others:
        yield Problem("newline", f"{len(others)} instead of {len(breaks)}")
        return
    for number, (line, other) in enumerate(_pairs(reference, translation), start=1):
        if line.count("|") != other.count("|"):
            yield Problem("pipe", f"{other.count('|')} instead of {line.count('|')} in line {number}")
        if marker(line, source) != marker(other, source):
            yield Problem("marker", f"{marker(other, source)!r} instead of {marker(line, source)!r} in line {number}")
    labels, those = _LABEL.findall(reference), _LABEL.findall(translation)
    if labels != those:
        yield Problem("label", f"{', '.join(those) or 'none'} instead of {', '.join(labels) or 'none'}")


def _pairs(reference: str, translation: str) -> Iterator[tuple[str, str]]:
    return zip(_NEWLINE.split(reference), _NEWLINE.split(translation), strict=True)


def _of_habits(reference: str, translation: str) -> Iterator[Problem]:
    """What an engine may have reason to change, but mostly has not."""
    asked, asking = len(_QUESTION.findall(reference)), len(_QUESTION.findall(translation))
    if asking < asked:
        yield Problem("question mark", f"{asking} instead of {asked}")
    if _ENDED.search(reference) and not _ENDS.search(translation):
        yield Problem("final stop", f"it ends in {translation[-10:]!r}")
    first, other = _first_letter(reference), _first_letter(translation)
    if first.isupper() and other.islower():
        yield Problem("capital", f"it begins with {other!r}")


def _first_letter(text: str) -> str:
    return next((letter for letter in _TAG.sub("", text) if letter.isalpha()), "")


def _hard(segment: Segment) -> list[str]:
    """Kept spans but plain numbers, which may have become part of the text."""
    return [part.text for part in segment if isinstance(part, Kept) and not figures(part)]


def _numbers_among_kept(segment: Segment) -> list[tuple[str, bool]]:
    """The numbers as ``spans.numbers`` has them, kept spans of other kinds standing between them as they do there."""
    found: list[tuple[str, bool]] = []
    pending = ""
    for part in segment:
        if isinstance(part, Kept) and not figures(part):
            found += [*numbers(pending), (part.text, True)]
            pending = ""
        else:
            pending += part.text if isinstance(part, Kept) else part
    return found + numbers(pending)


def _spans(text: str, language: Language, kinds: frozenset[Kind]) -> list[tuple[str, str]]:
    return [(span.kind, span.text) for span in find(text, language, quotes=False) if span.kind in kinds]


def _those_of(wanted: Sequence[tuple[str, str]], given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """As much of ``wanted`` as stands in ``given`` in its order."""
    coming = iter(given)
    return [each for each in wanted if each in coming]


def _difference(meant: Sequence[tuple[str, str]], said: Sequence[tuple[str, str]]) -> Problem:
    """The first kind of which more or fewer are there; else the first that moved."""
    for kind in dict.fromkeys(kind for kind, _ in (*meant, *said)):
        wanted, given = ([text for one, text in each if one == kind] for each in (meant, said))
        if wanted != given:
            return Problem(kind, f"{', '.join(given) or 'none'} instead of {', '.join(wanted) or 'none'}")
    kind, text = next(one for one, other in zip(meant, said, strict=True) if one != other)
    return Problem(kind, f"{text!r} is not where it was")


def _same_numbers(meant: Sequence[tuple[str, bool]], said: Sequence[tuple[str, bool]]) -> bool:
    """Whether every number that stands by itself is there, in order, and none is new.

    One that was part of a word ("1920s", "5kg") may come by itself, or not at all.
    """
    required = [number for number, alone in meant if alone]
    allowed = Counter(number for number, alone in meant if not alone)
    at = 0
    for number, alone in said:
        if at < len(required) and number == required[at]:
            at += 1
        elif alone and not allowed[number]:
            return False
        elif alone:
            allowed[number] -= 1
    return at == len(required)
