"""What engines and people have translated, kept for ever: one SQLite file that every run reads first.

A row is found by the hash of engine, version, direction and segment. What people corrected lives in a
table of its own, found by direction and segment alone: it outlives a change of engine and always wins. Nothing
that was paid for is ever deleted; a file that is damaged or of another version is refused, not replaced.
One process writes, one commit a batch: what was committed survives a kill at any moment.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from olhar.core.errors import DiskError, UserError
from olhar.translation.wording import segment_from_json, segment_to_json
from olhar.translators import Segment

APPLICATION = 0x6F6C6861  # "olha", in the header of the file
VERSION = 1
WAIT = 60.0  # seconds for another process's commit
AT_ONCE = 500  # keys of one question
_TABLES = """
CREATE TABLE directions (
    id INTEGER PRIMARY KEY, engine TEXT, version TEXT, licence TEXT, source TEXT, target TEXT,
    UNIQUE (engine, version, source, target));
CREATE TABLE translations (
    key BLOB PRIMARY KEY, direction INTEGER, segment TEXT, translation TEXT, failure TEXT) WITHOUT ROWID;
CREATE TABLE corrections (
    key BLOB PRIMARY KEY, translation TEXT, author TEXT, made TEXT, note TEXT,
    source TEXT, target TEXT, segment TEXT) WITHOUT ROWID;
CREATE TABLE spending (
    job TEXT PRIMARY KEY, calls INTEGER, characters INTEGER, money REAL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Direction:
    """What a translation depends on beside its segment; the licence is told, not hashed.

    Options of an engine that change its words are part of its version; the others (a price, threads) are not.
    """

    engine: str
    version: str
    licence: str
    source: str
    target: str

    def key(self, segment: str) -> bytes:
        """The key of a segment given as JSON text."""
        return _hash(f"{_beginning(self.engine, self.version, self.source, self.target)},{segment}]")

    def correction_key(self, segment: str) -> bytes:
        return correction_key(self.source, self.target, segment)


def correction_key(source: str, target: str, segment: str) -> bytes:
    """The key under which people's corrections of a segment are kept, whatever engine it was."""
    return _hash(f"{_beginning(source, target)},{segment}]")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the cache knows of a segment: its translation, or why there is none."""

    translation: Segment | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person wrote for a segment. ``key``: ``correction_key``; languages and segment (JSON text) may be
    unknown where the correction came back under its key alone."""

    key: bytes
    translation: Segment
    who: str = ""
    when: str = ""
    note: str = ""
    source: str | None = None
    target: str | None = None
    segment: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls have cost: how many, the characters sent, money in the engine's currency."""

    calls: int = 0
    characters: int = 0
    money: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.calls + other.calls, self.characters + other.characters, self.money + other.money)


