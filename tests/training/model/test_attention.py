"""Packed attention against its definition: softmax over exactly the tokens that a token may see."""

from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.training.model import attention, varlen
from olhar.training.model.attention import MULTIPLES, Plan, attend

HEADS, FEWER, WIDTH = 4, 2, 8
DOCUMENT = st.tuples(st.integers(0, 5), st.lists(st.integers(1, 6), min_size=1, max_size=3))  # prefix, questions
LONG = [(0, [300]), (40, [130, 100, 7]), (0, [1]), (0, [200])]
SHORT = [(0, [30]), (9, [3, 5, 1]), (0, [1]), (20, [4, 4]), (0, [28])]
Documents = Sequence[tuple[int, Sequence[int]]]


def segments(documents: Documents) -> Any:
    """Of documents of a shared prefix (0: none) and the questions on it."""
    lengths: list[int] = []
    prefix: list[tuple[int, int]] = []
    for shared, questions in documents:
        origin = sum(lengths)
        if shared:
            lengths, prefix = [*lengths, shared], [*prefix, (0, 0)]
        for question in questions if shared else questions[:1]:
            lengths.append(question)
            prefix.append((origin, origin + shared) if shared else (0, 0))
    bounds = np.cumsum([0, *lengths])
    return SimpleNamespace(bounds=bounds, prefix=np.array(prefix), packs=bounds[[0, -1]])


def visible(row: Any) -> np.ndarray:
    """(tokens, tokens) bool: the earlier tokens of a token's own segment, itself, and its segment's prefix."""
    seen = np.zeros((row.bounds[-1], row.bounds[-1]), dtype=bool)
    for (start, end), (first, last) in zip(pairwise(row.bounds), row.prefix, strict=True):
        seen[start:end, first:last] = True
        seen[start:end, start:end] = np.tri(end - start, dtype=bool)
    return seen


