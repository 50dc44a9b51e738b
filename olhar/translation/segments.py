"""A text is taken apart into what an engine must see and what stays ours, and put together again.

In this order, so that nothing is cut that belongs together: media marks at either end, protected spans, lines and
cells and options, answers of tables, sentences.
"""

import re
from collections.abc import Iterator, Sequence

from olhar.languages import Language
from olhar.languages._identify import main_script
from olhar.translation.lines import stretches
from olhar.translation.policies import Policy
from olhar.translation.sentences import sentences
from olhar.translation.skeletons import (
    Answer,
    Beside,
    Part,
    Place,
    Restored,
    Skeleton,
    flat,
    for_engine,
    from_engine,
    from_pieces,
    pieces,
    sayable,
)
from olhar.translation.spans import MEDIA, Kind, Span, find, with_more
from olhar.translation.tables import YES_NO, instructions, joined_letters, short_answer, terms
from olhar.translators import Kept, Segment

__all__ = [
    "Answer",
    "Beside",
    "Place",
    "Restored",
    "Skeleton",
    "flat",
    "for_engine",
    "from_engine",
    "from_pieces",
    "pieces",
    "protected",
    "taken_apart",
]

_MEDIA_ENDS = re.compile(rf"(?P<head>\A\s*(?:{MEDIA}\s*)+)|(?P<tail>(?:\s*{MEDIA})+\s*\Z)")
_AT_ENDS: frozenset[Kind] = frozenset({"media", "tag", "link", "coordinates", "emphasis"})
_GLUE = re.compile(r"[ ]*[,;:/&\u2013\u2014-]?[ ]*")


def taken_apart(text: str, source: Language, target: Language, policy: Policy, answer: bool) -> Skeleton:
    """The skeleton of a turn or of another text, such as a caption or an option.

    answer: whether it is what the assistant says; matters where the policy keeps answers.
    """
    start, end = 0, len(text)
    for match in _MEDIA_ENDS.finditer(text):
        start, end = (match.end(), end) if match["head"] else (start, match.start())
    if start > end:  # marks and nothing else
        start = end
    work = _Text(text[start:end], source, target, policy)
    parts = work.kept(0, end - start) if answer and policy.answers == "keep" else work.parts()
    return Skeleton(tuple(_joined([text[:start], *parts, text[end:]])))


def protected(text: str, source: Language, target: Language, policy: Policy) -> list[Span]:
    """The spans that come back as their ``text``: translated in instructions and terms, unchanged in all others."""
    spans = find(text, source, quotes=policy.quotes != "translate")
    fixed = list(instructions(text, source, target))
    return with_more(with_more(fixed, spans), terms(text, policy.glossary))