class Cache:
    """An open cache. ``paid``: whether every commit waits for the disk, so that not even a power cut costs money.

    Raises ``UserError`` for a file that is not a cache, is damaged or of another version.
    """

    def __init__(self, path: Path, paid: bool = False) -> None:
        self.path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
            self._prepare()
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if paid else 'NORMAL'}")
            self._db.execute("PRAGMA cache_size = -65536")  # KiB
        self._numbers: dict[Direction, int] = {}

    def close(self) -> None:
        self._db.close()

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Entry]:
        """What is known of these keys, translated or failed."""
        found = self._lookup("SELECT key, translation, failure FROM translations", keys)
        return {key: Entry(segment_from_json(text) if text is not None else None, why) for key, text, why in found}

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Which of these keys are there."""
        return {row[0] for row in self._lookup("SELECT key FROM translations", keys)}

    def corrections(self, keys: Iterable[bytes]) -> dict[bytes, Segment]:
        """What people made of these segments, by ``correction_key``."""
        found = self._lookup("SELECT key, translation FROM corrections", keys)
        return {key: segment_from_json(text) for key, text in found}

    def put_many(
        self, direction: Direction, rows: Sequence[tuple[str, Entry]], job: str = "", spent: Spent | None = None
    ) -> None:
        """Commit a batch: segments as JSON text with what came of them, and what the calls cost."""
        number = self._number(direction)
        values = [(direction.key(text), number, text, *_columns(entry)) for text, entry in rows]
        with self._told(), self._commit():
            # what a segment once became stays: two processes may have asked for it at the same time
            insert = (  # but a refusal gives way to a translation
                "INSERT INTO translations VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
                " SET translation = excluded.translation, failure = NULL"
                " WHERE translation IS NULL AND excluded.translation IS NOT NULL"
            )
            self._db.executemany(insert, values)
            if spent is not None:
                add = (
                    "INSERT INTO spending VALUES (?, ?, ?, ?) ON CONFLICT (job) DO UPDATE SET calls = calls +"
                    " excluded.calls, characters = characters + excluded.characters, money = money + excluded.money"
                )
                self._db.execute(add, (job, spent.calls, spent.characters, spent.money))

    def forget_failures(self, direction: Direction) -> int:
        """Delete the rows that hold no translation, so that these segments are tried again; how many."""
        number = self._number(direction)
        with self._told():
            statement = "DELETE FROM translations WHERE direction = ? AND translation IS NULL"
            return self._db.execute(statement, (number,)).rowcount

    def spent(self, job: str) -> Spent:
        """What all calls of a job have cost so far, in all its runs."""
        with self._told():
            row = self._db.execute("SELECT calls, characters, money FROM spending WHERE job = ?", (job,)).fetchone()
        return Spent(*row) if row else Spent()

    def correct(self, rows: Iterable[Correction]) -> int:
        """Keep what people wrote, over what they wrote before: all rows or none. How many."""
        count = 0
        with self._told(), self._commit():
            for row in rows:
                values = (row.key, segment_to_json(row.translation), row.who, row.when, row.note)
                about = (row.source, row.target, row.segment)
                self._db.execute("INSERT OR REPLACE INTO corrections VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values + about)
                count += 1
        return count

    def entries(self) -> Iterator[tuple[Direction, str, Entry]]:
        """Everything engines made, in the order of direction and segment."""
        query = (
            "SELECT engine, version, licence, source, target, segment, translation, failure"
            " FROM translations JOIN directions ON directions.id = direction"
            " ORDER BY engine, version, source, target, segment"
        )
        with self._told():
            for row in self._db.execute(query):
                text, failure = row[6:]
                yield Direction(*row[:5]), row[5], Entry(segment_from_json(text) if text is not None else None, failure)

    def all_corrections(self) -> Iterator[Correction]:
        """Everything people made, in the order of languages and segment."""
        query = (
            "SELECT key, translation, author, made, note, source, target, segment FROM corrections"
            " ORDER BY source, target, segment, key"
        )
        with self._told():
            for key, text, *rest in self._db.execute(query):
                yield Correction(key, segment_from_json(text), *rest)

    @property
    def corrected(self) -> bool:
        """Whether there are corrections at all."""
        with self._told():
            return self._db.execute("SELECT 1 FROM corrections LIMIT 1").fetchone() is not None

    def _prepare(self) -> None:
        """Make the tables of a new file; refuse a file that is something else."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and application == 0:
            self._db.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION};"
                f" PRAGMA user_version = {VERSION}; COMMIT;"
            )
        elif application != APPLICATION:
            raise UserError("this file is no translation cache", str(self.path), "name another file as the cache")
        elif version != VERSION:
            raise UserError(
                f"this cache has format {version}; this olhar reads format {VERSION}",
                str(self.path),
                "use the olhar that wrote it, or name another file as the cache; nothing was changed in it",
            )

    def _number(self, direction: Direction) -> int:
        if direction not in self._numbers:
            values = asdict(direction)
            with self._told():
                names = ", ".join(values)
                marks = ", ".join("?" * len(values))
                given = tuple(values.values())
                self._db.execute(f"INSERT OR IGNORE INTO directions ({names}) VALUES ({marks})", given)
                unique = [name for name in values if name != "licence"]
                condition = " AND ".join(f"{name} = ?" for name in unique)
                query = f"SELECT id FROM directions WHERE {condition}"
                (number,) = self._db.execute(query, [values[name] for name in unique]).fetchone()
            self._numbers[direction] = number
        return self._numbers[direction]

    def _lookup(self, select: str, keys: Iterable[bytes]) -> Iterator[tuple]:
        wanted = list(keys)
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            with self._told():
                yield from self._db.execute(f"{select} WHERE key IN ({', '.join('?' * len(some))})", some)

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        with database_errors(self.path):
            yield


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's refusals into errors for people: a full disk, a locked file, a damaged one."""
    try:
        yield
    except sqlite3.OperationalError as error:
        keep = "free space or permission there, or wait for the other process; what was committed is kept"
        raise DiskError(f"the database cannot be used: {error}", str(path), keep) from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"this file is no cache, or is damaged: {error}",
            str(path),
            f"take it from a backup, or rescue its rows with `sqlite3 {path.name} .recover`; it was not changed",
        ) from error


def _columns(entry: Entry) -> tuple[str | None, str | None]:
    return (segment_to_json(entry.translation) if entry.translation is not None else None), entry.failure


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


@cache
def _beginning(*fields: str) -> str:
    """The JSON array of these fields, open for the segment."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1]
