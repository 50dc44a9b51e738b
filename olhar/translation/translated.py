"""A translated file opened again for review: its manifest, and its passages one after the other.

Nothing is asked of an engine: the file that was translated is taken apart anew, the cache says what became of each
sentence, and the file that was written says what it holds.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.store import digest_path, read_json
from olhar.core.types import Finding, Role, Sample, Severity, Turn
from olhar.languages import Language, language
from olhar.sources._json_rows import Row
from olhar.translation.cache import Cache, Direction
from olhar.translation.editing import LEFT, Editor, Flag, Taken
from olhar.translation.leaves import TURN_LISTS, BadRecord, LeafRole, record_id
from olhar.translation.leaves import Path as Place
from olhar.translation.passages import Line, Method, Passage, Remark, marked
from olhar.translation.policies import Policies, Policy
from olhar.translation.records import record_file
from olhar.translation.resolving import Resolved, Resolver
from olhar.translation.segments import Skeleton
from olhar.translation.skeletons import Answer
from olhar.translation.wording import segment_to_json
from olhar.translation.work import MANIFEST, beside
from olhar.translators import About, Segment

CHECKS = ("balance", "language", "length", "loops", "numbers", "spans", "untranslated")  # of a text and its original
NAME = "translation"  # who makes the remarks that are no check's
AT_ONCE = 200  # records
BEFORE = 200  # characters

_TURN = re.compile(r"\bturn (\d+)")
_SPEAKS: Mapping[LeafRole, Role] = {
    "question": "user",
    "answer": "assistant",
    "option": "assistant",
    "caption": "assistant",
    "system": "system",
}


@dataclass(frozen=True, slots=True)
class Translated:
    """What a translated file's manifest says. ``source_code``, ``target_code`` may name a variety (``pt-BR``)."""

    output: Path
    input: Path
    cache: Path
    engine: About
    direction: Direction
    keeps: bool
    policies: Policies
    provenance_key: str | None
    options: Mapping[str, Any]
    counts: Mapping[str, int]

    @property
    def source(self) -> Language:
        return language(self.direction.source.partition("-")[0])

    @property
    def target(self) -> Language:
        return language(self.direction.target.partition("-")[0])


def open_translated(output: Path) -> Translated:
    """The translated file at ``output``, by the manifest beside it.

    Raises ``UserError`` where there is none, or where the file that was translated, or the cache, is gone or changed.
    """
    manifest = read_json(beside(output, MANIFEST))
    translated = from_manifest(manifest, output)
    if not translated.input.exists() or digest_path(translated.input) != manifest["input_hash"]:
        raise UserError(
            "the file that was translated is gone or has changed",
            str(translated.input),
            "put it back, or translate it again",
        )
    if not translated.cache.exists():
        raise UserError("the cache is not there", str(translated.cache), "put it back where the manifest says")
    return translated


def from_manifest(manifest: Mapping[str, Any], output: Path) -> Translated:
    """What the manifest of a translated file says. Raises ``UserError`` where it says too little."""
    try:
        engine = {name: manifest["engine"][name] for name in About.__slots__}
        return Translated(
            output,
            Path(manifest["input"]),
            Path(manifest["cache"]),
            About(**engine),
            Direction(**manifest["direction"]),
            manifest["keeps"],
            Policies(**manifest["policies"]),
            manifest["provenance_key"],
            manifest["options"],
            manifest["counts"],
        )
    except (KeyError, TypeError, ValueError) as error:
        fix = "translate the file again with this olhar: what was translated is in the cache and costs nothing again"
        raise UserError(f"the manifest is of another version of olhar ({error})", str(output), fix) from error


def passages_of(translated: Translated) -> Iterator[Passage]:
    """Every text of the file in its order, and every record that could not be read as one."""
    written = iter(record_file(translated.output))
    rows = iter(record_file(translated.input))
    with closing(Cache(translated.cache)) as cache:
        reader = _Reader(translated, cache)
        while some := list(islice(rows, AT_ONCE)):
            yield from reader.passages(some, written)
    if next(written, None) is not None:
        raise _strangers(translated)


