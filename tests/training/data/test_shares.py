"""The packs of a step among processes: all of them, each once, as many micro-batches everywhere, none overburdened."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.training.data.shares import TILE_COST, share_out

PACKS = st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 12)), max_size=40)


@given(PACKS, st.integers(1, 6), st.one_of(st.none(), st.integers(1, 5)))
def test_every_pack_is_taken_once(packs: list[tuple[int, int]], size: int, micro_batch: int | None) -> None:
    tokens, tiles = (np.array([pack[which] for pack in packs], dtype=np.int64) for which in (0, 1))
    shares = share_out(tokens, tiles, size, micro_batch)
    assert len(shares) == size
    assert sorted(np.concatenate([part for share in shares for part in share]).tolist()) == list(range(len(packs)))
    assert len({len(share) for share in shares}) == 1, "a process that does fewer micro-batches would be waited for"
    parts = [part for share in shares for part in share]
    assert micro_batch is None or max(map(len, parts)) <= micro_batch
    fewest = max(-(-len(packs) // (size * micro_batch)), 1) if micro_batch else 1
    assert len(shares[0]) == fewest


@given(PACKS, st.integers(1, 6))
def test_no_process_does_much_more_than_its_share(packs: list[tuple[int, int]], size: int) -> None:
    """Graham 1969: at most 4/3 of the best, which is no less than the mean and no less than the costliest pack."""
    tokens, tiles = (np.array([pack[which] for pack in packs], dtype=np.int64) for which in (0, 1))
    costs = tokens + TILE_COST * tiles
    loads = [int(costs[share[0]].sum()) for share in share_out(tokens, tiles, size, None)]
    ordered = np.sort(costs)[::-1]
    two = int(ordered[size - 1] + ordered[size]) if len(packs) > size else 0  # two of them meet in one process
    best = max(costs.sum() / size, max(costs, default=0), two)
    assert max(loads) <= 4 / 3 * best + 1


def test_tiles_count_beside_tokens() -> None:
    """Two packs full of pictures go to two processes, though two of text are as long."""
    shares = share_out(np.array([100, 100, 100, 100]), np.array([10, 10, 0, 0]), 2, None)
    assert [sorted(share[0].tolist()) for share in shares] == [[0, 2], [1, 3]]


def test_micro_batches_hold_packs_of_like_length_the_longest_first() -> None:
    tokens = np.array([5, 900, 7, 800, 6, 1000])
    (share,) = share_out(tokens, np.zeros(6, dtype=int), 1, 3)
    assert [tokens[part].tolist() for part in share] == [[1000, 900, 800], [7, 6, 5]]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_process_without_packs_takes_an_empty_micro_batch(size: int) -> None:
    shares = share_out(np.array([10]), np.array([0]), size, 4)
    assert [[len(part) for part in share] for share in shares] == [[1]] + [[0]] * (size - 1)
