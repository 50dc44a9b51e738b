"""Which parameter moves at which rate: groups by role, decay or not, and by optimizer; one cosine for all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.training.model import new_tokens
from olhar.training.model.adapters import is_factor

BETAS = (0.9, 0.98)
SMALLEST_MUON_SIDE = 17  # Muon orthogonalises matrices; on thin ones that is noise
HEAD = "lm_head"  # a linear layer whose rows stand for tokens, as those of an embedding do


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that share a rule; ``rate`` is the peak learning rate."""

    role: str
    optimizer: str
    rate: float
    weight_decay: float
    names: tuple[str, ...]


def groups(model: torch.nn.Module, roles: Mapping[str, list[str]], stage: TrainStage) -> list[Group]:
    """The groups of one stage, of the names that ``prepare`` found (with what stands before them in ``model``).

    A role that the stage does not name is frozen; rows added to the vocabulary (role ``tokens``) learn at their own
    rate and do not decay: their table's other rows must not move.
    """
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    rates: dict[str, float] = {str(role): rate for role, rate in stage.trains.items()}
    if stage.new_tokens is not None:
        rates[new_tokens.ROLE] = stage.new_tokens
    looked_up = _looked_up(model)
    found: dict[tuple[str, str, float], list[str]] = {}
    for role in rates:
        if not roles.get(role):
            raise UserError(
                f"the model has no {role} parameters",
                f"train.stages, {stage.name!r}: trains.{role}",
                f"name some of: {', '.join(role for role, names in roles.items() if names)}",
            )
        for name in roles[role]:
            kept = role == new_tokens.ROLE or len(shapes[name]) < 2  # biases, norms, layer scales do not decay
            kind = "adamw" if name in looked_up else _optimizer_of(name, shapes[name], stage.optimizer)
            found.setdefault((role, kind, 0.0 if kept else stage.decay_of(role)), []).append(name)
    return [Group(role, kind, rates[role], decay, tuple(names)) for (role, kind, decay), names in found.items()]


def _looked_up(model: torch.nn.Module) -> set[str]:
    """Names of tables whose rows are looked up, not multiplied: embeddings, and the head that repeats one."""
    tables = (n for n, m in model.named_modules() if isinstance(m, torch.nn.Embedding) or n.split(".")[-1] == HEAD)
    return {f"{table}.weight" for table in tables}


def _optimizer_of(name: str, shape: torch.Size, wanted: str) -> str:
    matrix = len(shape) == 2 and min(shape) >= SMALLEST_MUON_SIDE
    return "muon" if wanted == "muon" and matrix and not is_factor(name) else "adamw"


def freeze_all_but(model: torch.nn.Module, trained: list[Group]) -> None:
    """Only the groups' parameters get gradients; frozen parts also leave training mode for good."""
    names = {name for group in trained for name in group.names}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    _set_modes(model, model)


def _set_modes(module: torch.nn.Module, nearest: torch.nn.Module) -> None:
    """Training mode where something trains; a module without parameters follows the nearest one above that has some."""
    nearest = module if any(True for _ in module.parameters()) else nearest
    module.training = any(parameter.requires_grad for parameter in nearest.parameters())
    for child in module.children():
        _set_modes(child, nearest)


def optimizers(
    model: torch.nn.Module, trained: list[Group], betas: tuple[float, float] = BETAS
) -> dict[str, torch.optim.Optimizer]:
    """AdamW for vectors, embeddings, convolutions and adapters; Muon (Jordan 2024) for matrices where a stage asks.

    ``betas`` are AdamW's; on a GPU its step is one kernel for many tensors (``fused``).
    """
    parameters = dict(model.named_parameters())
    fused = all(parameters[name].is_cuda for group in trained for name in group.names)
    made: dict[str, torch.optim.Optimizer] = {}
    for kind in ("adamw", "muon"):
        options = [
            {"params": [parameters[n] for n in g.names], "lr": g.rate, "peak": g.rate, "weight_decay": g.weight_decay}
            for g in trained
            if g.optimizer == kind
        ]
        if options and kind == "adamw":
            made[kind] = torch.optim.AdamW(options, betas=betas, fused=fused, foreach=not fused)
        elif options:
            made[kind] = torch.optim.Muon(options, adjust_lr_fn="match_rms_adamw")
    return made


def describe(model: torch.nn.Module, trained: list[Group]) -> Iterator[dict[str, Any]]:
    """One row a group, for the table printed before the first step; of adapters the role says so."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for group in trained:
        yield {
            "role": f"{group.role} (adapter)" if is_factor(group.names[0]) else group.role,
            "optimizer": group.optimizer,
            "learning rate": group.rate,
            "weight decay": group.weight_decay,
            "tensors": len(group.names),
            "parameters": sum(sizes[name] for name in group.names),
        }