class _Text:
    """One text between its media marks, and what is said about its stretches."""

    def __init__(self, text: str, source: Language, target: Language, policy: Policy) -> None:
        self.text, self.source, self.target, self.policy = text, source, target, policy
        self.spans = protected(text, source, target, policy)

    def parts(self) -> Iterator[Part]:
        for stretch in stretches(self.text, self.spans, self.source):
            if stretch.role == "ours":
                yield from self.unsaid(stretch.start, stretch.end)
            elif stretch.role == "option" and self.policy.answers == "keep":
                yield from self.kept(stretch.start, stretch.end)
            else:
                yield from self.said(stretch.start, stretch.end)

    def kept(self, start: int, end: int) -> Iterator[Part]:
        """What is printed on the image stays; closed answers are not read from it, but for those in capitals."""
        core = self.text[start:end].strip()
        found = None if len(core) > 1 and core.isupper() else short_answer(core, self.source, self.target)
        yield from self.answered(start, end, found) if found else (self.text[start:end],)

    def said(self, start: int, end: int) -> Iterator[Part]:
        """One line, cell or option."""
        core = self.text[start:end].strip()
        found = short_answer(core, self.source, self.target) or joined_letters(core, self.source, self.target)
        if found is not None:
            yield from self.answered(start, end, found)
            return
        inside = self.within(start, end)
        moved = [Span(s.start - start, s.end - start, s.kind, s.text) for s in inside]
        at = start
        for first, last in sentences(self.text[start:end], moved, self.source):
            yield from self.unsaid(at, start + first)
            yield from self.sentence(start + first, start + last)
            at = start + last
        yield from self.unsaid(at, end)

    def sentence(self, start: int, end: int) -> Iterator[Part]:
        found = short_answer(self.text[start:end], self.source, self.target, only=YES_NO)
        if found is not None:
            yield Answer(self.text[start:end], found)
            return
        first, last = self.trimmed(start, end)
        segment, beside = self.segment(first, last)
        if not self.is_said(segment, first, last):
            yield from self.unsaid(start, end)
            return
        yield from self.unsaid(start, first)
        yield Place(segment, self.text[first:last], beside)
        yield from self.unsaid(last, end)

    def is_said(self, segment: Segment, start: int, end: int) -> bool:
        """Whether it holds a word in a script of the source language; beside a term one letter will do: A hydrant."""
        texts = [part for part in segment if isinstance(part, str)]
        letters = {letter for text in texts for letter in text if letter.isalpha()}
        found = any(map(sayable, texts)) or any(span.kind == "term" for span in self.within(start, end))
        return found and any(main_script(letter) in self.source.scripts for letter in letters)

    def trimmed(self, start: int, end: int) -> tuple[int, int]:
        """The sentence without the blanks and those spans at its ends that are no part of its grammar."""
        inside = [span for span in self.within(start, end) if span.kind in _AT_ENDS]
        for span in inside:
            if not self.text[start : span.start].strip():
                start = span.end
        for span in reversed(inside):
            if span.start >= start and not self.text[span.end : end].strip():
                end = span.start
        while start < end and self.text[start].isspace():
            start += 1
        while start < end and self.text[end - 1].isspace():
            end -= 1
        return start, end

    def segment(self, start: int, end: int) -> tuple[Segment, tuple[tuple[str, Beside], ...]]:
        """Text and kept spans; those with nothing to translate between them are one."""
        parts: list[str | Kept] = []
        beside: dict[str, Beside] = {}
        at = start
        for span in self.within(start, end):
            between = self.text[at : span.start]
            both = span.kind == "quote" and self.policy.quotes == "both"
            if both:
                beside[span.text] = self.beside(span)
            if parts and isinstance(parts[-1], Kept) and not beside and _GLUE.fullmatch(between):
                parts[-1] = Kept(parts[-1].text + between + span.text)
            else:
                parts += [between, Kept(span.text)]
            at = span.end
        return tuple(part for part in (*parts, self.text[at:end]) if part != ""), tuple(beside.items())

    def unsaid(self, start: int, end: int) -> Iterator[Part]:
        """What no engine sees: as it is, but for terms, instructions and what stands beside quotations."""
        at = start
        for span in self.within(start, end):
            yield self.text[at : span.start]
            original = self.text[span.start : span.end]
            yield span.text if span.text == original else Answer(original, span.text)
            if span.kind == "quote" and self.policy.quotes == "both":
                yield self.beside(span)
            at = span.end
        yield self.text[at:end]

    def beside(self, quotation: Span) -> Beside:
        inner = Policy(glossary=self.policy.glossary)
        work = _Text(quotation.text[1:-1], self.source, self.target, inner)
        return Beside(Skeleton(tuple(_joined(work.parts()))))

    def answered(self, start: int, end: int, found: str) -> Iterator[Part]:
        """The stretch with ``found`` in the place of what is between its blanks."""
        whole = self.text[start:end]
        core = whole.strip()
        lead, _, trail = whole.partition(core)
        yield from (lead, Answer(core, found), trail)

    def within(self, start: int, end: int) -> list[Span]:
        return [span for span in self.spans if start <= span.start and span.end <= end]


def _joined(parts: Iterator[Part] | Sequence[Part]) -> Iterator[Part]:
    """The parts with neighbouring strings joined and empty ones left out."""
    pending = ""
    for part in parts:
        if isinstance(part, str):
            pending += part
            continue
        if pending:
            yield pending
        pending = ""
        yield part
    if pending:
        yield pending
