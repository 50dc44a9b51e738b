"""What people look at of a translation: the worst texts, a random sample, and counts over all of them.

Everything is told anew from the file that was translated, the cache and the file that was written, one record after
the other; kept in memory are the passages that are shown, never the data set. The same data, seed and numbers give
the same review: chance is a hash of seed and place, whatever the order of work.
"""

import hashlib
import heapq
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, zip_longest

from olhar.translation.exchange import Row
from olhar.translation.passages import RANKS, Passage, Rank
from olhar.translation.translated import Translated, passages_of

WORST = 300  # passages
SAMPLE = 100
KINDS = 50  # groups of one rank; further kinds are one group
OTHERS = "other findings"

Track = Callable[[Iterable[Passage]], Iterable[Passage]]


@dataclass(slots=True)
class Tally:
    """Counts over all texts. ``found``: texts with a finding, by severity, check and kind. ``policies``: for each
    partition its texts, those left in the source language, those with a remark."""

    texts: int = 0
    sentences: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    ranks: Counter[Rank] = field(default_factory=Counter)
    found: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    policies: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, passage: Passage) -> None:
        rank = passage.rank
        self.texts += 1
        self.ranks[rank] += 1
        self.sentences += sum(1 for line in passage.lines if line.key)
        self.methods.update(line.method for line in passage.lines)
        self.found.update({(remark.severity, remark.check, remark.kind) for remark in passage.remarks})
        policy = self.policies.setdefault(passage.policy, Counter())
        policy.update(texts=1, left=rank == "left", remarks=bool(passage.remarks))


@dataclass(frozen=True, slots=True)
class Review:
    """A translation as it is shown. ``worst`` in order; ``sample`` in the order of the file, drawn with ``seed`` from
    all texts of which something was translated; empty where ``worst`` holds every text."""

    translated: Translated
    tally: Tally
    worst: tuple[Passage, ...]
    sample: tuple[Passage, ...]
    seed: int


def review(
    translated: Translated, worst: int = WORST, sample: int = SAMPLE, seed: int = 0, track: Track = iter
) -> Review:
    """Look at the whole translation. ``track`` passes passages on and may show how far it is.

    Raises ``UserError`` where the files are not there or do not belong together.
    """
    tally, chosen = Tally(), _Worst(worst)
    drawn = _Smallest(sample)
    for passage in track(passages_of(translated)):
        tally.add(passage)
        chance = _chance(seed, passage)
        chosen.add(passage, chance)
        if any(line.key for line in passage.lines):
            drawn.add(passage, chance)
    all_shown = tally.texts <= worst
    return Review(translated, tally, chosen.taken(), () if all_shown else tuple(drawn.taken()), seed)


def rows_shown(review: Review) -> Iterator[Row]:
    """The sentences of the page, each once, in its order."""
    seen: set[str] = set()
    for passage in (*review.worst, *review.sample):
        for row in _rows(passage, review.translated):
            if row.key not in seen:
                seen.add(row.key)
                yield row


def all_rows(translated: Translated, track: Track = iter) -> Iterator[Row]:
    """Every sentence of the translation, each once, in the order of the file."""
    rows = (row for passage in track(passages_of(translated)) for row in _rows(passage, translated))
    with closing(sqlite3.connect("")) as seen:  # a file that SQLite makes and removes: keys do not fit in memory
        seen.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
        for row in rows:
            if seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (bytes.fromhex(row.key),)).rowcount:
                yield row


class _Smallest:
    """The passages with the smallest chance numbers, at most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int, Passage]] = []  # the largest number first; a count keeps passages apart
        self._count = 0

    def add(self, passage: Passage, chance: int) -> None:
        self._count += 1
        entry = (-chance, -self._count, passage)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif self._heap and entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def taken(self) -> list[Passage]:
        """In the order of the file."""
        return [passage for *_, passage in sorted(self._heap, key=lambda entry: -entry[1])]


class _Worst:
    """Some passages of each kind of each rank, so that a frequent kind does not hide a rare one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[Rank, dict[str, _Smallest]] = {rank: {} for rank in RANKS}

    def add(self, passage: Passage, chance: int) -> None:
        groups = self._groups[passage.rank]
        kind = passage.kind if passage.kind in groups or len(groups) < KINDS else OTHERS
        groups.setdefault(kind, _Smallest(self._most)).add(passage, chance)

    def taken(self) -> tuple[Passage, ...]:
        return tuple(islice(self._in_turns(), self._most))

    def _in_turns(self) -> Iterator[Passage]:
        for rank in RANKS:
            columns = [self._groups[rank][kind].taken() for kind in sorted(self._groups[rank])]
            for row in zip_longest(*columns):
                yield from (passage for passage in row if passage is not None)


def _chance(seed: int, passage: Passage) -> int:
    told = f"{seed}\n{passage.row}\n{passage.place}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest())


def _rows(passage: Passage, translated: Translated) -> Iterator[Row]:
    remarks = tuple(f"{remark.kind}: {remark.detail}".removesuffix(": ") for remark in passage.remarks)
    context = "".join(line.source_text for line in passage.lines)
    engine = f"{translated.engine.name} {translated.engine.version}"
    for line in passage.lines:
        if line.key:
            problems = (*line.reasons, *remarks)
            where = (context, passage.record, f"{passage.place}, {passage.role}", passage.policy, line.method)
            yield Row(line.key, line.segment, line.source_text, line.target_text, *where, problems, engine)
