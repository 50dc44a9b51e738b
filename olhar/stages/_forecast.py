"""What a recipe would do, in numbers, stage of training by stage: what learns, from how much, at what cost.

Everything is JSON; ``olhar.stages._shown`` shows it to a person, ``docs/plan.md`` tells how each number is reckoned.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from olhar.core.recipe import Mixture, Recipe, Training, TrainStage
from olhar.families import budget
from olhar.families._counting import Counts
from olhar.stages import _binding, _costs, _sampling, _sizing
from olhar.stages._lengths import Lengths, lengths, speaker
from olhar.stages._seeing import Seen
from olhar.stages._walk import wanted


@dataclass(slots=True)
class Reckoning:
    """A recipe's numbers, made as they are asked for and kept."""

    recipe: Recipe
    sized: _sizing.Sized
    training: Training
    looks: dict[str, _sampling.Look] = field(default_factory=dict)
    mixtures: dict[str, Lengths] = field(default_factory=dict)

    def look(self, name: str) -> _sampling.Look:
        if name not in self.looks:
            data = next(data for data in self.recipe.ingest if data.name == name)
            self.looks[name] = _sampling.looked(data, self.recipe)
        return self.looks[name]

    def lengths(self, stage: TrainStage) -> Lengths:
        """The lengths of a stage's mixture as the stage would write them."""
        name, variant = self.training.spoken(stage)
        key = repr((stage.mixture, name, variant, stage.image))
        if key not in self.mixtures:
            mixture = self._mixture(stage.mixture)
            looks = {data: self.look(data) for data in self.data_of(stage)}
            settings, tokenizer = self.sized.of_stage(stage.image), self.sized.tokenizer
            learned_from = [seen for look in looks.values() for seen in look.seen]
            speaking = speaker(self.recipe, name, variant, self.sized.family, settings, tokenizer, learned_from)
            share = self.training.isolate_questions
            self.mixtures[key] = lengths(mixture, looks, self.recipe, speaking, share)
        return self.mixtures[key]

    def data_of(self, stage: TrainStage) -> list[str]:
        """Names of the data sets that a stage's mixture takes."""
        return list(dict.fromkeys(taking.data for taking in self._mixture(stage.mixture).take))

    def _mixture(self, name: str) -> Mixture:
        return next(mixture for mixture in self.recipe.mix if mixture.name == name)


def describe(recipe: Recipe, runs: Path = Path("runs")) -> dict[str, Any]:
    """All that ``olhar plan`` tells, as JSON. The recipe is bound before (``_plan.check``)."""
    told: dict[str, Any] = {
        "recipe": recipe.name,
        "language": recipe.language,
        "stages": wanted(recipe),
        "to_fetch": _to_fetch(recipe),
        "training": [],
    }
    if not (recipe.train and recipe.model):
        return told
    sized = _sizing.sized(recipe)
    reckoning = Reckoning(recipe, sized, recipe.train)
    told["model"] = _model(sized)
    told["training"] = [_stage(reckoning, number, stage) for number, stage in enumerate(recipe.train.stages)]
    told["image_tokens"] = told["model"]["image_tokens"]
    told["feature_cache"] = _features(reckoning, runs)
    told["hardware"] = recipe.train.hardware.model_dump() if recipe.train.hardware else None
    told["total"] = _total(told["training"], told["feature_cache"], recipe.train)
    return told


def _to_fetch(recipe: Recipe) -> list[dict[str, Any]]:
    parts = list(_sizing.absent(recipe.model)) if recipe.model else []
    found: list[dict[str, Any]] = [{"what": f"model.{part}", "name": name} for part, name in parts]
    unique = {row["name"]: row for row in reversed(found)}  # a tokenizer often is its language model's
    data = [data for data in recipe.ingest if _sampling.missing(data)]
    rows = [{"what": "data", "name": one.name, "path": str(one.path), "samples": one.expect} for one in data]
    lacking = [
        {"what": "package", "name": fix, "path": place}
        for place, _, fix in (_binding.uninstalled(recipe.train) if recipe.train else ())
    ]
    return [*reversed(unique.values()), *rows, *lacking]


def _model(sized: _sizing.Sized) -> dict[str, Any]:
    counts = sized.counts
    side = sized.settings.side
    return {
        "parameters": counts.parameters,
        "by_role": counts.roles,
        "pooling_head": counts.tower.head,
        "tower_unread": counts.tower.unread(counts.layer),
        "tower_layers": counts.tower.layers,
        "language_layers": counts.language.layers,
        "vocabulary": counts.language.vocabulary,
        "added_rows": sized.added,
        "image_tokens": budget(sized.family, side, side, sized.settings).tokens,
    }


