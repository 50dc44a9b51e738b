"""Pieces from all over a large JSON file, as a small file of the same records.

Only files too large to be read in a second are cut: an array of objects, or one object a line. A piece begins where
a record begins; in an array that is a ``{`` from which an object can be read with most of the keys of the file's first
record, which the objects inside of records do not share.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LARGE = 8 << 20  # bytes; smaller files are read from their beginning
PIECES, PIECE = 24, 1 << 16  # how many places of the file, bytes read at each
HEAD = 1 << 18  # bytes in which the first record is looked for
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Excerpt:
    """path: a file of one record a line. records: about how many the whole file holds."""

    path: Path
    records: int


def of(path: Path, folder: Path, seed: int) -> Excerpt | None:
    """An excerpt of a large file of JSON records, written into ``folder``; None for every other file."""
    if path.suffix not in (".json", ".jsonl") or not path.is_file() or path.stat().st_size < LARGE:
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        first = _records(_text(file, 0, HEAD), None)
        if not first:
            return None
        keys = frozenset(first[0][0])
        places = np.sort(np.random.default_rng(seed).integers(0, size - PIECE, PIECES - 1))
        pieces = [_records(_text(file, int(place), PIECE), keys)[1:] for place in places]  # the first may be inside
    found = [record for piece in (first, *pieces) for record in piece]
    if len(found) < PIECES:
        return None
    target = folder / f"{path.stem}.jsonl"
    target.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record, _ in found), encoding="utf-8")
    return Excerpt(target, round(size / (sum(length for _, length in found) / len(found))))


def _text(file: BinaryIO, place: int, length: int) -> str:
    file.seek(place)
    return file.read(length).decode("utf-8", errors="ignore")


def _records(text: str, keys: frozenset[str] | None) -> list[tuple[dict[str, Any], int]]:
    """The whole records in a piece of text, each with its length in bytes, what lies before the next one included."""
    found: list[tuple[dict[str, Any], int]] = []
    at = text.find("{")
    while at >= 0:
        try:
            record, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError:
            at = text.find("{", at + 1)
            continue
        following = text.find("{", end)
        if isinstance(record, dict) and (keys is None or 2 * len(keys & record.keys()) > len(keys)):
            keys = frozenset(record) if keys is None else keys
            found.append((record, len(text[at : following if following >= 0 else end].encode())))
        at = following
    return found
