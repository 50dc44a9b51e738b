"""Plans of packs: nothing lost, nothing twice, nothing cut, and hardly any padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.training.packs import fill, pack_order, plan_packs


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(50, 90))
def test_every_document_lies_once_in_a_pack_that_holds_it(lengths: list[int], capacity: int) -> None:
    packs = plan_packs(lengths, capacity)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in pack) <= capacity for pack in packs)
    assert packs == plan_packs(np.array(lengths, dtype=np.int64), capacity)


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


def realistic(count: int) -> np.ndarray:
    """Lengths of an instruction mixture: one to five tiles of 256 tokens, an eighth text only."""
    random = np.random.default_rng(0)
    text = np.clip(random.lognormal(4.6, 0.8, count), 8, 2000).astype(np.int64)
    tiles = random.choice([0, 1, 2, 3, 5], size=count, p=[0.12, 0.4, 0.2, 0.18, 0.1])
    return text + tiles * 256


def test_packs_of_a_realistic_mixture_are_full() -> None:
    lengths = realistic(20_000)
    packs = plan_packs(lengths, 4096)
    assert fill(packs, lengths, 4096) >= 0.989
    assert sum(map(len, packs)) == 20_000


def test_half_a_million_documents_are_planned() -> None:
    lengths = realistic(500_000)
    packs = plan_packs(lengths, 4096)
    seen = np.sort(np.concatenate([np.asarray(pack) for pack in packs]))
    assert np.array_equal(seen, np.arange(500_000))
    assert max(int(lengths[pack].sum()) for pack in packs) <= 4096


def test_a_document_longer_than_a_pack_is_told_not_cut() -> None:
    with pytest.raises(UserError, match=r"2 samples .*longest 12 tokens") as caught:
        plan_packs([3, 12, 10, 11], 10)
    assert caught.value.where == "train.max_tokens = 10" and "12" in caught.value.fix


def test_fill_counts_what_is_not_padding() -> None:
    assert fill([[0, 1], [2]], [3, 4, 8], 10) == pytest.approx(0.75)
    assert fill([], [], 10) == 0.0


@pytest.mark.parametrize(("packs", "batch", "steps"), [(7, 2, 14), (5, 5, 4), (3, 8, 5), (10, 3, 2), (1, 4, 3)])
def test_every_epoch_sees_every_pack_once_in_another_order(packs: int, batch: int, steps: int) -> None:
    order = pack_order(packs, batch, steps, seed=1)
    assert order.shape == (steps, batch)
    flat = order.ravel()
    epochs = [flat[start : start + packs] for start in range(0, len(flat), packs)]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == len(epoch) and set(epoch.tolist()) <= set(range(packs))
    assert packs < 5 or len(epochs) < 2 or len(epochs[1]) < packs or not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(order, pack_order(packs, batch, steps, seed=1))
    assert packs < 5 or not np.array_equal(order, pack_order(packs, batch, steps, seed=2))


def test_more_steps_do_not_change_the_first_ones() -> None:
    assert np.array_equal(pack_order(6, 4, 9, 3)[:5], pack_order(6, 4, 5, 3))