class _Reader:
    """Turns records and what was written of them into passages."""

    def __init__(self, translated: Translated, cache: Cache) -> None:
        self._translated = translated
        self._source, self._target = translated.source, translated.target
        direction = translated.direction
        self._editor = Editor(self._source, self._target, direction, translated.policies, translated.provenance_key)
        self._resolver = Resolver(cache, direction, translated.keeps, self._source, self._target)
        modules = [choose("checks", name) for name in CHECKS]
        self._checks = [module.start() if hasattr(module, "start") else module.check for module in modules]

    def passages(self, rows: list[Row], written: Iterator[Row]) -> Iterator[Passage]:
        taken = [self._taken(row) for row in rows]
        found = self._resolver.many(segment for one in taken if isinstance(one, Taken) for segment in one.segments())
        for row, one in zip(rows, taken, strict=True):
            if isinstance(one, Passage):
                if row.problem is None:
                    self._next(written)
                yield one
            elif one.policy.skip != "omit":
                yield from self._of_record(one, found, self._next(written))

    def _taken(self, row: Row) -> Taken | Passage:
        """The record taken apart, or the passage that says why it cannot be."""
        try:
            if row.problem is not None:
                raise BadRecord(row.problem)
            return self._editor.taken(row)
        except BadRecord as bad:
            kind, _, detail = str(bad).partition(": ")
            remark = Remark("error", NAME, kind, detail)
            return Passage(row.number, _name(row.value, row.number), "record", "", "", (), (remark,), left=True)

    def _next(self, written: Iterator[Row]) -> Any:
        row = next(written, None)
        if row is None or row.problem is not None:
            raise _strangers(self._translated)
        return row.value

    def _of_record(self, taken: Taken, found: Mapping[Segment, Resolved], record: Any) -> Iterator[Passage]:
        name = _name(taken.record, taken.row)
        flags: dict[Place | None, list[Flag]] = defaultdict(list)
        for flag in self._editor.restored(taken, found, Counter()):
            flags[flag.place].append(flag)
        try:
            now = [str(_at(record, leaf.path)) for leaf, _ in taken.texts]
        except (KeyError, IndexError, TypeError) as error:
            raise _strangers(self._translated) from error
        remarks = self._checked(taken, now)
        before = ""
        for index, ((leaf, skeleton), text) in enumerate(zip(taken.texts, now, strict=True)):
            about = flags[leaf.path]
            yield Passage(
                row=taken.row,
                record=name,
                place=_told(leaf.path),
                role=leaf.role,
                policy=taken.partition,
                lines=tuple(_lines(skeleton, found, self._translated.direction, taken.policy)),
                remarks=(*_unique(_remarks(about)), *remarks[index]),
                before=before,
                left=any(flag.key is None and flag.outcome == LEFT for flag in about),
                stale=text != _at(taken.record, leaf.path),
            )
            before = _beginning(leaf.text)
        for place in taken.flags:
            told = _told(place.place) if place.place else "record"
            yield Passage(taken.row, name, told, "", taken.partition, (), tuple(_remarks([place])), left=True)

    def _checked(self, taken: Taken, now: list[str]) -> list[list[Remark]]:
        """What the checks say of each text as it stands in the file."""
        roles = [_SPEAKS[leaf.role] for leaf, _ in taken.texts]
        sample = _sample(self._target, roles, now, {"translation": {"answers": taken.policy.answers}})
        parent = _sample(self._source, roles, [leaf.text for leaf, _ in taken.texts], {})
        remarks: list[list[Remark]] = [[] for _ in now]
        if now:
            for check in self._checks:
                for finding in check(sample, parent, self._target):
                    index, remark = _remark(finding)
                    remarks[index].append(remark)
        return remarks


def _lines(
    skeleton: Skeleton, found: Mapping[Segment, Resolved], direction: Direction, policy: Policy
) -> Iterator[Line]:
    terms = {term.casefold() for term in policy.glossary}
    for part in skeleton.parts:
        if isinstance(part, str):
            if shown := part.strip():
                yield Line((("kept", shown),), (("kept", shown),), "untouched")
        elif isinstance(part, Answer):
            method: Method = "glossary" if part.source.strip(" .").casefold() in terms else "table"
            yield Line((("text", part.source),), (("text", part.target),), method)
        else:
            for segment in part.segments:
                text, what = segment_to_json(segment), found[segment]
                sides = marked(segment, what.translation)
                yield Line(*sides, what.method, direction.correction_key(text).hex(), text, what.reasons)


def _remarks(flags: Iterable[Flag]) -> Iterator[Remark]:
    """What was flagged when the file was translated; the details of a sentence stand beside it."""
    for flag in flags:
        for reason in flag.reasons:
            kind, _, detail = reason.partition(": ")
            severity: Severity = "error" if flag.outcome == LEFT else "warning"
            yield Remark(severity, NAME, kind, "" if flag.key else detail)


def _unique(remarks: Iterable[Remark]) -> Iterator[Remark]:
    return iter(dict.fromkeys(remarks))


def _remark(finding: Finding) -> tuple[int, Remark]:
    """The text that a finding is about, by its number from 0, and what it says."""
    named = _TURN.search(finding.message)
    kind, _, detail = _TURN.sub("this text", finding.message).partition(": ")
    return int(named[1]) - 1 if named else 0, Remark(finding.severity, finding.check, kind, detail)


def _sample(spoken: Language, roles: list[Role], texts: list[str], meta: Mapping[str, Any]) -> Sample:
    turns = tuple(Turn(role, (text,)) for role, text in zip(roles, texts, strict=True))
    return Sample("", spoken.code, turns, meta=meta)


def _told(path: Place) -> str:
    """For a person, who counts from 1: ``turn 2``, ``answers 3``, ``options B``."""
    first, *rest = path
    steps = [str(step + 1) if isinstance(step, int) else step for step in rest]
    if first in TURN_LISTS:
        part = [step for step in steps[2:] if step != "text"]
        return f"turn {steps[0]}" + (f", part {part[0]}" if part else "")
    return " ".join((str(first), *steps))


def _at(record: Any, path: Place) -> Any:
    for key in path:
        record = record[key]
    return record


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= BEFORE else text[:BEFORE] + " …"


def _name(record: Any, row: int) -> str:
    name = record_id(record)
    return f"row {row}" if name is None else str(name)


def _strangers(translated: Translated) -> UserError:
    return UserError(
        "this file does not hold the records of the one that was translated",
        str(translated.output),
        "translate again: what was translated is in the cache and costs nothing again",
    )
