"""The segments that a file needs, each once, on disk beside the output while work goes on.

Millions of segments do not fit in memory; here they are deduplicated and sorted (by length, then text) by the
table's own order. The file holds nothing that cannot be made again: it is emptied at the start and removed at the end.
"""

import fcntl
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from olhar.core.errors import UserError
from olhar.core.store import PARTIAL, disk_errors
from olhar.translation.cache import database_errors
from olhar.translation.wording import characters, segment_from_json, segment_to_json
from olhar.translators import Segment

CHUNK = 1000  # segments in memory at a time
AT_ONCE = 5000  # segments of one insertion
_TABLES = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; PRAGMA temp_store = FILE;
CREATE TABLE wanted (length INTEGER, segment TEXT, PRIMARY KEY (length, segment)) WITHOUT ROWID;
CREATE TABLE asked (length INTEGER, segment TEXT, PRIMARY KEY (length, segment)) WITHOUT ROWID;
CREATE TABLE unsettled (segment TEXT PRIMARY KEY, reason TEXT) WITHOUT ROWID;
"""


class Wanted:
    """The segments wanted by texts, and those of them to ask an engine for. One process at a time has it.

    Raises ``UserError`` while another process works on the same output.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(f"{output.name}.wanted{PARTIAL}")
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path, "ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # dies with its process; SQLite uses other locks
        except BlockingIOError as error:
            self._lock.close()
            raise UserError(
                "another olhar is writing this output", str(output), "wait for it, or stop it first"
            ) from error
        self._lock.truncate(0)  # what a killed process left
        with database_errors(self.path):
            self._db = sqlite3.connect(self.path, isolation_level=None)
            self._db.executescript(_TABLES)
            self._db.execute("BEGIN")  # never committed to disk as such: without a journal it is written as it grows
        self._pending: list[tuple[int, str]] = []

    def close(self) -> None:
        """Remove the file."""
        self._db.close()
        self.path.unlink(missing_ok=True)
        self._lock.close()

    def want(self, segments: Iterable[Segment]) -> None:
        """Note that a text needs these."""
        self._pending += ((characters(segment), segment_to_json(segment)) for segment in segments)
        if len(self._pending) >= AT_ONCE:
            self._flush()

    def count(self) -> int:
        self._flush()
        with database_errors(self.path):
            return int(self._db.execute("SELECT count(*) FROM wanted").fetchone()[0])

    def chunks(self) -> Iterator[list[Segment]]:
        """All wanted segments in their canonical order, some at a time."""
        self._flush()
        return self._chunks("wanted")

    def ask(self, segments: Iterable[Segment]) -> None:
        """Note that an engine must be asked for these."""
        rows = [(characters(segment), segment_to_json(segment)) for segment in segments]
        with database_errors(self.path):
            self._db.executemany("INSERT OR IGNORE INTO asked VALUES (?, ?)", rows)

    def nothing_asked(self) -> None:
        with database_errors(self.path):
            self._db.execute("DELETE FROM asked")

    def asked(self) -> Iterator[Segment]:
        """What an engine must be asked for, in the canonical order."""
        return (segment for chunk in self._chunks("asked") for segment in chunk)

    def asked_count(self) -> tuple[int, int]:
        """How many segments and characters an engine must be asked for."""
        with database_errors(self.path):
            count, length = self._db.execute("SELECT count(*), coalesce(sum(length), 0) FROM asked").fetchone()
        return int(count), int(length)

    def leave_unsettled(self, rows: Iterable[tuple[Segment, str]]) -> None:
        """Note why these could not be translated this time."""
        values = [(segment_to_json(segment), reason) for segment, reason in rows]
        with database_errors(self.path):
            self._db.executemany("INSERT OR REPLACE INTO unsettled VALUES (?, ?)", values)

    def all_settled(self) -> None:
        """Before they are asked for once more."""
        with database_errors(self.path):
            self._db.execute("DELETE FROM unsettled")

    def unsettled_count(self) -> int:
        with database_errors(self.path):
            return int(self._db.execute("SELECT count(*) FROM unsettled").fetchone()[0])

    def reason(self, segment: Segment) -> str | None:
        """Why a segment could not be translated this time, if that is so."""
        with database_errors(self.path):
            query = "SELECT reason FROM unsettled WHERE segment = ?"
            row = self._db.execute(query, (segment_to_json(segment),)).fetchone()
        return row[0] if row else None

    def _chunks(self, table: str) -> Iterator[list[Segment]]:
        last: tuple[int, str] = (-1, "")
        query = f"SELECT length, segment FROM {table} WHERE (length, segment) > (?, ?) ORDER BY length, segment"
        while True:  # a fresh question each time: no cursor stays open while the table is written
            with database_errors(self.path):
                rows = list(islice(self._db.execute(query, last), CHUNK))
            if not rows:
                return
            last = rows[-1]
            yield [segment_from_json(text) for _, text in rows]

    def _flush(self) -> None:
        with database_errors(self.path):
            self._db.executemany("INSERT OR IGNORE INTO wanted VALUES (?, ?)", sorted(self._pending))
        self._pending = []
