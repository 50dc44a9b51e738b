"""What training has learned, by live name: trained weights and optimizer state, whole or spread over processes."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from olhar.core.errors import StageError

SLOT = "|"  # between a parameter's name and an optimizer's slot


def trained_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a stage changes, live tensors by live name: the parameters that learn (tied ones once) and the buffers
    beside them. What is frozen is what it was when the stage began."""
    found: dict[str, torch.Tensor] = {
        name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad
    }
    owners = {name.rpartition(".")[0] for name in found}
    kept = module.state_dict(keep_vars=True).keys()
    for name, buffer in module.named_buffers():
        if name in kept and name.rpartition(".")[0] in owners:
            found[name] = buffer
    return found


def load_weights(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy ``weights`` into what the module trains; every tensor must be there and none too many.

    Raises ``StageError`` naming one that does not fit.
    """
    wanted = trained_weights(module)
    _fitting(wanted, weights, wanted.keys() | weights.keys())
    _copy(wanted, weights)


def take_over(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy what an earlier stage learned into a module that may train something else now.

    Raises ``StageError`` naming a tensor that the module does not have in this shape.
    """
    live = {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}
    _fitting(live, weights, weights)
    _copy(live, weights)


def _fitting(live: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], names: Iterable[str]) -> None:
    here, there = ({name: tuple(tensor.shape) for name, tensor in side.items()} for side in (live, weights))
    wrong = sorted(name for name in names if here.get(name) != there.get(name))
    if wrong:
        raise StageError(
            f"{len(wrong)} tensors do not fit the model, such as {wrong[0]!r}", "checkpoint", "pass --redo train"
        )


def _copy(live: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in weights.items():
            live[name].copy_(placed(value, live[name]))


def state_by_name(model: torch.nn.Module, made: Mapping[str, torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """Every optimizer tensor, live, under ``<parameter name>|<slot>``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}{SLOT}{slot}": torch.as_tensor(value).detach()
        for optimizer in made.values()
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
    }


def load_state_by_name(
    model: torch.nn.Module, made: Mapping[str, torch.optim.Optimizer], state: Mapping[str, torch.Tensor]
) -> None:
    """Inverse of ``state_by_name``; raises ``KeyError`` when a tensor belongs to no trained parameter."""
    parameters = dict(model.named_parameters())
    found: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        name, slot = key.rsplit(SLOT, 1)
        moved = placed(value, parameters[name]) if value.shape == parameters[name].shape else value.clone()
        found.setdefault(id(parameters[name]), {})[slot] = moved
    for optimizer in made.values():
        whole = optimizer.state_dict()
        owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        numbers = [number for group in whole["param_groups"] for number in group["params"]]
        slots = {n: found.pop(id(p)) for n, p in zip(numbers, owned, strict=True) if id(p) in found}
        optimizer.load_state_dict({"state": slots, "param_groups": whole["param_groups"]})
    if found:
        raise KeyError(f"{len(found)} parameters of the optimizer's state are not trained")


def placed(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``value`` on the device of ``like``; where ``like`` is spread over processes, this process's part of it."""
    if not is_spread(like) or is_spread(value):
        return value.to(like.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    held: Any = like
    return distribute_tensor(value.to(like.device), held.device_mesh, held.placements, src_data_rank=None)


def empty_like_part(like: torch.Tensor | None, size: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Room for a tensor of ``size``: spread as ``like`` is where that has the same size, else whole and on the CPU."""
    if like is None or not is_spread(like) or like.shape != size:
        return torch.empty(size, dtype=dtype)
    from torch.distributed.tensor import empty

    held: Any = like
    return empty(*size, dtype=dtype, device_mesh=held.device_mesh, placements=held.placements)


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether each process holds a part of it only (a DTensor)."""
    return hasattr(tensor, "device_mesh")
