"""Attention inside a flat row of many documents: every token sees its own document only.

``install`` puts it under the name ``olhar_packed`` into transformers' own classes; what they compute for one document
alone, they then compute for each. Isolation as in Krell et al. 2021, arXiv:2107.02027, without a (tokens, tokens) mask.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from olhar.core.errors import UserError
from olhar.training.model import varlen

if TYPE_CHECKING:
    from olhar.training.data.batches import Segments

NAME = "olhar_packed"
FUSED = "sdpa"  # transformers' own default
FIX = "train a language model with plain causal attention, such as Llama or Qwen2"
SHORT = 96  # mean tokens of a segment below which a call for each costs more than padding like lengths together
DENSE = 512  # longest document whose mask is written out, in tokens
MULTIPLES = 4, 16  # documents of a group and their places are multiples of these, so that tensors come in few sizes
WASTE = 1.2  # of a group of documents: its longest to its shortest, at most
LAYERS = ("full_attention", "sliding_attention")  # what is known here of ``layer_types``
UNKNOWN = ("softcap", "s_aux", "position_bias")  # what an attention may ask for and does not get here
Heads: TypeAlias = torch.Tensor  # (1, heads, tokens, width of a head)


def register() -> None:
    """Make the name known to transformers. Without ``segments`` it is transformers' sdpa, so that generating works."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def install(model: Any) -> None:
    """Switch a family's model to packed attention, and its tower to transformers' fused one.

    Raises:
        UserError: a language model whose attention is not a plain causal one.
    """
    register()
    language = model.model.language_model
    config, where = language.config, "model.language_model"
    unknown = sorted({*(getattr(config, "layer_types", None) or ())}.difference(LAYERS))
    if getattr(config, "attn_logit_softcapping", None) is not None:
        unknown.append("capped scores")
    if unknown:
        raise UserError(f"packed attention knows no {', '.join(unknown)} of {config.model_type}", where, FIX)
    language.set_attn_implementation(NAME)
    if config._attn_implementation != NAME:  # transformers only warns
        raise UserError(f"the attention of {config.model_type} cannot be replaced", where, FIX)
    look_fused(model)


def look_fused(model: Any) -> None:
    """Tiles are whole documents, so a tower computes with transformers' own fused attention."""
    model.model.vision_tower.set_attn_implementation(FUSED)


def restore(model: Any) -> None:
    """The model as transformers loads it."""
    model.model.language_model.set_attn_implementation(FUSED)
    look_fused(model)


