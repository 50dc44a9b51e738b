"""One record: its texts taken apart, and the record again with their translations in place."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from olhar.languages import Language
from olhar.sources._json_rows import Row
from olhar.translation.cache import Direction
from olhar.translation.invariants import text_problems
from olhar.translation.leaves import BadRecord, Leaf, leaves_of, put_back, record_id
from olhar.translation.policies import Policies, Policy
from olhar.translation.resolving import Resolved
from olhar.translation.segments import Skeleton, taken_apart
from olhar.translation.wording import segment_to_json
from olhar.translators import Kept, Segment

LEFT = "left in the source language"
LEFT_OUT = "left out"
TRANSLATED = "translated"
REMEMBERED = 20_000  # texts whose skeleton is kept in memory: questions that come again and again
META = "translation"  # the key of a sample's meta that holds provenance


@dataclass(frozen=True, slots=True)
class Flag:
    """Something about a record for people to look at, and what became of it.

    row: its number in the file. record: its id. place: the path of the text; None for the whole record. key: what a
    correction of the segment is stored under; None where not a segment is meant.
    """

    row: int
    record: str | int | None
    outcome: str
    reasons: tuple[str, ...]
    place: tuple[str | int, ...] | None = None
    role: str | None = None
    partition: str | None = None
    source: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A record taken apart: its texts with what stays of each."""

    row: int
    record: Any
    shape: str
    partition: str
    policy: Policy
    texts: tuple[tuple[Leaf, Skeleton], ...]
    flags: tuple[Flag, ...] = ()

    def segments(self) -> Iterator[Segment]:
        return (segment for _, skeleton in self.texts for segment in skeleton.segments)


@dataclass(slots=True)
class Editor:
    """Takes records apart and puts them together. ``provenance_key``: where a foreign record gets its provenance;
    None leaves it without."""

    source: Language
    target: Language
    direction: Direction
    policies: Policies
    provenance_key: str | None = None
    _skeletons: dict[tuple[str, str, bool], Skeleton] = field(default_factory=dict)

    def taken(self, row: Row) -> Taken:
        """The record of a readable row, taken apart. Raises ``BadRecord``."""
        record = row.value
        found = leaves_of(record)
        if found.shape == "sample" and record["language"] != self.source.code:
            raise BadRecord(f"another language: the record is in {record['language']!r}, not {self.source.code!r}")
        if self.provenance_key is not None and self.provenance_key in record:
            raise BadRecord(f"provenance has no place: the record has a key {self.provenance_key!r} already")
        partition, policy = self._policy(record, found.shape)
        name = record_id(record)
        flags = tuple(
            Flag(row.number, name, LEFT, ("unread: text in an unknown form",), place, None, partition)
            for place in found.unread
        )
        if policy.skip != "no":
            return Taken(row.number, record, found.shape, partition, policy, (), flags)
        texts = tuple((leaf, self._skeleton(leaf, partition, policy)) for leaf in found.leaves)
        return Taken(row.number, record, found.shape, partition, policy, texts, flags)

    def restored(self, taken: Taken, resolved: Mapping[Segment, Resolved], counts: Counter[str]) -> Iterator[Flag]:
        """Put the translations into the record and yield what people should look at."""
        yield from taken.flags
        texts = {}
        for leaf, skeleton in taken.texts:
            flags = list(self._segment_flags(taken, leaf, skeleton, resolved))
            made = skeleton.put_together([resolved[segment].translation for segment in skeleton.segments]).text
            problems = text_problems(leaf.text, made, self.source, self.target, taken.policy)
            errors = [problem for problem in problems if problem.severity == "error"]
            if problems:
                reasons = tuple(f"{problem.kind}: {problem.detail}" for problem in problems)
                flags.append(self._flag(taken, leaf, LEFT if errors else TRANSLATED, reasons, leaf.text))
            counts["texts left in the source language"] += bool(errors)
            if not errors:
                texts[leaf.path] = made
            yield from flags
        put_back(taken.record, texts)
        if taken.texts:
            self._say_provenance(taken)

    def _policy(self, record: Mapping[str, Any], shape: str) -> tuple[str, Policy]:
        """The record's partition and its policy; of olhar's own rows the data set's name is the partition."""
        if shape == "sample" and self.policies.key is None:
            name = record.get("source", "")
            return name, self.policies.partitions.get(name, self.policies.default)
        return self.policies.of(record)

    def _skeleton(self, leaf: Leaf, partition: str, policy: Policy) -> Skeleton:
        answer = leaf.role in ("answer", "option")  # an option that is kept must stay equal to the answer
        key = (leaf.text, partition, answer)
        if key not in self._skeletons:
            if len(self._skeletons) >= REMEMBERED:
                self._skeletons.clear()
            self._skeletons[key] = taken_apart(leaf.text, self.source, self.target, policy, answer)
        return self._skeletons[key]

    def _segment_flags(
        self, taken: Taken, leaf: Leaf, skeleton: Skeleton, resolved: Mapping[Segment, Resolved]
    ) -> Iterator[Flag]:
        for segment in skeleton.segments:
            what = resolved[segment]
            if what.reasons:
                key = self.direction.correction_key(segment_to_json(segment)).hex()
                outcome = LEFT if what.translation is None else TRANSLATED
                yield self._flag(taken, leaf, outcome, what.reasons, plain(segment), key)

    def _flag(
        self, taken: Taken, leaf: Leaf, outcome: str, reasons: tuple[str, ...], source: str, key: str | None = None
    ) -> Flag:
        name = record_id(taken.record)
        return Flag(taken.row, name, outcome, reasons, leaf.path, leaf.role, taken.partition, source, key)

    def _say_provenance(self, taken: Taken) -> None:
        record = taken.record
        if taken.shape == "sample":
            record["language"] = self.target.code
            record.setdefault("parent", record["id"])
            record["meta"] = {**record.get("meta", {}), META: self._provenance(taken)}
        if self.provenance_key is not None:
            record[self.provenance_key] = self._provenance(taken)

    def _provenance(self, taken: Taken) -> dict[str, Any]:
        """What the record's own provenance says: who translated it, and under which policy."""
        made_by = self.direction
        return {
            "engine": made_by.engine,
            "version": made_by.version,
            "licence": made_by.licence,
            "source": made_by.source,
            "target": made_by.target,
            "partition": taken.partition,
            "answers": taken.policy.answers,
            "policy": taken.policy.model_dump(mode="json"),
        }


def plain(segment: Segment) -> str:
    """The segment as it reads, kept spans among the rest."""
    return "".join(part.text if isinstance(part, Kept) else part for part in segment)
