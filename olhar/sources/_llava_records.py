"""Records of LLaVA's shape become samples, streamed: what every source that reads such files shares.

A row that cannot be a sample is a ``Finding`` of ``row N``: N counts the array's records, or the lines, from 1.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from olhar.core.errors import UserError
from olhar.core.types import Finding, Sample, Severity, Turn
from olhar.sources._json_rows import Row, rows
from olhar.sources._llava_turns import MEDIA_KEYS, TURN_LISTS, BadRow, Folders, turns_of

CUT_SHORT = "file not read to its end"  # the kind of finding that concerns more than its row
ADVICE: Mapping[str, str] = {
    "integer ids": "nothing to do: the number's digits became the id's text",
    "repeated id": 'give each row its own id, or set repeated_ids = "number" to have "#2", "#3" appended',
    "missing id": "give every row an id: a sample is found again by it",
    CUT_SHORT: "fetch the file again if its download broke off; else mend it at that byte. Every row behind is missing",
    "not JSON": "mend that line, or write the file again with a JSON library",
    "broken text": "the text was damaged before it came here: take it from an older copy, or mend the row",
    "not a record": "convert the file to LLaVA's shape: id, image, conversations",
    "unknown role": "rename the speaker to one of those named",
    "unfit id": "write the id as a string",
    "unfit turn": "give every turn a speaker and a text: from and value, or role and content",
    "unfit image": "give the image's path as a string, or leave the key out",
    "unfit video": "give the video's path as a string, or leave the key out",
    "image is not a file": "save the image as a file and name its path",
    "video is not a file": "save the video's frames in a folder and name its path",
    "image given twice": "keep one of the two keys",
    "video given twice": "keep one of the two keys",
}

Repeated = Literal["reject", "number"]
TurnsOf = Callable[[Mapping[str, Any], Folders, dict[str, Any]], tuple[Turn, ...]]


@dataclass(slots=True)
class Ids:
    """Which ids a data set has used so far; 64-bit hashes stand for them, so that millions fit in memory."""

    repeated: Repeated
    integers: int = 0
    used: set[int] = field(default_factory=set)
    times: Counter[int] = field(default_factory=Counter)  # of repeated ids only

    def take(self, record: Mapping[str, Any], meta: dict[str, Any], prefix: str = "") -> str:
        """The record's id as a unique string behind the prefix. Raises ``BadRow``."""
        given = record.get("id")
        if given is None or given == "":
            raise BadRow("missing id: the record has none")
        if isinstance(given, bool) or not isinstance(given, int | str):
            raise BadRow(f"unfit id: {given!r} is neither a string nor an integer")
        if isinstance(given, int):
            self.integers += 1
            meta["id_was"] = "int"
        name = f"{prefix}{given}"
        if hash(name) in self.used:
            if self.repeated == "reject":
                raise BadRow(f"repeated id: {name!r} was used by an earlier row")
            meta["id_in_file"] = str(given)
            name = self._numbered(name)
        self.used.add(hash(name))
        return name

    def _numbered(self, name: str) -> str:
        key = hash(name)
        while True:
            self.times[key] += 1
            numbered = f"{name}#{self.times[key] + 1}"
            if hash(numbered) not in self.used:
                return numbered


@dataclass(frozen=True, slots=True)
class Records:
    """How one file is read.

    name: of the source, for its findings. dataset: becomes ``Sample.source``. prefix: before every id.
    turns: what makes a record's turns, noting in ``meta`` what does not fit. known: keys of a record that it uses,
        which then do not stand in ``meta["extra"]``.
    said: put into every sample's ``meta``. place: before ``row N`` in findings, where a data set has several files.
    numbered: a record without an id gets its row's number.
    """

    path: Path
    name: str
    language: str
    dataset: str
    folders: Folders
    ids: Ids
    prefix: str = ""
    turns: TurnsOf = turns_of
    known: Callable[[Mapping[str, Any]], Collection[str]] = lambda record: ()
    said: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    numbered: bool = False

    def read(self, wanted: Callable[[int], bool] = lambda number: True) -> Iterator[Sample | Finding]:
        """Samples and findings in the file's order, of the rows whose number is wanted.

        Raises ``UserError`` when the file is not a list of records.
        """
        size, integers = self.path.stat().st_size, self.ids.integers
        for row in rows(self.path):
            if row.stopped_at is None and not wanted(row.number):
                continue
            try:
                yield self._sample(row)
            except BadRow as bad:
                message = str(bad)
                if row.stopped_at is not None:
                    message = f"{CUT_SHORT}: {bad}; the last {size - row.stopped_at:,} of {size:,} bytes are unread"
                yield self.finding(f"{self.place}row {row.number}", "error", message)
        if integers := self.ids.integers - integers:
            yield self.finding(self.path.name, "info", f"integer ids: {integers:,} in this file, each now a string")

    def finding(self, where: str, severity: Severity, message: str) -> Finding:
        return Finding(where, self.name, severity, message)

    def _sample(self, row: Row) -> Sample:
        if row.problem is not None:
            raise BadRow(row.problem)
        record = row.value
        if not isinstance(record, dict):
            raise BadRow(f"not a record: {type(record).__name__} instead of an object")
        meta: dict[str, Any] = dict(self.said)
        turns = self.turns(record, self.folders, meta)
        given = {"id": str(row.number)} if self.numbered and record.get("id") in (None, "") else record
        name = self.ids.take(given, meta, self.prefix)
        known = {"id", *TURN_LISTS, *MEDIA_KEYS, *self.known(record)}
        if extra := {key: value for key, value in record.items() if key not in known}:
            meta["extra"] = extra
        return Sample(name, self.language, turns, self.dataset, None, meta)


def file_of(path: Path | None, dataset: str, source: str, endings: tuple[str, ...] = (".json", ".jsonl")) -> Path:
    """The file that a recipe names for a source; raises ``UserError`` where it is none."""
    if path is None:
        raise UserError(f"the source {source} needs a file", f"dataset {dataset}", "set its path")
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in endings)
        names = ", ".join(inside[:8]) or f"no {' or '.join(endings)}"
        raise UserError("this is a folder, not a file of conversations", str(path), f"name one file of it: {names}")
    if not path.exists():
        raise UserError("there is no such file of conversations", str(path), "check the path")
    return path


def folder_of(given: str | None, option: str, path: Path) -> str:
    """The folder that relative media paths start from; without one given, that of the file ``path``."""
    folder = os.path.abspath(given if given is not None else path.parent)
    if not os.path.isdir(folder):
        raise UserError(f"there is no such folder of {option}", folder, f"set {option} to the folder they are in")
    return folder


def folders_of(images: str | None, videos: str | None, path: Path) -> Folders:
    """Both folders; videos lie where images do unless they have one of their own."""
    found = folder_of(images, "images", path)
    return Folders(image=found, video=folder_of(videos, "videos", path) if videos else found)
