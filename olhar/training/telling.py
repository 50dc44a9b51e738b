"""What a person is told of a run: before a stage, while it goes on, and in the manifest."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from rich.table import Table

from olhar.core.recipe import TrainStage
from olhar.families import Checkpoint
from olhar.training.energy import Counted
from olhar.training.material import Material
from olhar.training.model.optimizers import Group, describe
from olhar.training.records import COUNTERS

Track = Callable[..., Iterable[Any]]
Say = Callable[[Any], None]
Judge = Callable[[Checkpoint, str, int], float]


@dataclass(frozen=True, slots=True)
class Told:
    """How a person is told what happens, and what judges the model on the way: (model, stage, step) -> score."""

    track: Track
    say: Say
    judge: Judge | None = None
    record: Callable[[Mapping[str, Any]], None] = lambda line: None


UNTOLD = Told(lambda items, *_: items, lambda _: None)


def groups_table(stage: TrainStage, material: Material, module: torch.nn.Module, trained: list[Group]) -> Table:
    """What learns at which rate, before the first step."""
    table = Table(title=f"{stage.name}: {material.steps:,} steps", title_justify="left", box=None)
    rows = list(describe(module, trained))
    for column in rows[0]:
        table.add_column(column, justify="left" if column in ("role", "optimizer") else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    return table


def counts(
    model: Any, family: ModuleType, names: Sequence[str], counted: Sequence[Mapping[str, float]], spent: Counted
) -> dict[str, Any]:
    """What the manifest says of the model, and of what its stages, by ``names``, have counted."""
    totals = {name: sum(counters[name] for counters in counted) for name in COUNTERS}
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    roles = family.roles(model).items()
    found: dict[str, Any] = {
        "parameters": sum(sizes.values()),
        "parameters_by_role": {role: sum(sizes[name] for name in owned) for role, owned in roles},
        "vocabulary": model.get_input_embeddings().num_embeddings,
        "energy_method": spent.method,
        "energy_source": spent.source,
        "stages": {name: dict(counters) for name, counters in zip(names, counted, strict=True)},
        "total": totals,
    }
    if spent.method != "not measured":
        found |= {"energy_kwh": totals["energy_kwh"], **({"co2_g": totals["co2_g"]} if spent.co2 else {})}
    return found
