"""How exactly a model computes, and what of it is kept in 16 bits."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch

from olhar.core.recipe import TrainStage


def precision(wanted: str, device: torch.device) -> str:
    """``auto`` becomes bf16 where the processor multiplies bf16 natively, else fp32: elsewhere bf16 is slower."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported()
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def keep_in_half(model: Any, family: ModuleType, later: Sequence[TrainStage]) -> None:
    """What none of these stages trains itself is kept in bf16: half the memory, and no casts in a step."""
    learn = {role for stage in later for role in stage.trains if not (stage.adapter and role in stage.adapter.roles)}
    parameters = dict(model.named_parameters())
    for role, names in family.roles(model).items():
        for name in names if role not in learn else ():
            if parameters[name].dtype == torch.float32:
                parameters[name].data = parameters[name].data.to(torch.bfloat16)