def drawn(row: Any, seed: int = 0, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[torch.Tensor]:
    """Query, key and value, laid out as transformers lays them out, with fewer heads for the last two."""
    random = torch.Generator().manual_seed(seed)
    sizes = [(1, int(row.bounds[-1]), heads, WIDTH) for heads in (HEADS, FEWER, FEWER)]
    made = [torch.randn(size, generator=random).to(device, dtype).transpose(1, 2) for size in sizes]
    return [tensor.detach().requires_grad_() for tensor in made]


def defined(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, row: Any) -> torch.Tensor:
    """(1, tokens, heads, width), written out."""
    key, value = (heads.repeat_interleave(HEADS // FEWER, 1) for heads in (key, value))
    hidden = torch.from_numpy(~visible(row)).to(query.device)
    scores = (query @ key.transpose(2, 3)).mul(0.3).masked_fill(hidden, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def packed(states: Sequence[torch.Tensor], given: Any, **options: Any) -> torch.Tensor:
    return attend(torch.nn.Module(), *states, None, segments=given, scaling=0.3, **options)[0]


def gradients(seen: torch.Tensor, states: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    return torch.autograd.grad((seen * torch.linspace(-1, 1, seen.numel()).view_as(seen).to(seen)).sum(), states)


def same(row: Any, given: Any) -> None:
    states = drawn(row)
    got, expected = packed(states, given), defined(*states, row)
    assert torch.allclose(got, expected, atol=1e-5)
    pairs = zip(gradients(got, states), gradients(expected, states), strict=True)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in pairs)


@settings(deadline=None, max_examples=50)
@given(st.lists(DOCUMENT, min_size=1, max_size=6), st.booleans())
def test_a_token_sees_its_own_document_up_to_it(documents: Documents, one_by_one: bool) -> None:
    row = segments(documents)
    plan = Plan(row)
    if one_by_one:
        plan.groups = []
    same(row, plan)


@pytest.mark.parametrize(("documents", "grouped"), [(LONG, False), (SHORT, True)], ids=["long", "short"])
def test_long_documents_go_one_by_one_and_short_ones_together(documents: Documents, grouped: bool) -> None:
    row = segments(documents)
    assert bool(Plan(row).groups) == grouped
    same(row, row)


@pytest.mark.parametrize("short", [attention.SHORT, 0])
def test_a_prefix_need_not_be_next_to_its_question(short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a whole segment: [0, 6), a stranger [6, 9), and a question that sees [1, 5)."""
    monkeypatch.setattr(attention, "SHORT", short)
    bounds = np.array([0, 6, 9, 11, 14])
    row = SimpleNamespace(bounds=bounds, prefix=np.array([(0, 0), (0, 0), (1, 5), (0, 0)]), packs=bounds[[0, -1]])
    assert bool(Plan(row).groups) == bool(short)
    same(row, row)


def test_groups_hold_every_token_once_and_little_padding_in_few_sizes() -> None:
    random = np.random.default_rng(0)
    row = segments([(int(random.integers(0, 30)), random.integers(1, 20, size=3).tolist()) for _ in range(200)])
    plan = Plan(row)
    places = np.concatenate([group.index.ravel() for group in plan.groups])
    assert sorted(places[places >= 0]) == list(range(row.bounds[-1]))
    assert places.size <= 1.4 * row.bounds[-1] and len(plan.groups) < len(plan.documents) / 3
    assert not any((np.array(group.index.shape) % MULTIPLES).any() for group in plan.groups)


def test_what_is_planned_for_one_layer_serves_all() -> None:
    for documents in (LONG, SHORT):
        row = segments(documents)
        plan, states = Plan(row), drawn(row)
        packed(states, plan)
        made = dict(plan.placed)
        packed(states, plan)
        assert made and plan.placed.keys() == made.keys() and all(plan.placed[key] is made[key] for key in made)


def test_no_mask_grows_with_the_square_of_the_row() -> None:
    """Rows of ten times as many documents: what is kept for the layers grows ten times, not a hundred."""

    def kept(times: int) -> int:
        total = 0
        for documents in (LONG, SHORT):
            row = segments(documents * times)
            plan = Plan(row)
            packed(drawn(row), plan)
            tensors = [part for made in plan.placed.values() for part in (made if isinstance(made, tuple) else [made])]
            flat = [tensor for part in tensors for tensor in (part if isinstance(part, list) else [part])]
            total += sum(tensor.numel() for tensor in flat if tensor is not None)
        return total

    assert kept(10) <= 11 * kept(1)


def test_dropout_drops() -> None:
    row = segments(SHORT)
    states = drawn(row)
    torch.manual_seed(0)
    dropped = packed(states, row, dropout=0.5)
    assert not torch.allclose(dropped, packed(states, row)) and dropped.isfinite().all()
    torch.manual_seed(0)
    assert torch.equal(dropped, packed(states, row, dropout=0.5))


def test_a_window_is_refused_only_where_it_would_be_felt() -> None:
    row = segments([(4, [6, 2]), (0, [7])])
    states = drawn(row)
    packed(states, row, sliding_window=10)
    with pytest.raises(UserError, match="10 tokens is longer than the language model's window of 9"):
        packed(states, row, sliding_window=9)


@pytest.mark.parametrize("asked", attention.UNKNOWN)
def test_changed_scores_are_refused(asked: str) -> None:
    row = segments(SHORT)
    packed(drawn(row), row, **{asked: None})
    with pytest.raises(UserError, match=f"knows no {asked}"):
        packed(drawn(row), row, **{asked: 1.0})


def test_without_segments_it_is_that_of_transformers() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    states = drawn(segments([(0, [9])]))
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = HEADS // FEWER, True
    got, expected = (how(module, *states, None, scaling=0.3)[0] for how in (attend, sdpa_attention_forward))
    assert torch.equal(got, expected)
    assert torch.allclose(got, defined(*states, segments([(0, [9])])), atol=1e-5)


def test_autocast_computes_in_its_own_type() -> None:
    for documents in (LONG, SHORT):
        row = segments(documents)
        states = drawn(row)
        with torch.autocast("cpu", torch.bfloat16):
            got = packed(states, row)
        assert got.dtype == torch.bfloat16 and torch.allclose(got.float(), defined(*states, row), atol=3e-2)


def emulated(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *bounds: Any, **options: Any) -> torch.Tensor:
    """What ``varlen_attn`` documents, slowly: (tokens, heads, width), causal from the last key of each span."""
    query_bounds, key_bounds, most_queries, most_keys = bounds
    assert options["window_size"] == (-1, 0) and options["enable_gqa"]
    assert most_queries == int(query_bounds.diff().max()) and most_keys == int(key_bounds.diff().max())
    seen = []
    for (start, end), (first, last) in zip(pairwise(query_bounds), pairwise(key_bounds), strict=True):
        q, k, v = (heads.transpose(0, 1) for heads in (query[start:end], key[first:last], value[first:last]))
        k, v = (heads.repeat_interleave(HEADS // FEWER, 0) for heads in (k, v))
        hidden = ~torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        seen.append((((q @ k.mT) * options["scale"]).masked_fill(hidden, -torch.inf).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(seen)


@pytest.mark.parametrize("documents", [LONG, SHORT, [(0, [3]), (0, [4])]], ids=["long", "short", "unshared"])
def test_a_gpu_is_given_the_same_spans(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", emulated)
    monkeypatch.setattr(varlen, "fits", lambda query: True)
    row = segments(documents)
    plan = Plan(row)
    same(row, plan)
    assert [key[0] for key in plan.placed] == ["varlen"]


def test_the_kernel_of_gpus_is_known_to_this_torch_and_left_alone_elsewhere() -> None:
    assert varlen._is_there()
    assert not varlen.fits(torch.zeros(1, 2, 3, 64, dtype=torch.bfloat16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("documents", [LONG, SHORT], ids=["long", "short"])
def test_a_gpu_sees_the_same(documents: Documents, dtype: torch.dtype) -> None:
    row = segments(documents)
    states = drawn(row, dtype=dtype, device="cuda")
    plan = Plan(row)
    got, expected = packed(states, plan), defined(*(state.float() for state in states), row)
    assert any("varlen" in key for key in plan.placed) == (dtype == torch.bfloat16)
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    assert torch.allclose(got.float(), expected, atol=tolerance)
    for one, other in zip(gradients(got, states), gradients(expected, states), strict=True):
        assert torch.allclose(one.float(), other.float(), atol=10 * tolerance)
