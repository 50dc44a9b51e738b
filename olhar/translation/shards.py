"""Answers as files: what an engine gave for one shard of the segments, written whole and named by what was asked.

A shard file is JSON lines: a head with the direction and what the calls cost, a line ``[segment, translation,
failure]`` for every segment that was settled, and at last the hash of all bytes before. The same question has the
same name on every machine. Files may be copied, come in any order and come twice: a cache takes each in once.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from olhar.core.errors import UserError
from olhar.core.store import disk_errors, writing
from olhar.translation.cache import Cache, Direction, Entry, Spent
from olhar.translation.calls import Answered, Caller, batches
from olhar.translation.pace import Pace, Purse
from olhar.translation.passes import Settings
from olhar.translation.wording import segment_from_value, segment_to_json
from olhar.translators import Failure, Limits, Segment, Translator

FOLDER = ".shards"  # behind the output's name
ENDING = ".shard.jsonl"
FORM = 1
SEGMENTS, CHARACTERS = 1000, 100_000  # of a shard at most: what a lost worker costs
_TAKEN = Spent(calls=1)  # in the ledger of costs: this file's answers and costs are in the cache

Rows = tuple[tuple[str, Entry], ...]
"""Segments as JSON text, and what came of each."""


@dataclass(frozen=True, slots=True)
class Shard:
    """What came of the segments of one shard. ``name``: the hash of what was asked. ``spent``: by the calls for it."""

    name: str
    direction: Direction
    rows: Rows
    spent: Spent = field(default_factory=Spent)

    @property
    def file(self) -> str:
        return self.name + ENDING

    def to_text(self) -> str:
        """The whole file."""
        head = {"form": FORM, "direction": asdict(self.direction), "spent": asdict(self.spent)}
        text = json.dumps(head, ensure_ascii=False) + "\n" + "".join(map(_line, self.rows))
        return f"{text}{json.dumps({'sha256': _sha256(text)})}\n"

    def write(self, folder: Path) -> None:
        with writing(folder / self.file) as handle, disk_errors(folder / self.file):
            handle.write(self.to_text())


@dataclass(frozen=True, slots=True)
class Absorbed:
    """How many shard files were taken in, were taken in before, and belong to another engine or direction."""

    new: int = 0
    known: int = 0
    foreign: int = 0


def cut(segments: Iterable[Segment], size: int | None = None) -> Iterator[list[Segment]]:
    """Segments in shards, neighbours together; ``size`` may ask for smaller ones."""
    return batches(segments, Limits(SEGMENTS, CHARACTERS), size)


def name_of(direction: Direction, segments: Iterable[Segment]) -> str:
    """The name of the shard in which these are asked for."""
    hashed = hashlib.sha256()
    for segment in segments:
        hashed.update(direction.key(segment_to_json(segment)))
    return hashed.hexdigest()[:32]


def settled(answered: Answered) -> Iterator[tuple[str, Entry]]:
    """What is known for good of a batch: translations, and failures that do not pass."""
    for segment, result in zip(answered.segments, answered.results, strict=True):
        if isinstance(result, Failure):
            if not result.passing:
                yield segment_to_json(segment), Entry(None, result.reason)
        elif result is not None:
            yield segment_to_json(segment), Entry(result)


def caller_of_one(translator: Translator, settings: Settings, of: int, purse: Purse) -> Caller:
    """What asks the engine for one shard on behalf of one of ``of`` workers, at its part of the rate."""
    rate = translator.limits.calls_per_minute
    pace = Pace(rate / of if rate else None, settings.patience)
    return Caller(translator, settings.patience, purse, settings.workers, pace)


def from_text(name: str, text: str, where: str) -> Shard:
    """The shard that ``to_text`` wrote. Raises ``UserError``, naming ``where``, for one that is cut off or damaged."""
    try:
        head, *lines, last, _ = text.split("\n")  # no newline stands inside JSON text; other line ends may
        if json.loads(last)["sha256"] != _sha256("\n".join([head, *lines, ""])):
            raise ValueError("the hash of its bytes is another")
        told = json.loads(head)
        if told["form"] != FORM:
            raise ValueError(f"its form is {told['form']}, this olhar reads form {FORM}")
        rows = tuple(_row(json.loads(line)) for line in lines)
        return Shard(name, Direction(**told["direction"]), rows, Spent(**told["spent"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"this shard file cannot be used: {error}",
            where,
            "copy it once more, or remove it: what it held is asked for again",
        ) from error


def read(path: Path) -> Shard:
    """The shard in a file. Raises ``UserError``."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fix = "copy it once more, or remove it: what it held is asked for again"
        raise UserError(f"this shard file cannot be read: {error}", str(path), fix) from error
    return from_text(path.name.removesuffix(ENDING), text, str(path))


def take(cache: Cache, job: str, shard: Shard) -> Spent:
    """Commit a shard's answers; what it cost, as far as the ledger did not know it."""
    spent = Spent() if _is_taken(cache, shard.name) else shard.spent
    cache.put_many(shard.direction, shard.rows, job, spent)
    # after its answers: a kill between the two counts a cost twice, and loses nothing
    cache.put_many(shard.direction, (), _mark(shard.name), _TAKEN)
    return spent


def absorb(folder: Path, cache: Cache, job: str, direction: Direction, failures: bool = True) -> Absorbed:
    """Take in every shard file of a folder that the cache does not hold; of two answers for a segment a translation
    wins over a failure, then the file whose name comes first.

    failures: False to have what engines refused asked for again. Raises ``UserError`` for a damaged file.
    """
    new = known = foreign = 0
    late: list[tuple[str, Entry]] = []
    for path in sorted(folder.glob("*" + ENDING)):
        if _is_taken(cache, path.name.removesuffix(ENDING)):
            known += 1
            continue
        shard = read(path)
        if shard.direction.key("") != direction.key(""):
            foreign += 1
            continue
        new += 1
        translated = tuple(row for row in shard.rows if row[1].translation is not None)
        late += [row for row in shard.rows if row[1].translation is None]
        take(cache, job, Shard(shard.name, direction, translated, shard.spent))
    if failures and late:
        cache.put_many(direction, late)
    return Absorbed(new, known, foreign)


def _mark(name: str) -> str:
    return f"shard {name}"


def _is_taken(cache: Cache, name: str) -> bool:
    return cache.spent(_mark(name)).calls > 0


def _line(row: tuple[str, Entry]) -> str:
    segment, entry = row
    translation = "null" if entry.translation is None else segment_to_json(entry.translation)
    return f"[{segment},{translation},{json.dumps(entry.failure, ensure_ascii=False)}]\n"


def _row(value: Sequence[Any]) -> tuple[str, Entry]:
    segment, translation, failure = value
    made = None if translation is None else segment_from_value(translation)
    return segment_to_json(segment_from_value(segment)), Entry(made, failure)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
