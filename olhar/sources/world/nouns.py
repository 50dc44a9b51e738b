"""The things of the embedded world: one row of ``data/nouns.tsv`` each, read and checked by hand.

The code point is the key: of the row, of the split hashes and of the labels. The row's place in the table is
the place of its drawing in the sheets.
"""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from olhar.core.errors import UserError

TABLE = Path(__file__).parent / "data" / "nouns.tsv"
CHECKED = ("checked_pt", "checked_vi", "checked_en")


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A thing: its code point in hexadecimal, its place in the sheets and its names (``row``).

    ``apart`` are the code points of things so alike in kind or drawing that one may not stand for the
    other's absence; they never share a scene.
    """

    cp: str
    place: int
    row: Mapping[str, str]
    apart: frozenset[str]

    @property
    def usable(self) -> bool:
        """A singular count noun that was read by hand in every language."""
        return self.row["pt_number"] == "s" and all(self.row[column] == "1" for column in CHECKED)


@cache
def table() -> tuple[Noun, ...]:
    """All rows, in the order of the sheets."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return tuple(Noun(row["cp"], place, row, frozenset(row["not_with"].split())) for place, row in enumerate(rows))


def subset(size: int) -> Sequence[Noun]:
    """The first ``size`` usable nouns of one fixed shuffle, so that a larger subset holds every smaller one.

    Raises ``UserError`` when there are not so many.
    """
    nouns = sorted((noun for noun in table() if noun.usable), key=lambda noun: int(noun.cp, 16))
    if size > len(nouns):
        raise UserError(
            f"the embedded world has {len(nouns)} nouns, not {size}", "nouns", f"ask for {len(nouns)} or fewer"
        )
    random.Random(0).shuffle(nouns)
    return tuple(nouns[:size])
