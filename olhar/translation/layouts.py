"""How a JSON file of records is laid out apart from what it says: brackets, blanks, separators, escapes.

Taken from the file itself, so that what is written differs from what was read in the translated texts alone. A
layout that ``json.dumps`` cannot make (``\\/``, aligned columns, ``1.50``) becomes the nearest one that it can.
"""

import codecs
import json
import re
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

HEAD = 1 << 16  # bytes looked at first for one whole record; doubled until there is one
LONGEST_HEAD = 1 << 24
TAIL = 1 << 12
CHUNK = 1 << 22

_DECODER = json.JSONDecoder()
_OPENING = re.compile(r"\ufeff?\s*\[\s*")
_FIRST_KEY = re.compile(r'\{\s*"(?:[^"\\]|\\.)*"(\s*:\s*)')
_BETWEEN = re.compile(r"\s*,\s*")
_CLOSING = re.compile(r"\s*\]\s*\Z")
_INDENTED = re.compile(r"\{\r?\n([ \t]*)")
_ESCAPED_LETTER = re.compile(rb"(?<!\\)(?:\\\\)*\\u(?!00[0-6]|007[0-9a-eA-E])[0-9a-fA-F]{4}")
_EDGE = 8  # bytes of a chunk looked at again with the next: an escape may lie across


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands around, between and inside records.

    before, between, after: around the records of the file. newline: inside an indented record, with the blanks
    that begin each further line of it. indent: one step inward; None for a record on one line.
    """

    before: str = ""
    between: str = "\n"
    after: str = "\n"
    newline: str = "\n"
    indent: str | None = None
    separators: tuple[str, str] = (", ", ": ")
    ascii_only: bool = False

    def text(self, record: Any) -> str:
        """The record as this layout writes it."""
        text = json.dumps(record, ensure_ascii=self.ascii_only, indent=self.indent, separators=self.separators)
        return text if self.indent is None else text.replace("\n", self.newline)


def layout_of(path: Path) -> Layout:
    """The layout of the JSON array or JSON-lines file at ``path``; its first record decides for all."""
    with path.open("rb") as file:
        head = _head(file)
        file.seek(max(0, path.stat().st_size - TAIL))
        tail = file.read().decode("utf-8", "ignore")
        file.seek(0)
        ascii_only = _writes_escapes(file)
    opening = _OPENING.match(head)
    layout = _array(head, opening.group(), tail) if opening else _lines(head, tail)
    return replace(layout, ascii_only=ascii_only)


def _head(file: BinaryIO) -> str:
    """The beginning of the file with its first record and what follows it, where there is one."""
    size = HEAD
    while True:
        file.seek(0)
        data = file.read(size)
        text = data.decode("utf-8", "ignore")
        opening = _OPENING.match(text)
        end = _end_of_record(text, opening.end()) if opening else text.find("\n")
        if len(data) < size or size >= LONGEST_HEAD or (end is not None and 0 <= end < len(text) // 2):
            return text
        size *= 2


def _end_of_record(text: str, begin: int) -> int | None:
    try:
        return _DECODER.raw_decode(text, begin)[1]
    except (ValueError, RecursionError):
        return None


def _array(head: str, before: str, tail: str) -> Layout:
    end = _end_of_record(head, len(before))
    if head.startswith("]", len(before)):
        return Layout(before, after=head[len(before) :])
    closing = _CLOSING.search(tail)
    after = closing.group() if closing else ("\n]\n" if "\n" in before else "]")
    if end is None:
        return Layout(before, "," + before.partition("[")[2], after)
    follows = _BETWEEN.match(head, end)
    between = follows.group() if follows else "," + before.partition("[")[2]
    return _inside(Layout(before, between, after), head[len(before) : end])


def _lines(head: str, tail: str) -> Layout:
    mark = "\ufeff" if head.startswith("\ufeff") else ""
    line = head[len(mark) :].lstrip("\r\n").partition("\n")[0]
    between = "\r\n" if line.endswith("\r") else "\n"
    after = between if tail.endswith("\n") else ""
    return _inside(Layout(mark, between, after), line.strip())


def _inside(layout: Layout, raw: str) -> Layout:
    """The layout with what makes ``raw``, the text of the first record."""
    indented = _INDENTED.match(raw)
    if indented:
        line_end = "\r\n" if raw.startswith("{\r") else "\n"
        outer = re.search(r"[ \t]*\Z", layout.before)
        margin = outer.group() if outer and "\n" in layout.before else ""
        layout = replace(layout, newline=line_end + margin, indent=indented[1].removeprefix(margin))
    try:
        record = _DECODER.decode(raw)
    except (ValueError, RecursionError):
        return layout
    key = _FIRST_KEY.match(raw)
    nearest = (", " if key and key[1] != ":" and not indented else ",", key[1] if key else ": ")
    likely = (nearest, *product((", ", ","), (": ", ":")))
    for separators, ascii_only in product(likely, (False, True)):
        tried = replace(layout, separators=separators, ascii_only=ascii_only)
        if tried.text(record) == raw:
            return tried
    return replace(layout, separators=nearest)


def _writes_escapes(file: BinaryIO) -> bool:
    r"""Whether the file writes letters outside ASCII as ``\u00e3``. One that has none of them does not."""
    escapes, edge = False, b""
    while chunk := file.read(CHUNK):
        chunk = chunk.removeprefix(codecs.BOM_UTF8) if not edge else chunk
        if not chunk.isascii():
            return False
        escapes = escapes or _ESCAPED_LETTER.search(edge + chunk) is not None
        edge = chunk[-_EDGE:]
    return escapes
