"""The connectors of LLaVA's and TinyLLaVA's code, as transformers' two layers with an activation between."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.families._conversion import Made, renamed

if TYPE_CHECKING:
    import torch

LIVE = "model.multi_modal_projector."
RULES = {  # layers -> (name in the original's stack, name in transformers' class)
    "linear": (("", "linear_1."),),
    "mlp1x_gelu": (("0.", "linear_1."),),
    "mlp2x_gelu": (("0.", "linear_1."), ("2.", "linear_2.")),
}
REASONS = {
    "identity": "it hands the tower's features on unchanged, and transformers' class has two layers",
    "resampler": "it is a Perceiver, and transformers' class has two layers",
    "qformer": "it is a Q-Former, and transformers' class has two layers",
    "mof_mlp": "it mixes the features of two towers, and transformers' class has one",
}


def connector(kind: str, tensors: Mapping[str, Made], where: str) -> tuple[dict[str, Made], str]:
    """A connector's tensors by their names in the live model, and the activation between its layers.

    One layer becomes two, of which the second is the identity: exact in every number type.

    Args:
        kind: ``connector_type`` or ``mm_projector_type``.
        tensors: by their names inside the connector, ``0.weight``.
        where: for errors.

    Raises:
        UserError: a connector that transformers' class has no place for, or one without weights.
    """
    if kind not in RULES:
        deep = re.fullmatch(r"mlp(\d+)x_gelu", kind)
        reason = f"it has {deep[1]} layers, and transformers' class has two" if deep else REASONS.get(kind)
        what = f"the connector {kind!r} cannot be carried over: {reason or 'it is not known here'}"
        raise UserError(what, where, f"use a checkpoint whose connector is one of {', '.join(RULES)}")
    if not tensors:
        what = f"there are no weights of the connector {kind!r}: the model would see with a random one"
        raise UserError(
            what, where, "check that the folder is whole; of a LoRA, that what was trained beside it is there"
        )
    kept, _ = renamed(tensors, [(old, LIVE + new) for old, new in RULES[kind]])
    if len(RULES[kind]) == 2:
        return kept, "gelu"
    first = next((made for made in kept.values() if len(made.shape) == 2), None)
    if first is None:
        raise UserError(f"the connector {kind!r} lacks its weight", where, "check that the folder is whole")
    return kept | _identity(first), "linear"


def _identity(first: Made) -> dict[str, Made]:
    """A second layer that changes nothing."""
    hidden, dtype = first.shape[0], first.dtype

    def made(shape: tuple[int, ...], make: Any) -> Made:
        return Made(shape, dtype, make, "the identity: this connector has one layer")

    def weight() -> "torch.Tensor":
        import torch

        return torch.eye(hidden, dtype=getattr(torch, dtype))

    def bias() -> "torch.Tensor":
        import torch

        return torch.zeros(hidden, dtype=getattr(torch, dtype))

    return {f"{LIVE}linear_2.weight": made((hidden, hidden), weight), f"{LIVE}linear_2.bias": made((hidden,), bias)}
