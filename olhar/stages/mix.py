"""Checked data sets become training sets: one ``<mixture>.jsonl`` each.

Samples keep the order of their data set, so questions on the same pictures stay neighbours and can share them;
which pack is seen when is drawn at training.
"""

import hashlib
from typing import Any

from olhar.core.errors import UserError
from olhar.core.recipe import Mixture, Recipe, Taking
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.types import Sample
from olhar.stages import Context

NEEDS = ("check",)


def config(recipe: Recipe) -> dict[str, Any] | None:
    if not recipe.mix:
        return None
    return {"mix": [mixture.model_dump(mode="json") for mixture in recipe.mix], "seed": recipe.seed}


def outside(recipe: Recipe) -> dict[str, str]:
    return {}


def run(context: Context) -> dict[str, Any]:
    return {"samples": {mixture.name: _mix(mixture, context) for mixture in context.recipe.mix}}


def _mix(mixture: Mixture, context: Context) -> int:
    target = context.folder / f"{mixture.name}.jsonl"
    if target.exists():
        return len(SampleFile(target, context.run.path))
    with writing_samples(target, context.run.path) as out:
        for number, taking in enumerate(mixture.take):
            before = out.count
            samples = SampleFile(context.run.path / "check" / f"{taking.data}.jsonl", context.run.path)
            for sample, line in context.track(samples.with_lines(), f"mix {mixture.name}", len(samples)):
                for _ in range(copies(sample, taking, context.recipe.seed)):
                    out.copy(line)
            if out.count == before:
                raise UserError(
                    "no sample fits", f"mix.{mixture.name}.take.{number}", f"widen its where, or look at {samples.path}"
                )
    return out.count


def copies(sample: Sample, taking: Taking, seed: int) -> int:
    """How often a sample is taken; a fraction is drawn from its id, so it never depends on its neighbours."""
    if any(sample.meta.get(key) not in values for key, values in taking.where.items()):
        return 0
    whole, fraction = divmod(taking.repeat, 1)
    drawn = int(hashlib.sha256(f"{seed}|{sample.id}".encode()).hexdigest()[:8], 16) / 2**32
    return int(whole) + (drawn < fraction)