def _stage(reckoning: Reckoning, number: int, stage: TrainStage) -> dict[str, Any]:
    """One stage of training. Fields whose number is not known are None, and ``notes`` says why."""
    training, counts = reckoning.training, reckoning.sized.counts
    learns = _costs.learning(counts, stage, reckoning.sized.added)
    row: dict[str, Any] = {
        "name": stage.name,
        "mixture": stage.mixture,
        "objective": stage.objective,
        "trains": {str(role): rate for role, rate in stage.trains.items()},
        "optimizer": stage.optimizer,
        "trained": {role: each.trained for role, each in learns.items() if each.trained},
        "trained_parameters": sum(each.trained for each in learns.values()),
        "adapter_parameters": sum(each.adapters for each in learns.values()),
        "batch": stage.batch,
        "unit": stage.unit if stage.objective == "answers" else "images",
    }
    if stage.new_tokens is not None:
        row["trains"]["tokens"] = stage.new_tokens
    seen = Seen.of(training, stage, reckoning.lengths(stage), reckoning.recipe.seed)
    row |= seen.told()
    row["steps"] = seen.steps
    row["warmup_steps"] = stage.warmup(seen.steps) if seen.steps is not None else None
    row |= _memory(training, counts, learns, stage, seen)
    row |= _cost(training, counts, learns, stage, seen)
    numbers = row["trained_parameters"] + _costs.states(counts, learns, row["trained_parameters"], stage)
    row["checkpoint_bytes"], row["checkpoints_kept"] = round(numbers * _costs.FP32), _kept(training)
    return row


def _kept(training: Training) -> int:
    """Checkpoints of a stage that are on disk at once, with the one that is being written."""
    return training.keep + 1 + (training.best is not None)


def _memory(
    training: Training, counts: Counts, learns: Mapping[str, _costs.Learns], stage: TrainStage, seen: Seen
) -> dict[str, Any]:
    half = training.precision != "fp32" and (training.hardware is not None or training.precision == "bf16")
    machine = _costs.Machine(_costs.processes(training), training.sharding == "shard", half)
    micro = seen.micro.spared() if training.caches(stage) else seen.micro
    lines = {what: round(size) for what, size in _costs.memory(counts, learns, micro, stage, machine).items()}
    total, room = sum(lines.values()), training.hardware.memory_gib * 2**30 if training.hardware else None
    return {
        "precision": "bf16" if half else "fp32",
        "memory_bytes": lines,
        "memory_total_bytes": total,
        "memory_fits": None if room is None else total <= room,
    }


def _cost(
    training: Training, counts: Counts, learns: Mapping[str, _costs.Learns], stage: TrainStage, seen: Seen
) -> dict[str, Any]:
    """Operations, hours and kWh of a whole stage; None where its steps or the machine are not known."""
    if seen.steps is None:
        return {"flops": None, "flops_total": None, "hours": None, "energy_kwh": None, "tokens": None}
    work = seen.step.times(seen.steps)
    work = work.spared() if training.caches(stage) else work
    parts = _costs.operations(counts, learns, work, stage.gradient_checkpointing, stage.objective == "answers")
    return {"flops": parts, "tokens": round(work.tokens)} | _spent(sum(parts.values()), training)


def _spent(operations: float, training: Training) -> dict[str, Any]:
    taken = _costs.hours(operations, training.hardware) if training.hardware else None
    energy = _costs.energy_kwh(taken, training.hardware) if training.hardware and taken is not None else None
    return {"flops_total": operations, "hours": taken, "energy_kwh": energy}


def _features(reckoning: Reckoning, runs: Path) -> dict[str, Any] | None:
    """What the cache of a frozen tower's features takes: bytes on disk, and one look at every picture."""
    training, counts = reckoning.training, reckoning.sized.counts
    stages = [stage for stage in training.stages if training.caches(stage)]
    if not stages:
        return None
    tiles: dict[tuple[str, str], float | None] = {}
    for stage in stages:
        settings = reckoning.sized.of_stage(stage.image)
        for name in reckoning.data_of(stage):
            found = reckoning.look(name)
            tiles[name, repr(settings)] = _sampling.distinct_tiles(found, reckoning.sized.family, settings)
    total = None if None in tiles.values() else sum(count for count in tiles.values() if count)
    tower, joined = counts.tower, counts.connector
    width = joined.linears[0][0] // joined.joined  # five layers lie side by side in ViP-LLaVA
    each = (tower.patches - tower.classes) * width * 2  # float16
    free = shutil.disk_usage(_there(runs)).free
    row = {"tiles": total, "bytes": None, "free_bytes": free, "folder": str(runs / reckoning.recipe.name)}
    if total is None:
        return row
    looked = _costs.Work(0, 0, 0, 0, total)
    operations = sum(_costs.operations(counts, {}, looked, checkpointing=False, answers=False).values())
    return row | {"bytes": round(total * each), "fits": total * each <= free} | _spent(operations, training)


def _there(folder: Path) -> Path:
    """The nearest folder above that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _total(stages: list[dict[str, Any]], features: Mapping[str, Any] | None, training: Training) -> dict[str, Any]:
    """All stages together, and what CO2 their energy is in the recipe's country."""
    rows = [*stages, *([features] if features else [])]
    found: dict[str, Any] = {}
    for name in ("flops_total", "hours", "energy_kwh"):
        values = [row.get(name) for row in rows]
        found[name] = None if None in values else sum(value for value in values if value is not None)
    grams, source = _costs.carbon_intensity(training.country)
    found |= {"country": training.country, "g_co2_per_kwh": grams, "co2_from": source, "pue": _costs.PUE}
    found["co2_g"] = None if grams is None or found["energy_kwh"] is None else found["energy_kwh"] * grams
    found["checkpoint_bytes"] = max(row["checkpoint_bytes"] for row in stages) * _kept(training)
    return found
