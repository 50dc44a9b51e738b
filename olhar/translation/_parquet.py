"""Records of a parquet file, under the schema they came with. Needs the package ``pyarrow``."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from olhar.core.errors import UserError
from olhar.sources._json_rows import Row

MAGIC = b"PAR1"
ROWS = 64  # records held at a time: they may hold pictures


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A parquet file of records."""

    path: Path

    def __iter__(self) -> Iterator[Row]:
        number = 0
        for batch in self._open().iter_batches(batch_size=ROWS):
            for record in batch.to_pylist():
                number += 1
                yield Row(number, record)

    def sink(self, put: Callable[[bytes], None]) -> "_ParquetSink":
        return _ParquetSink(self._open(), self.path, put)

    def _open(self) -> Any:
        arrow, parquet = _packages(self.path)
        try:
            return parquet.ParquetFile(self.path)
        except (arrow.ArrowInvalid, OSError) as error:
            raise UserError(f"this parquet file cannot be read: {error}", str(self.path), "fetch it again") from error


class _ParquetSink:
    """Writes row groups of the size of the given file's, with its schema and compression."""

    def __init__(self, given: Any, path: Path, put: Callable[[bytes], None]) -> None:
        self._arrow, parquet = _packages(path)
        about = given.metadata
        self._path, self._schema = path, given.schema_arrow
        self._group = max(1, about.row_group(0).num_rows) if about.num_row_groups else ROWS
        self._rows: list[Any] = []
        self._pending: list[Any] = []
        self._pending_rows = 0
        compression = about.row_group(0).column(0).compression if about.num_row_groups else "SNAPPY"
        self._handle = _Handle(put)
        self._writer = parquet.ParquetWriter(
            self._handle, self._schema, compression="NONE" if compression == "UNCOMPRESSED" else compression
        )

    def write(self, record: Any) -> None:
        if further := [key for key in record if key not in self._schema.names]:
            raise UserError(
                f"a parquet file has no room for a further key: {', '.join(further)}",
                str(self._path),
                "do without the provenance key (provenance stands in the manifest), or give JSON lines",
            )
        self._rows.append(record)
        if len(self._rows) >= ROWS:
            self._pack()
        if self._pending_rows >= self._group:
            self._flush(self._group)

    def close(self) -> None:
        self._pack()
        while self._pending_rows:
            self._flush(self._group)
        self._writer.close()

    def _pack(self) -> None:
        """Records as Arrow holds them: a fraction of what they take as Python objects."""
        if self._rows:
            self._pending.append(self._arrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
            self._pending_rows += len(self._rows)
            self._rows = []

    def _flush(self, group: int) -> None:
        """Write one row group; what is beyond it waits for the next."""
        table = self._arrow.Table.from_batches(self._pending)
        self._writer.write_table(table.slice(0, group), row_group_size=group)
        self._pending = table.slice(group).to_batches()
        self._pending_rows = max(0, self._pending_rows - group)


class _Handle(io.RawIOBase):
    """A file that only takes bytes, as ParquetWriter wants it."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put, self._at = put, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        taken = bytes(data)
        self._put(taken)
        self._at += len(taken)
        return len(taken)


def _packages(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "reading parquet needs the package pyarrow, which is not installed",
            str(path),
            "pip install 'olhar[parquet]', or write the records as JSON lines",
        ) from error
    return pyarrow, pyarrow.parquet