def attend(
    module: torch.nn.Module, query: Heads, key: Heads, value: Heads, attention_mask: Any, **given: Any
) -> tuple[torch.Tensor, None]:
    """transformers' attention function -> ((1, tokens, heads, width of a head), None).

    ``segments``: a ``Plan``, made once for all layers, or ``Segments``. Keys and values may have fewer heads.

    Raises:
        UserError: a window that is shorter than a document, or scores that are changed in a way not known here.
    """
    segments: Segments | Plan | None = given.pop("segments", None)
    if segments is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    plan = segments if isinstance(segments, Plan) else Plan(segments)
    _refuse(given, plan)
    scale, dropout = given.get("scaling"), given.get("dropout", 0.0)
    on = query.device.type
    kernel = torch.get_autocast_dtype(on) if torch.is_autocast_enabled(on) else value.dtype
    query, key, value = query.to(kernel), key.to(kernel), value.to(kernel)
    if not dropout and varlen.fits(query):
        return varlen.attend(query, key, value, plan, scale), None
    options = {"scale": scale, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    how = _in_groups if plan.groups else _one_by_one
    return how(query, key, value, plan, options), None


def _refuse(given: Mapping[str, Any], plan: "Plan") -> None:
    for name in UNKNOWN:
        if given.get(name) is not None:
            raise UserError(f"packed attention knows no {name}", "model.language_model", FIX)
    window = given.get("sliding_window")
    if window is not None and plan.longest > window:
        what = f"a document of {plan.longest} tokens is longer than the language model's window of {window}"
        raise UserError(what, "train.max_tokens", f"set it to {window} at most, or train another language model")


@dataclass(frozen=True, slots=True)
class Group:
    """Documents of like length, side by side, each padded at its end; perhaps some rows of padding alone.

    index: (rows, length) which token stands where, -1 for padding. mask: (rows, 1, length, length) bool, who sees
    whom; None: each all earlier ones, where no document has a shared prefix (padding comes after all that is real).
    """

    index: np.ndarray
    mask: np.ndarray | None


class Plan:
    """How the attention of one row is computed; made once for all layers.

    starts, ends: of every segment that is not empty; lengths: its tokens; shared: those of its prefix; longest: the
    most tokens that one token sees.
    """

    def __init__(self, segments: "Segments") -> None:
        filled = np.diff(segments.bounds) > 0
        self.starts, self.ends = segments.bounds[:-1][filled], segments.bounds[1:][filled]
        self.prefix = segments.prefix[filled]
        self.lengths = (self.ends - self.starts).tolist()
        self.shared = self.prefix[:, 1] - self.prefix[:, 0]
        self.longest = int((self.shared + self.ends - self.starts).max())
        self.placed: dict[Any, Any] = {}  # by what it is and where: tensors that other layers use too

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made for the first layer that asks."""
        if key not in self.placed:
            self.placed[key] = make()
        return self.placed[key]

    @cached_property
    def documents(self) -> list[tuple[int, int]]:
        """Segments [first, last) that a shared prefix joins; every other segment is alone."""
        opens = np.ones(len(self.starts), dtype=bool)
        for number in np.nonzero(self.shared)[0]:
            origin = np.searchsorted(self.starts, self.prefix[number, 0], side="right")  # the one after it
            opens[origin : number + 1] = False
        return list(pairwise([*np.nonzero(opens)[0].tolist(), len(opens)]))

    @cached_property
    def groups(self) -> list[Group]:
        """All documents in groups of like length; empty where computing segments one by one costs less."""
        spans = [(int(self.starts[first]), int(self.ends[last - 1])) for first, last in self.documents]
        sizes = [end - start for start, end in spans]
        if len(self.lengths) == 1 or max(sizes) > DENSE or np.mean(self.lengths) > SHORT:
            return []
        order = sorted(range(len(spans)), key=lambda number: -sizes[number])
        rows: list[list[int]] = []
        for number in order:
            if not rows or sizes[number] * WASTE < sizes[rows[-1][0]]:
                rows.append([])
            rows[-1].append(number)
        return [self._group(numbers, sizes[numbers[0]], spans) for numbers in rows]

    def _group(self, numbers: Sequence[int], longest: int, spans: Sequence[tuple[int, int]]) -> Group:
        count, length = (-(-size // step) * step for size, step in zip((len(numbers), longest), MULTIPLES, strict=True))
        index = np.full((count, length), -1)
        for row, number in enumerate(numbers):
            start, end = spans[number]
            index[row, : end - start] = np.arange(start, end)
        documents = [self.documents[number] for number in numbers]
        if all(last - first == 1 for first, last in documents):
            return Group(index, None)
        seen = np.broadcast_to(np.tri(length, dtype=bool), (count, length, length)).copy()
        for visible, document in zip(seen, documents, strict=False):
            self._limit(visible, *document)
        return Group(index, seen[:, None])

    def _limit(self, seen: np.ndarray, first: int, last: int) -> None:
        """Takes from (length, length) bool, each all before it, what the segments of one document do not see."""
        origin = self.starts[first]
        for number in range(first, last):
            start, end = self.starts[number] - origin, self.ends[number] - origin
            begin, stop = self.prefix[number] - origin
            seen[start:end, :start] = False
            seen[start:end, begin:stop] = True


def _in_groups(query: Heads, key: Heads, value: Heads, plan: Plan, options: Mapping[str, Any]) -> torch.Tensor:
    """Documents side by side, as many calls as there are groups."""
    index, place, masks = plan.once(("groups", query.device, query.dtype), lambda: _placed(plan, query))
    slow = query.device.type == "cpu" and query.dtype != torch.float32 and not options["dropout_p"]
    compute = _multiplied if slow else functional.scaled_dot_product_attention
    sizes = [group.index.size for group in plan.groups]
    moved = [_Moved.apply(heads[0].transpose(0, 1), index, place).split(sizes) for heads in (query, key, value)]
    done = []
    for group, mask, *rows in zip(plan.groups, masks, *moved, strict=True):
        q, k, v = (part.unflatten(0, group.index.shape).transpose(1, 2) for part in rows)  # (rows, heads, length, w)
        seen = compute(q, k, v, attn_mask=mask, is_causal=mask is None, **options)
        done.append(seen.transpose(1, 2).flatten(0, 1))
    return torch.cat(done).index_select(0, place)[None]


def _multiplied(
    query: Heads, key: Heads, value: Heads, attn_mask: torch.Tensor | None, is_causal: bool, **options: Any
) -> torch.Tensor:
    """Attention as matrix products: on a CPU in 16 bits, torch's fused one takes longer for short documents."""
    if options["enable_gqa"]:
        again = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(again, dim=1), value.repeat_interleave(again, dim=1)
    scale = query.shape[-1] ** -0.5 if options["scale"] is None else options["scale"]
    scores = (query * scale) @ key.transpose(-1, -2)  # (rows, heads, length, length)
    if is_causal:
        attn_mask = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype).triu(1)
    if attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value


