"""Where a model's transformer blocks are, and which parameters of its tower anything reads: found by structure."""

import re
from collections.abc import Collection
from types import ModuleType
from typing import Any

import torch
from torch.func import functional_call
from transformers.modeling_layers import GradientCheckpointingLayer


def blocks(model: torch.nn.Module, names: Collection[str]) -> dict[str, torch.nn.Module]:
    """The outermost transformer blocks that hold any of these parameters, by name and in order.

    A block is what transformers calls a layer (``GradientCheckpointingLayer``) in a list of nothing else.
    """
    found = dict[str, torch.nn.Module]()
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList):
            continue
        layers = all(isinstance(layer, GradientCheckpointingLayer) for layer in module)
        if layers and not name.startswith(tuple(f"{outer}." for outer in found)):
            found |= {f"{name}.{index}": block for index, block in module.named_children()}
    holders = {name[: end.start()] for name in names for end in re.finditer(r"\.", name)}
    return {name: block for name, block in found.items() if name in holders}


class _Tower(torch.nn.Module):
    def __init__(self, model: torch.nn.Module, family: ModuleType) -> None:
        super().__init__()
        self.model, self.family = model, family

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.family.patch_features(self.model, pixels)
        return features


def unread(model: Any, family: ModuleType, names: Collection[str]) -> frozenset[str]:
    """Those of the tower's parameters that change nothing of what the connector is given.

    Families read a layer before the last (LLaVA the last but one), so blocks behind it, the last norm and a pooling
    head are in the checkpoint and never learn. Told by autograd's graph of one picture of shapes alone ("meta").
    """
    side = model.config.vision_config.image_size
    side = side if isinstance(side, int) else side[0]
    parameters = {name: p for name, p in model.named_parameters() if name in set(names)}
    shapes = {
        name: torch.empty(p.shape, dtype=p.dtype, device="meta").requires_grad_() for name, p in parameters.items()
    }
    buffers = {name: torch.empty_like(b, device="meta") for name, b in model.named_buffers()}
    dtype = next(iter(parameters.values())).dtype
    pixels = torch.empty(1, 3, side, side, dtype=dtype, device="meta")
    replaced = {f"model.{name}": tensor for name, tensor in (shapes | buffers).items()}
    with torch.enable_grad():
        features = functional_call(_Tower(model, family), replaced, (pixels,))
        gradients = torch.autograd.grad(features.sum(), list(shapes.values()), allow_unused=True)
    return frozenset(name for name, gradient in zip(shapes, gradients, strict=True) if gradient is None)
