"""Records of a file, one at a time, and back in the same form: JSON array, JSON lines, parquet.

No record passes through a table or a type inference: an id that was a string stays one. A row that cannot be read
is a ``Row`` with a problem, which tells its number and byte.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from olhar.core.errors import UserError
from olhar.core.store import disk_errors, writing
from olhar.sources._json_rows import Row, rows
from olhar.translation import _parquet
from olhar.translation.layouts import Layout, layout_of


class Sink(Protocol):
    """Where records go, one after the other."""

    def write(self, record: Any) -> None: ...

    def close(self) -> None: ...


class RecordFile(Protocol):
    """A file of records that can be read as often as is needed."""

    @property
    def path(self) -> Path: ...

    def __iter__(self) -> Iterator[Row]: ...

    def sink(self, put: Callable[[bytes], None]) -> Sink:
        """What writes records in this file's form, handing bytes to ``put``."""
        ...


def record_file(path: Path) -> RecordFile:
    """The file of records at ``path``, recognised by its first bytes. Raises ``UserError`` where there is none."""
    if path.is_dir():
        raise UserError("this is a folder, not a file of records", str(path), "name one file of it")
    if not path.exists():
        raise UserError("there is no such file of records", str(path), "check the path")
    with path.open("rb") as file:
        parquet = file.read(len(_parquet.MAGIC)) == _parquet.MAGIC
    return _parquet.ParquetFile(path) if parquet else JsonFile(path)


@dataclass(frozen=True, slots=True)
class JsonFile:
    """An array of records, or one record a line."""

    path: Path

    def __iter__(self) -> Iterator[Row]:
        return rows(self.path)

    def sink(self, put: Callable[[bytes], None]) -> Sink:
        return _JsonSink(layout_of(self.path), put)


class _JsonSink:
    def __init__(self, layout: Layout, put: Callable[[bytes], None]) -> None:
        self._layout, self._put = layout, put
        self._next = layout.before

    def write(self, record: Any) -> None:
        self._put((self._next + self._layout.text(record)).encode("utf-8"))
        self._next = self._layout.between

    def close(self) -> None:
        """An array closes with the blanks that stood before its bracket; a file without records has its own."""
        none_written = self._next == self._layout.before
        self._put(((self._layout.before if none_written else "") + self._layout.after).encode("utf-8"))


class RecordWriter:
    """Records on their way to a file, and the hash of what was written so far."""

    def __init__(self, sink: Sink, path: Path, hashed: "hashlib._Hash") -> None:
        self._sink, self._path, self._hashed = sink, path, hashed
        self.count = 0

    def write(self, record: Any) -> None:
        with disk_errors(self._path):
            self._sink.write(record)
        self.count += 1

    def finish(self) -> str:
        """Write what ends the file; the sha256 of all its bytes."""
        with disk_errors(self._path):
            self._sink.close()
        return self._hashed.hexdigest()


@contextmanager
def writing_like(given: RecordFile, path: Path) -> Iterator[RecordWriter]:
    """``with writing_like(given, path) as out``: records go to ``path`` in the form of ``given``; the file appears
    when all of them are there and ``finish`` was called."""
    with writing(path, "wb") as handle:
        hashed = hashlib.sha256()

        def put(data: bytes) -> None:
            if not handle.closed:  # an abandoned parquet writer still wants to end its file
                hashed.update(data)
                handle.write(data)

        yield RecordWriter(given.sink(put), path, hashed)


def refuse_existing(path: Path) -> None:
    """Raises ``UserError`` where something stands at ``path`` already."""
    if path.exists():
        raise UserError(
            "there is already a file, and nothing is overwritten",
            str(path),
            "name another file, or remove this one: what was translated is in the cache and costs nothing again",
        )
