"""Shares of a file's rows, for mixtures that are written as lists of files and how much of each is taken."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

from olhar.core.errors import UserError
from olhar.sources._json_rows import rows

Wanted = Callable[[int], bool]  # of a row's number, from 1
_STRATEGY = re.compile(r"(first|end|random):(\d+)(%?)")


def every(number: int) -> bool:
    return True


def by_strategy(strategy: str, path: Path, seed: int, where: str) -> Wanted:
    """The rows that LLaVA-OneVision's sampling strategy takes of a file.

    ``all``; ``first:N``, ``end:N`` and ``random:N``, N a number or a whole percentage of the rows, rounded up. The
    random ones are drawn from the seed and the file's name, and stay in the file's order.

    Raises ``UserError`` for anything else: the original would take all rows.
    """
    if strategy == "all":
        return every
    match = _STRATEGY.fullmatch(strategy)
    if match is None:
        raise UserError(
            f"there is no sampling strategy {strategy!r}", where, "write all, first:N, end:N or random:N, N may be 10%"
        )
    total = sum(1 for _ in rows(path))
    count = min(math.ceil(int(match[2]) * total / 100) if match[3] else int(match[2]), total)
    if match[1] == "first":
        return lambda number: number <= count
    if match[1] == "end":
        return lambda number: number > total - count
    drawn = frozenset(Random(f"{seed}|{path.name}").sample(range(1, total + 1), count))
    return drawn.__contains__


def first_share(share: float, path: Path) -> Wanted:
    """The first rows of a file, rounded down: InternVL's ``repeat_time`` below 1."""
    count = int(sum(1 for _ in rows(path)) * share)
    return lambda number: number <= count
