"""Who takes which packs of a step: every process of a team, in so many micro-batches.

Every process reckons the shares of all, alike, and takes its own: nothing is sent.
"""

from heapq import heapify, heappop, heappush

import numpy as np

TILE_COST = 256
"""What a tile costs beside its tokens, in tokens: an estimate for a tower of 0.4 billion parameters that looks at 576
to 1024 patches once (frozen), before a language model of 1 to 2 billion that goes forth and back."""


def share_out(tokens: np.ndarray, tiles: np.ndarray, size: int, micro_batch: int | None) -> list[list[np.ndarray]]:
    """The packs of each process's micro-batches: ``share_out(...)[rank][part]`` is (packs,) int64, perhaps empty.

    Args:
        tokens, tiles: of every pack of the step, (packs,).
        size: processes.
        micro_batch: packs a micro-batch holds at most; None: a process takes its whole share at once.

    Longest processing time first (Graham 1969, "Bounds on multiprocessing timing anomalies"): the costliest pack to
    the process that has least to do, as long as it has room. All processes get the same number of micro-batches, as
    few as hold all packs. Packs of like length lie in one micro-batch, and the processes' longest come first, so that
    none waits long for another.
    """
    packs = len(tokens)
    costs = np.asarray(tokens, dtype=np.int64) + TILE_COST * np.asarray(tiles, dtype=np.int64)
    parts = -(-packs // (size * micro_batch)) if micro_batch else 1
    room = parts * micro_batch if micro_batch else packs
    taken: list[list[int]] = [[] for _ in range(size)]
    waiting = [(0, rank) for rank in range(size)]
    heapify(waiting)
    for pack in np.argsort(-costs, kind="stable").tolist():
        load, rank = heappop(waiting)
        taken[rank].append(pack)
        if len(taken[rank]) < room:
            heappush(waiting, (load + int(costs[pack]), rank))
    return [_cut(np.asarray(share, dtype=np.int64), np.asarray(tokens), max(parts, 1)) for share in taken]


def _cut(share: np.ndarray, tokens: np.ndarray, parts: int) -> list[np.ndarray]:
    """A share as that many micro-batches of as many packs, the longest first."""
    ordered = share[np.argsort(-tokens[share], kind="stable")]
    return np.array_split(ordered, parts)
