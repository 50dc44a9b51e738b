"""Conversations in LLaVA's JSON, as found in the wild: an array or one record a line, streamed.

A record holds ``id``, ``image`` (a path, or several; also ``images``, ``video``, ``videos``) and
``conversations`` of ``{"from": "human" | "gpt" | "system", "value": text}``; or OpenAI's shape, ``messages``
of ``{"role", "content"}``. ``<image>`` and ``<video>`` mark the places of the media (Liu et al. 2023,
arXiv:2304.08485). A mark becomes a part of its turn, and the one newline beside it goes: layout, not text.

What does not fit is said and kept, never repaired: media without a mark stand in ``meta["unplaced"]``, places
of marks without media in ``meta["marks_without_media"]``; the check ``placeholders`` tells both. A row that
cannot be a sample is a ``Finding`` of ``row N``: N counts the array's records, or the lines, from 1.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from olhar.core.errors import UserError
from olhar.core.types import Finding, Sample, Severity
from olhar.sources import Request, SourceOptions
from olhar.sources._json_rows import Row, rows
from olhar.sources._llava_turns import MEDIA_KEYS, TURN_LISTS, BadRow, Folders, turns_of

NAME = "llava"
NEEDS_PATH = True
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


class Options(SourceOptions):
    """``images``, ``videos``: folders that relative media paths start from; without them, the folder of the
    JSON file. ``repeated_ids``: refuse the later rows of one id, or number them ``id#2``, ``id#3``."""

    images: str | None = None
    videos: str | None = None
    repeated_ids: Literal["reject", "number"] = "reject"


def read(request: Request) -> Iterator[Sample | Finding]:
    """Samples and findings in the file's order. Raises ``UserError`` when there is no such file or folder,
    or when the file is not a list of records."""
    path, options = _file(request), cast(Options, request.options)
    images = _folder(options.images, "images", path)
    folders = Folders(image=images, video=_folder(options.videos, "videos", path) if options.videos else images)
    return _read(path, request, folders)


def count(request: Request) -> int | None:
    """None: only reading the whole file would tell."""
    return None


@dataclass(slots=True)
class _Ids:
    """Which ids a file has used so far; 64-bit hashes stand for them, so that millions fit in memory."""

    repeated: Literal["reject", "number"]
    integers: int = 0
    used: set[int] = field(default_factory=set)
    times: Counter[int] = field(default_factory=Counter)  # of repeated ids only

    def take(self, record: Mapping[str, Any], meta: dict[str, Any]) -> str:
        """The record's id as a unique string. Raises ``BadRow``."""
        given = record.get("id")
        if given is None or given == "":
            raise BadRow("missing id: the record has none")
        if isinstance(given, bool) or not isinstance(given, int | str):
            raise BadRow(f"unfit id: {given!r} is neither a string nor an integer")
        if isinstance(given, int):
            self.integers += 1
            meta["id_was"] = "int"
        name = str(given)
        if hash(name) in self.used:
            if self.repeated == "reject":
                raise BadRow(f"repeated id: {name!r} was used by an earlier row")
            meta["id_in_file"] = name
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


def _read(path: Path, request: Request, folders: Folders) -> Iterator[Sample | Finding]:
    ids = _Ids(cast(Options, request.options).repeated_ids)
    size = path.stat().st_size
    for row in rows(path):
        try:
            yield _sample(row, request, folders, ids)
        except BadRow as bad:
            message = str(bad)
            if row.stopped_at is not None:
                message = f"{CUT_SHORT}: {bad}; the last {size - row.stopped_at:,} of {size:,} bytes are unread"
            yield _finding(f"row {row.number}", "error", message)
    if ids.integers:
        yield _finding(path.name, "info", f"integer ids: {ids.integers:,} in this file, each now a string")


def _sample(row: Row, request: Request, folders: Folders, ids: _Ids) -> Sample:
    if row.problem is not None:
        raise BadRow(row.problem)
    record = row.value
    if not isinstance(record, dict):
        raise BadRow(f"not a record: {type(record).__name__} instead of an object")
    meta: dict[str, Any] = {}
    turns = turns_of(record, folders, meta)
    name = ids.take(record, meta)
    known = {"id", *TURN_LISTS, *MEDIA_KEYS}
    if extra := {key: value for key, value in record.items() if key not in known}:
        meta["extra"] = extra
    return Sample(name, request.language, turns, request.dataset, None, meta)


def _finding(where: str, severity: Severity, message: str) -> Finding:
    return Finding(where, NAME, severity, message)


def _file(request: Request) -> Path:
    path = request.path
    if path is None:
        raise UserError("the source llava needs a file", f"dataset {request.dataset}", "set its path")
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in (".json", ".jsonl"))
        names = ", ".join(inside[:8]) or "no .json or .jsonl"
        raise UserError("this is a folder, not a file of conversations", str(path), f"name one file of it: {names}")
    if not path.exists():
        raise UserError("there is no such file of conversations", str(path), "check the path")
    return path


def _folder(given: str | None, option: str, path: Path) -> str:
    folder = os.path.abspath(given if given is not None else path.parent)
    if not os.path.isdir(folder):
        raise UserError(f"there is no such folder of {option}", folder, f"set {option} to the folder they are in")
    return folder
