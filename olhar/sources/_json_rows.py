"""Records of a JSON array or a JSON-lines file, one at a time, whatever the file's size.

A record that cannot be read becomes a ``Row`` with a ``problem`` and no value. In JSON lines the next line
is a fresh start; in an array there is no safe place to go on, so the row says how far reading came.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from olhar.core.errors import UserError

CHUNK = 1 << 20  # bytes read at a time
LIMIT = 1 << 26  # bytes (JSON lines) or characters (array) of one record; beyond it the file is not a list of records

_BLANKS = re.compile(r"[ \t\r\n]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_RAW_BYTE = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that is not UTF-8
_UNFINISHED = re.compile(r"[.eE][+-]?|\\?u?[0-9a-fA-F]{0,4}")  # of a number after its first digits, of an escape
_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_NUMBER_TAIL = 3  # characters at the end of the buffer that may still belong to the number before them: "e-1"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Row:
    """One record. ``number``: its place in the array or its line, from 1. ``stopped_at``: the byte after
    which nothing was read; None where reading goes on."""

    number: int
    value: Any = None
    problem: str | None = None
    stopped_at: int | None = None


def rows(path: Path) -> Iterator[Row]:
    """Every record of the file. Raises ``UserError`` for a file that is no list of records at all."""
    with path.open("rb") as file:
        start = _skip_byte_order_mark(file, path)
        first = _first_byte(file)
        file.seek(start)
        if first == b"[":
            yield from array_rows(file, start=start)
        elif first == b"{":
            yield from _line_rows(file, path)
        elif first:
            raise _not_records(f"the file begins with {first!r}, which begins neither an array nor a record", path)


def array_rows(file: BinaryIO, chunk: int = CHUNK, start: int = 0) -> Iterator[Row]:
    """The elements of the JSON array in ``file``, which stands at byte ``start``."""
    text = _Window(file, chunk, start)
    text.peek()
    text.at += 1  # the opening bracket
    number = 0
    if text.peek() == "]":
        text.at += 1
    else:
        for row in _elements(text):
            number = row.number
            yield row
            if row.stopped_at is not None:
                return
    if text.peek():
        offset = text.offset(text.at)
        yield Row(number + 1, None, f"text after the end of the array, at byte {offset:,}", offset)


class _Window:
    """A stretch of a file as text: ``buffer`` from ``at`` on is not consumed yet."""

    def __init__(self, file: BinaryIO, chunk: int, start: int) -> None:
        self.buffer, self.at, self.ended = "", 0, False
        self._file, self._chunk, self._bytes_before = file, chunk, start
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")

    def more(self) -> None:
        """Forget what is consumed and read on; reading as much as is pending keeps long records linear."""
        self._bytes_before = self.offset(self.at)
        pending = self.buffer[self.at :]
        data = self._file.read(max(self._chunk, len(pending)))
        self.ended = not data
        self.buffer, self.at = pending + self._decoder.decode(data, final=self.ended), 0

    def peek(self) -> str:
        """Step over blanks; the character then at hand, "" at the end of the file."""
        while True:
            blanks = _BLANKS.match(self.buffer, self.at)
            self.at = blanks.end() if blanks else self.at
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if self.ended:
                return ""
            self.more()

    def offset(self, at: int) -> int:
        """The byte of the file at which ``buffer[at]`` stands."""
        return self._bytes_before + _size(self.buffer[:at])


def _elements(text: _Window) -> Iterator[Row]:
    number = 0
    while True:
        number += 1
        row = _element(text, number)
        yield row
        if row.stopped_at is not None:
            return
        mark = text.peek()
        text.at += 1
        if mark == "]":
            return
        if mark != ",":
            offset = text.offset(text.at - 1)
            problem = "no comma before this row" if mark else "it ends before the array does"
            yield Row(number + 1, None, f"{problem}, at byte {offset:,}", offset)
            return


def _element(text: _Window, number: int) -> Row:
    """The value at hand, reading on as long as it may only be cut by the end of the buffer."""
    text.peek()
    while True:
        try:
            value, end = _DECODER.raw_decode(text.buffer, text.at)
        except (ValueError, RecursionError) as error:
            too_long = len(text.buffer) - text.at > LIMIT
            if text.ended or too_long or not _cut(error, text.buffer):
                return _unreadable(text, number, error)
        else:
            if isinstance(value, dict) or end + _NUMBER_TAIL < len(text.buffer) or text.ended:
                problem = _broken_text(text.buffer[text.at : end], value)
                problem = problem and f"{problem} (the row begins at byte {text.offset(text.at):,})"
                text.at = end
                return Row(number, None if problem else value, problem)
        text.more()


def _cut(error: Exception, buffer: str) -> bool:
    """Whether the end of the buffer, rather than the text, can be the cause of the error."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    rest = buffer[error.pos :].rstrip()
    unfinished = _UNFINISHED.fullmatch(rest) or any(literal.startswith(rest) for literal in _LITERALS)
    return bool(unfinished) or error.msg.startswith("Unterminated string")


