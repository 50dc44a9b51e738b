"""What becomes of a segment: a person's word, else the engine's, else its pieces', else nothing.

A pure function of the cache: the same in the run that asked the engine and in every later one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from olhar.languages import Language
from olhar.translation.cache import Cache, Direction, Entry
from olhar.translation.invariants import problems
from olhar.translation.segments import for_engine, from_engine, from_pieces, pieces
from olhar.translation.wording import segment_to_json
from olhar.translators import Segment

Method = Literal["correction", "engine", "second method", "none"]
REMEMBERED = 50_000  # segments whose outcome is kept in memory: questions that come again and again
NOT_ASKED = "not asked for yet"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The translation of a segment and how it was got; None, and why, where it stays in the source language.

    ask: what an engine must be asked for before more can be said.
    """

    translation: Segment | None
    method: Method
    reasons: tuple[str, ...] = ()
    ask: tuple[Segment, ...] = ()


class Resolver:
    """Looks segments up in the cache and checks what it finds. ``keeps``: whether the engine carries kept spans."""

    def __init__(self, cache: Cache, direction: Direction, keeps: bool, source: Language, target: Language) -> None:
        self._cache, self._direction, self._keeps = cache, direction, keeps
        self._source, self._target = source, target
        self._corrected = cache.corrected
        self._remembered: dict[Segment, Resolved] = {}

    def many(self, segments: Iterable[Segment]) -> dict[Segment, Resolved]:
        """What becomes of each of these."""
        asked = dict.fromkeys(segments)
        found = {segment: self._remembered[segment] for segment in asked if segment in self._remembered}
        rest = [segment for segment in asked if segment not in found]
        found |= self._corrections(rest)
        rest = [segment for segment in rest if segment not in found]
        first = self._method(rest, "engine", self._first, self._from_first)
        found |= first
        rest = [segment for segment in rest if first[segment].translation is None and not first[segment].ask]
        second = self._method(rest, "second method", pieces, from_pieces)
        for segment in rest:
            found[segment] = _with_reasons(first[segment], second[segment])
        self._remember(found)
        return found

    def _first(self, segment: Segment) -> list[Segment]:
        return for_engine(segment, self._keeps)

    def _from_first(self, segment: Segment, results: Sequence[Segment]) -> Segment:
        return from_engine(segment, self._keeps, results)

    def _corrections(self, segments: list[Segment]) -> dict[Segment, Resolved]:
        if not self._corrected or not segments:
            return {}
        keys = {segment: self._direction.correction_key(segment_to_json(segment)) for segment in segments}
        made = self._cache.corrections(keys.values())
        return {
            segment: Resolved(made[key], "correction", self._problems_of([segment], [made[key]]))
            for segment, key in keys.items()
            if key in made
        }

    def _method(
        self,
        segments: list[Segment],
        method: Method,
        cut: Callable[[Segment], list[Segment]],
        join: Callable[[Segment, Sequence[Segment]], Segment],
    ) -> dict[Segment, Resolved]:
        """Each segment made from the cached translations of what ``cut`` makes of it."""
        parts = {segment: cut(segment) for segment in segments}
        entries = self._entries(part for some in parts.values() for part in some)
        outcome = {}
        for segment, some in parts.items():
            known = [entries.get(part) for part in some]
            outcome[segment] = self._outcome(segment, some, known, method, join)
        return outcome

    def _outcome(
        self,
        segment: Segment,
        parts: list[Segment],
        known: Sequence[Entry | None],
        method: Method,
        join: Callable[[Segment, Sequence[Segment]], Segment],
    ) -> Resolved:
        missing = tuple(part for part, entry in zip(parts, known, strict=True) if entry is None)
        if missing:
            return Resolved(None, "none", (NOT_ASKED,), missing)
        if failures := [entry.failure or "" for entry in known if entry is not None and entry.translation is None]:
            return Resolved(None, "none", tuple(dict.fromkeys(failures)))
        results = [entry.translation for entry in known if entry is not None and entry.translation is not None]
        if len(parts) > 1 and (found := self._problems_of(parts, results)):
            return Resolved(None, "none", found)
        made = join(segment, results)
        found = self._problems_of([segment], [made])
        return Resolved(None, "none", found) if found else Resolved(made, method)

    def _entries(self, parts: Iterable[Segment]) -> dict[Segment, Entry]:
        keys = {part: self._direction.key(segment_to_json(part)) for part in parts}
        found = self._cache.get_many(set(keys.values()))
        return {part: found[key] for part, key in keys.items() if key in found}

    def _problems_of(self, segments: Sequence[Segment], made: Sequence[Segment]) -> tuple[str, ...]:
        found = (
            problem
            for segment, one in zip(segments, made, strict=True)
            for problem in problems(segment, one, self._source, self._target)
        )
        return tuple(dict.fromkeys(found))

    def _remember(self, found: dict[Segment, Resolved]) -> None:
        if len(self._remembered) + len(found) > REMEMBERED:
            self._remembered.clear()
        self._remembered |= {segment: what for segment, what in found.items() if not what.ask}


def _with_reasons(first: Resolved, second: Resolved) -> Resolved:
    """The second method's outcome; where it found nothing either, with the reasons of both."""
    if second.translation is not None:
        return second
    reasons = tuple(dict.fromkeys(first.reasons + (() if second.ask else second.reasons)))
    return Resolved(None, "none", reasons, second.ask)
