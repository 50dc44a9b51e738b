"""Plans of packs: nothing lost, nothing twice, nothing cut, and hardly any room left."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.training.data.packs import Order, fill, plan_packs, steps_of

CAPACITY = 60
SIZED = st.lists(st.tuples(st.integers(1, CAPACITY), st.integers(0, 6)), max_size=150)


@given(SIZED, st.one_of(st.none(), st.integers(6, 12)))
def test_every_document_lies_once_in_a_pack_that_holds_it(sized: list[tuple[int, int]], most: int | None) -> None:
    lengths, tiles = [length for length, _ in sized], [tile for _, tile in sized]
    packs = plan_packs(lengths, CAPACITY, tiles, most)
    assert sorted(index for pack in packs for index in pack.tolist()) == list(range(len(sized)))
    for pack in packs:
        assert 0 < sum(lengths[index] for index in pack) <= CAPACITY
        assert most is None or sum(tiles[index] for index in pack) <= most
    again = plan_packs(np.array(lengths, dtype=np.int64), CAPACITY, np.array(tiles, dtype=np.int64), most)
    assert np.array_equal(packs.order, again.order) and np.array_equal(packs.bounds, again.bounds)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=80))
def test_best_fit_decreasing_opens_a_pack_only_when_none_has_room(lengths: list[int]) -> None:
    """Against a plain search over all open packs, the fullest first."""
    free: list[int] = []
    for length in sorted(lengths, reverse=True):
        room = [space for space in free if space >= length]
        if room:
            free.remove(min(room))
            free.append(min(room) - length)
        else:
            free.append(30 - length)
    packs = plan_packs(lengths, 30)
    assert sorted(30 - sum(lengths[index] for index in pack) for pack in packs) == sorted(free)


@given(SIZED)
def test_tiles_without_a_limit_change_nothing(sized: list[tuple[int, int]]) -> None:
    lengths, tiles = [length for length, _ in sized], [tile for _, tile in sized]
    assert np.array_equal(plan_packs(lengths, CAPACITY).order, plan_packs(lengths, CAPACITY, tiles).order)


def test_packs_are_counted_and_indexed_from_both_ends() -> None:
    packs = plan_packs([6, 5, 4, 3], 10)
    assert [pack.tolist() for pack in packs] == [[0, 2], [1, 3]] and len(packs) == 2
    assert packs[-1].tolist() == [1, 3]
    with pytest.raises(IndexError):
        packs[2]
    assert len(plan_packs([], 10)) == 0


def realistic(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of an instruction mixture: one to five tiles of 256 tokens, an eighth text only."""
    random = np.random.default_rng(0)
    text = np.clip(random.lognormal(4.6, 0.8, count), 8, 2000).astype(np.int64)
    tiles = random.choice([0, 1, 2, 3, 5], size=count, p=[0.12, 0.4, 0.2, 0.18, 0.1])
    return text + tiles * 256, tiles


def test_packs_of_a_realistic_mixture_are_full() -> None:
    lengths, tiles = realistic(20_000)
    assert fill(plan_packs(lengths, 4096), lengths, 4096) >= 0.995
    packs = plan_packs(lengths, 16_384, tiles, 30)
    assert tiles.sum() / (30 * len(packs)) >= 0.98, "tiles are scarcer than tokens: packs are full of them"


def test_half_a_million_documents_are_planned() -> None:
    lengths, _ = realistic(500_000)
    packs = plan_packs(lengths, 4096)
    assert np.array_equal(np.sort(packs.order), np.arange(500_000))
    assert int(np.add.reduceat(lengths[packs.order], packs.bounds[:-1]).max()) <= 4096
    assert fill(packs, lengths, 4096) >= 0.999


def test_a_document_longer_than_a_pack_is_told_not_cut() -> None:
    with pytest.raises(UserError, match=r"2 samples .*longest 12 tokens") as caught:
        plan_packs([3, 12, 10, 11], 10)
    assert caught.value.where == "train.max_tokens = 10" and "12" in caught.value.fix
    with pytest.raises(UserError, match=r"1 samples .*longest 7 tiles") as caught:
        plan_packs([3, 4], 10, [7, 1], 6)
    assert caught.value.where == "train.max_tiles = 6"


def test_fill_counts_what_holds_a_token() -> None:
    assert fill([[0, 1], [2]], [3, 4, 8], 10) == pytest.approx(0.75)
    assert fill([], [], 10) == 0.0


def pack_order(packs: int, batch: int, steps: int, seed: int) -> np.ndarray:
    """``Order`` written out for all steps: (steps, batch)."""
    order = Order(packs, batch, steps, seed)
    return np.stack([order[step] for step in range(steps)])


@pytest.mark.parametrize(("things", "batch", "steps"), [(7, 2, 14), (5, 5, 4), (3, 8, 5), (10, 3, 2), (1, 4, 3)])
def test_every_epoch_sees_everything_once_in_another_order(things: int, batch: int, steps: int) -> None:
    order = pack_order(things, batch, steps, seed=1)
    assert order.shape == (steps, batch)
    flat = order.ravel()
    epochs = [flat[start : start + things] for start in range(0, len(flat), things)]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == len(epoch) and set(epoch.tolist()) <= set(range(things))
    assert things < 5 or len(epochs) < 2 or len(epochs[1]) < things or not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(order, pack_order(things, batch, steps, seed=1))
    assert things < 5 or not np.array_equal(order, pack_order(things, batch, steps, seed=2))


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    order, other = Order(7, 5, 40, 3), Order(7, 5, 40, 3)
    backwards = [other[step] for step in reversed(range(40))]
    assert np.array_equal(np.stack([order[step] for step in range(40)]), np.stack(backwards[::-1]))
    assert np.array_equal(order[-1], order[39]) and len(order) == 40
    with pytest.raises(IndexError):
        order[40]


def test_more_steps_do_not_change_the_first_ones() -> None:
    assert np.array_equal(pack_order(6, 4, 9, 3)[:5], pack_order(6, 4, 5, 3))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(1, 9), st.integers(0, 3))
def test_what_belongs_together_is_drawn_together(sizes: list[int], batch: int, seed: int) -> None:
    groups = np.concatenate([[0], np.cumsum(sizes)])
    things = int(groups[-1])
    order = Order(things, batch, -(-2 * things // batch), seed, groups)
    flat = np.concatenate([order[step] for step in range(len(order))])[: 2 * things]
    for epoch in (flat[:things], flat[things:]):
        assert sorted(epoch.tolist()) == list(range(things))
        place = np.argsort(epoch)
        for start, end in pairwise(groups):
            assert np.diff(place[start:end]).tolist() == [1] * (end - start - 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 1.0}, 4),  # 10 packs by 3
        ({"epochs": 0.9}, 3),
        ({"epochs": 3.0, "unit": "samples"}, 100),
        ({"epochs": 0.1, "unit": "samples"}, 4),  # 10 samples, not 10.000000000000002
        ({"epochs": 1.0, "objective": "patches", "trains": {"vision": 1e-3}}, 34),
    ],
)
def test_epochs_become_steps(stage: Any, changes: dict[str, Any], expected: int) -> None:
    given = {"steps": None, "warmup_steps": 0, "batch": 3} | changes
    assert steps_of(stage(**given), packs=10, samples=100) == expected
