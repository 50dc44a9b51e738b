"""The array reader gives what ``json.load`` gives, wherever the file's pieces are cut, without holding the file."""

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from olhar.sources._json_rows import array_rows


class Pieces(io.RawIOBase):
    """A file that hands out its bytes in pieces of given sizes, over and over."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data, self.sizes, self.at, self.reads = data, sizes, 0, 0

    def read(self, size: int = -1) -> bytes:
        step = self.sizes[self.reads % len(self.sizes)]
        self.reads += 1
        piece = self.data[self.at : self.at + step]
        self.at += len(piece)
        return piece


whole_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | whole_text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(whole_text, inner, max_size=3)
)


@given(
    st.lists(values, max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_an_array_reads_the_same_however_its_bytes_arrive(
    array: list[Any], sizes: list[int], indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(array, indent=indent, ensure_ascii=ascii_only).encode()
    rows = list(array_rows(Pieces(data, sizes), chunk=1))  # type: ignore[arg-type]
    assert [row.problem for row in rows] == [None] * len(array)
    assert [row.value for row in rows] == json.loads(data)
    assert [row.number for row in rows] == list(range(1, len(array) + 1))


def test_a_large_array_is_never_held_whole() -> None:
    row, rows = json.dumps({"text": "x" * 500}).encode(), 4000
    file = Pieces(b"[" + b",".join([row] * rows) + b"]", [4096])
    furthest = 0
    for number, _ in enumerate(array_rows(file), start=1):  # type: ignore[arg-type]
        furthest = max(furthest, file.at - number * len(row))
    assert number == rows and furthest < 16_384