def _placed(plan: Plan, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor | None]]:
    """Which token every place of all groups holds, in which place every token lies, and every group's mask."""
    index = np.concatenate([group.index.ravel() for group in plan.groups])
    place = np.empty(int(plan.ends[-1]), dtype=np.int64)
    place[index[index >= 0]] = np.nonzero(index >= 0)[0]
    masks = [None if group.mask is None else _additive(group.mask, like) for group in plan.groups]
    on = like.device
    return torch.from_numpy(index.clip(0)).to(on), torch.from_numpy(place).to(on), masks


def _additive(seen: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """0 where visible, -inf elsewhere."""
    hidden = torch.from_numpy(~seen)
    return torch.zeros(seen.shape, dtype=like.dtype).masked_fill_(hidden, -torch.inf).to(like.device)


class _Moved(torch.autograd.Function):
    """(tokens, ...) -> (places, ...). A token's gradient is that of its own place: no sum, so it is the same each
    time; nothing real sees padding, whose gradient is zero."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, index: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        ctx.place = place
        return tokens.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0].index_select(0, ctx.place), None, None


def _one_by_one(query: Heads, key: Heads, value: Heads, plan: Plan, options: Mapping[str, Any]) -> torch.Tensor:
    """A call for every segment; what it shares with others stands before its own keys."""
    own = [heads.split(plan.lengths, dim=2) for heads in (query, key, value)]
    at = {span: number for number, span in enumerate(zip(plan.starts.tolist(), plan.ends.tolist(), strict=True))}
    done = []
    for number, (q, k, v) in enumerate(zip(*own, strict=True)):
        mask, span = None, tuple(plan.prefix[number].tolist())
        if plan.shared[number]:
            before = [own[i][at[span]] if span in at else (key, value)[i - 1][:, :, slice(*span)] for i in (1, 2)]
            k, v = torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)
            mask = plan.once((number, query.device, query.dtype), partial(_lower_right, q, k))
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, **options)
        done.append(seen.transpose(1, 2))
    return torch.cat(done, dim=1)


def _lower_right(query: Heads, key: Heads) -> torch.Tensor:
    """(queries, keys) additive: the last query sees all keys, each query one less than the next."""
    return _additive(np.tri(query.shape[2], key.shape[2], key.shape[2] - query.shape[2], dtype=bool), query)
