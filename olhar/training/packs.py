"""Planning packs: best-fit decreasing over the whole set, from lengths alone.

Every document lies whole in one pack; a plan is a list of packs of document indices, the same on every machine.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from olhar.core.errors import UserError


def plan_packs(lengths: Sequence[int] | np.ndarray, capacity: int) -> list[list[int]]:
    """Packs of document indices whose lengths sum to at most ``capacity``.

    Best fit decreasing (Johnson 1974): longest document first, each into the fullest pack that still holds it.
    Raises ``UserError`` for a document longer than a pack: nothing is cut in silence.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if sizes.size and int(sizes.max()) > capacity:
        raise UserError(
            f"{int((sizes > capacity).sum())} samples are longer than a pack (longest {int(sizes.max())} tokens)",
            f"train.max_tokens = {capacity}",
            f"raise train.max_tokens to {int(sizes.max())} or reject those samples",
        )
    packs: list[list[int]] = []
    open_packs: list[
        tuple[int, int]
    ] = []  # (free tokens, pack), sorted: the smallest space that fits is one bisect away
    for index in np.argsort(-sizes, kind="stable"):
        size = int(sizes[index])
        found = bisect_left(open_packs, (size, -1))
        if found == len(open_packs):
            packs.append([int(index)])
            free, pack = capacity, len(packs) - 1
        else:
            free, pack = open_packs.pop(found)
            packs[pack].append(int(index))
        if free - size > 0:
            insort(open_packs, (free - size, pack))
    return packs


def fill(packs: Sequence[Sequence[int]], lengths: Sequence[int] | np.ndarray, capacity: int) -> float:
    """The share of all pack positions that hold a token; what remains is padding."""
    return float(np.sum(lengths)) / (len(packs) * capacity) if packs else 0.0


def pack_order(packs: int, batch: int, steps: int, seed: int) -> np.ndarray:
    """Which packs each step sees: (steps, batch) int64. Every epoch is a new seeded permutation of all packs."""
    epochs = -(-steps * batch // packs)
    orders = [np.random.default_rng([seed, epoch]).permutation(packs) for epoch in range(epochs)]
    return np.concatenate(orders)[: steps * batch].reshape(steps, batch)
