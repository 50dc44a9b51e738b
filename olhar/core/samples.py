"""Samples on disk: JSON lines with O(1) access by row.

Media paths inside a run folder are stored relative to it, so a run can be moved; others stay absolute.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from olhar.core.errors import UserError
from olhar.core.store import writing
from olhar.core.types import Sample, sample_from_json, sample_to_json, with_paths


class SampleWriter:
    """Appends samples to an open text file; made by ``writing_samples``."""

    def __init__(self, handle: IO[str], root: Path) -> None:
        self._handle, self._prefix, self.count = handle, f"{root.resolve()}/", 0

    def _inside(self, path: str) -> str:
        return path.removeprefix(self._prefix)

    def write(self, sample: Sample) -> None:
        row = sample_to_json(with_paths(sample, self._inside))
        self._handle.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        self.count += 1

    def copy(self, line: bytes) -> None:
        """Write a line of another samples file of the same run as it stands."""
        self._handle.write(line.decode())
        self.count += 1


class SampleFile:
    """A finished samples file, read row by row or by index; ``root`` is the run folder it belongs to."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root.resolve()
        if not path.exists():
            raise UserError("there are no samples", str(path), "run the stage that writes them")
        self._handle = open(path, "rb")
        self._offsets = _line_offsets(path)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> Sample:
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        return self._parse(os.pread(self._handle.fileno(), end - start, start))  # forked workers share one position

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample, _ in self.with_lines())

    def with_lines(self) -> Iterator[tuple[Sample, bytes]]:
        """Every sample beside the line it was read from, for stages that pass most samples on unchanged."""
        with open(self.path, "rb") as lines:
            for line in lines:
                yield self._parse(line), line

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "root": self.root}  # a worker process opens its own handle

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["root"])  # type: ignore[misc]

    def _parse(self, line: bytes) -> Sample:
        return with_paths(sample_from_json(json.loads(line)), self._absolute)

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.root}/{path}"


def _line_offsets(path: Path) -> np.ndarray:
    """Byte offset of every line start, and of the end: (lines + 1,) int64."""
    ends = [0]
    with open(path, "rb") as lines:
        for line in lines:
            ends.append(ends[-1] + len(line))
    return np.asarray(ends, dtype=np.int64)


@contextmanager
def writing_samples(path: Path, root: Path) -> Iterator[SampleWriter]:
    """``with writing_samples(path, root) as out: out.write(sample)``; the file appears when it is complete."""
    with writing(path) as handle:
        yield SampleWriter(handle, root)
