"""How full packs are and how long planning them takes: the whole set at once, beside greedy buffers.

    python benchmarks/packing.py [--documents 500000] [--rounds 3] [--record]

Lengths of an instruction mixture: text of about 100 tokens (log-normal, 8 to 2000) and no to five tiles of 256 tokens.
``plan``: ``olhar.training.data.packs`` for packs of 4096 and of 16384 tokens, and of 16384 tokens with at most 48
tiles, as InternVL 2.5 packs. ``chunks``: documents are taken as they come until they would fill 8 or 16 packs, these
are packed first-fit, and nothing waits for the next ones. ``open``: 8 or 16 packs stay open; a document goes into the
first that holds it, else the oldest is closed. Seconds of one process, medians; memory: the peak of what is allocated
beside the lengths themselves, in a run of its own. ``--record`` appends JSON lines to
benchmarks/results/packing.jsonl.
"""

import argparse
import json
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from _results import record

from olhar.training.data.packs import plan_packs

TILE = 256
Way = Callable[[np.ndarray, np.ndarray], int]


def mixture(documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and tiles of every document."""
    random = np.random.default_rng(0)
    text = np.clip(random.lognormal(4.6, 0.8, documents), 8, 2000).astype(np.int64)
    tiles = random.choice([0, 1, 2, 3, 5], size=documents, p=[0.12, 0.4, 0.2, 0.18, 0.1])
    return text + tiles * TILE, tiles


def first_fit(free: list[int] | deque[int], length: int, capacity: int) -> bool:
    """Put a document into the first pack that holds it; whether a new pack was opened."""
    for place, room in enumerate(free):
        if room >= length:
            free[place] -= length
            return False
    free.append(capacity - length)
    return True


def chunks(rows: int, capacity: int) -> Way:
    """First fit, for as many documents at a time as would fill ``rows`` packs; returns how many packs there are."""

    def packs(lengths: np.ndarray, tiles: np.ndarray) -> int:
        made, taken, free = 0, 0, list[int]()
        for length in lengths.tolist():
            if taken + length > rows * capacity:
                made, taken, free = made + len(free), 0, []
            taken += length
            first_fit(free, length, capacity)
        return made + len(free)

    return packs


def open_packs(rows: int, capacity: int) -> Way:
    """First fit among the ``rows`` packs opened last."""

    def packs(lengths: np.ndarray, tiles: np.ndarray) -> int:
        made, free = 0, deque[int](maxlen=rows)
        for length in lengths.tolist():
            made += first_fit(free, length, capacity)
        return made

    return packs


def planned(capacity: int, max_tiles: int | None = None) -> Way:
    return lambda lengths, tiles: len(plan_packs(lengths, capacity, tiles, max_tiles))


WAYS: dict[str, tuple[int, int | None, Way]] = {
    "plan 4096": (4096, None, planned(4096)),
    "plan 16384": (16_384, None, planned(16_384)),
    "plan 16384, 48 tiles": (16_384, 48, planned(16_384, 48)),
    "chunks 8, 4096": (4096, None, chunks(8, 4096)),
    "chunks 16, 4096": (4096, None, chunks(16, 4096)),
    "open 8, 4096": (4096, None, open_packs(8, 4096)),
    "open 16, 4096": (4096, None, open_packs(16, 4096)),
}


def measured(name: str, lengths: np.ndarray, tiles: np.ndarray, rounds: int) -> dict[str, Any]:
    capacity, max_tiles, way = WAYS[name]
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        packs = way(lengths, tiles)
        seconds.append(time.perf_counter() - began)
    tracemalloc.start()
    way(lengths, tiles)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    filled: dict[str, Any] = {"fill": round(float(lengths.sum()) / (packs * capacity), 5)}
    if max_tiles:
        filled["fill_tiles"] = round(float(tiles.sum()) / (packs * max_tiles), 5)
    return {
        "way": name,
        "documents": len(lengths),
        "packs": packs,
        **filled,
        "seconds": round(statistics.median(seconds), 3),
        "memory_mib": round(peak / 2**20, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    lengths, tiles = mixture(arguments.documents)
    for name in WAYS:
        result = measured(name, lengths, tiles, arguments.rounds)
        if arguments.record:
            record(__file__, result)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