def _unreadable(text: _Window, number: int, error: Exception) -> Row:
    begins = text.offset(text.at)
    if isinstance(error, json.JSONDecodeError) and text.ended and _cut(error, text.buffer):
        return Row(number, None, f"it ends inside this row, which begins at byte {begins:,}", begins)
    at, why = _place_and_reason(error, text.at)
    offset = text.offset(at)
    return Row(number, None, f"not JSON: {why} at byte {offset:,} (the row begins at byte {begins:,})", offset)


def _line_rows(file: BinaryIO, path: Path) -> Iterator[Row]:
    number, offset = 0, file.tell()
    while raw := file.readline(LIMIT):
        number += 1
        line = raw.decode("utf-8", "surrogateescape")
        if number == 1 and line.strip() == "{":
            raise _not_records("the file is one JSON object spread over several lines", path)
        if line.strip():
            yield _line(line, number, offset, closed=raw.endswith(b"\n"))
        offset += len(raw)
        if len(raw) == LIMIT and not raw.endswith(b"\n"):
            return


def _line(line: str, number: int, offset: int, closed: bool) -> Row:
    try:
        value = _DECODER.decode(line.rstrip())
    except (ValueError, RecursionError) as error:
        if len(line) >= LIMIT:
            return Row(number, None, f"one row is longer than {LIMIT >> 20} MiB, from byte {offset:,} on", offset)
        if not closed and _cut(error, line):
            return Row(number, None, f"it ends inside this row, which begins at byte {offset:,}", offset)
        at, why = _place_and_reason(error, 0)
        return Row(number, None, f"not JSON: {why} at byte {offset + _size(line[:at]):,}")
    problem = _broken_text(line, value)
    problem = problem and f"{problem} (the row begins at byte {offset:,})"
    return Row(number, None if problem else value, problem)


def _place_and_reason(error: Exception, begin: int) -> tuple[int, str]:
    if isinstance(error, json.JSONDecodeError):
        return error.pos, error.msg[0].lower() + error.msg[1:]
    return begin, "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _broken_text(raw: str, value: Any) -> str | None:
    """Bytes that are not UTF-8, or halves of a surrogate pair: neither can be written again as UTF-8."""
    if not raw.isascii() and (bad := _RAW_BYTE.search(raw)):
        after = _size(raw[: bad.start()])
        byte = ord(bad.group()) - 0xDC00
        return f"broken text: byte 0x{byte:02X} is not UTF-8, {after:,} bytes into the row"
    if _ESCAPED_SURROGATE.search(raw):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            return f"broken text: \\u{ord(half):04x} is half of a character (a lone surrogate)"
    return None


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def _skip_byte_order_mark(file: BinaryIO, path: Path) -> int:
    """Move behind a UTF-8 byte order mark; the number of bytes it takes."""
    head = file.read(3)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise UserError("the file is UTF-16, not UTF-8", str(path), f"iconv -f utf-16 -t utf-8 {path.name}")
    start = len(codecs.BOM_UTF8) if head == codecs.BOM_UTF8 else 0
    file.seek(start)
    return start


def _first_byte(file: BinaryIO) -> bytes:
    while (byte := file.read(1)) in (b" ", b"\t", b"\r", b"\n"):
        pass
    return byte


def _not_records(what: str, path: Path) -> UserError:
    return UserError(what, str(path), "give an array of records, [{...}, {...}], or one record a line")
