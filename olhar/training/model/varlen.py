"""Packed attention on a GPU: FlashAttention for rows of unequal length, as torch brings it."""

from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

if TYPE_CHECKING:
    from olhar.training.model.attention import Plan


def fits(query: torch.Tensor) -> bool:
    """Whether there is a kernel for (1, heads, tokens, width): 16 bits, a usual width, a GPU since Ampere."""
    width = query.shape[-1]
    if not query.is_cuda or query.element_size() != 2 or width % 8 or width > 256:
        return False
    return torch.cuda.get_device_capability(query.device) >= (8, 0) and _is_there()


@cache
def _is_there() -> bool:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"window_size", "enable_gqa"} <= signature(varlen_attn).parameters.keys()  # torch 2.13


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: "Plan", scale: float | None
) -> torch.Tensor:
    """FlashAttention's kernel for rows of unequal length (Dao 2023, arXiv:2307.08691), which knows no dropout.

    Its causal mask is aligned to the last key, so a shared prefix only lengthens the keys.
    """
    from torch.nn.attention.varlen import varlen_attn

    query_bounds, key_bounds, index = plan.once(("varlen", query.device), lambda: _bounds(plan, query.device))
    q, k, v = (heads[0].transpose(0, 1) for heads in (query, key, value))  # (tokens, heads, width)
    if index is not None:
        k, v = k.index_select(0, index), v.index_select(0, index)
    most = max(plan.lengths), plan.longest
    gqa = q.shape[1] != k.shape[1]
    seen = varlen_attn(q, k, v, query_bounds, key_bounds, *most, scale=scale, window_size=(-1, 0), enable_gqa=gqa)
    return cast(torch.Tensor, seen)[None]


def _bounds(plan: "Plan", on: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Bounds of every segment's queries and keys, (segments + 1,) int32, and which tokens the keys are."""
    counts = plan.shared + plan.ends - plan.starts
    query_bounds, key_bounds = ([0, *np.cumsum(lengths)] for lengths in (plan.lengths, counts))
    index = None
    if plan.shared.any():
        spans = zip(plan.prefix, zip(plan.starts, plan.ends, strict=True), strict=True)
        index = torch.from_numpy(np.concatenate([np.arange(*span) for pair in spans for span in pair])).to(on)
    made = (torch.tensor(bounds, dtype=torch.int32, device=on) for bounds in (query_bounds, key_bounds))
    return (*made, index)  # type: ignore[return-value]
