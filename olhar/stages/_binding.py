"""Binding a recipe's model and its training: parts, prompts, roles, packages, and whether pictures fit into packs."""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from olhar.core.choices import choose
from olhar.core.errors import Problem, UserError
from olhar.core.recipe import (
    LanguageModelShape,
    ModelParts,
    Recipe,
    StartingPoint,
    TokenizerShape,
    Training,
    TrainStage,
)
from olhar.families import budget
from olhar.stages import _sizing

Problems = Iterator[Problem]
SHORTEST_TURNS = 8  # tokens of the shortest question with its answer
SIDES = range(1, 13)  # tiles high and wide among which the largest picture is looked for
KNOWN_ROLES = ("vision", "connector", "language")
LAYERED = ("vision", "language")
PACKAGES = {  # of a recipe's value -> (what is imported, how to install it)
    "tensorboard": ("tensorboard", "pip install tensorboard"),
    "trackio": ("trackio", "pip install trackio"),
    "wandb": ("wandb", "pip install wandb"),
    "liger": ("liger_kernel", "pip install liger-kernel"),
    "adapter": ("peft", "pip install 'olhar[lora]'"),
    "bits": ("bitsandbytes", "pip install 'olhar[quantize]'"),
}


def named(folder: str, name: str, where: str) -> Problems:
    """A problem where no file of the folder answers to the name."""
    try:
        choose(folder, name)
    except UserError as error:
        yield Problem(where, error.what, error.fix)


def among(name: str, there: Iterable[str], what: str, where: str) -> Problems:
    known = sorted(there)
    if name not in known:
        yield Problem(where, f"there is no {what} {name!r}", f"name one of: {', '.join(known) or 'none is defined'}")


def model(recipe: Recipe, planning: bool) -> Problems:
    """What is wrong with the recipe's model; parts that are known here may be missing where it is only planned."""
    if recipe.model is None:
        return
    wrong = list(named("families", recipe.model.family, "model.family"))
    yield from wrong
    here = list(_parts(recipe.model, recipe) if isinstance(recipe.model, ModelParts) else _start(recipe.model))
    missing = list(_missing(recipe.model, planning))
    yield from here
    yield from missing
    unread = not planning and any(not _sizing.known(recipe.model, field) for field, _ in _sizing.absent(recipe.model))
    if wrong or here or unread or any(problem.where != "model.tower" for problem in missing):
        return  # what is still to be fetched is bound when it is there
    try:
        _sizing.sized(recipe)
    except UserError as error:
        where = error.where if error.where.startswith("model.") else "model.tower"
        if all(problem.where != where for problem in missing):
            yield Problem(where, f"{error.what}: {error.where}", error.fix)


def _parts(parts: ModelParts, recipe: Recipe) -> Problems:
    shape, tower = parts.language_model, parts.tower
    if isinstance(shape, LanguageModelShape) and shape.hidden_size % (2 * shape.heads):
        yield Problem("model.language_model.hidden_size", "is no multiple of 2 x heads", "change hidden_size or heads")
    if not isinstance(tower, str) and tower.hidden_size % tower.heads:
        yield Problem("model.tower.hidden_size", "is no multiple of heads", "change hidden_size or heads")
    if isinstance(parts.tokenizer, TokenizerShape):
        yield from among(parts.tokenizer.mixture, [m.name for m in recipe.mix], "mixture", "model.tokenizer.mixture")
        if isinstance(shape, str):
            what = "a pretrained language model does not understand a tokenizer that is still to be learned"
            yield Problem("model.tokenizer", what, "name that model's own folder")


def _start(start: StartingPoint) -> Problems:
    adapter = start.adapter
    if adapter and not (Path(adapter) / "adapter_config.json").is_file():
        yield Problem("model.adapter", f"no adapter_config.json in {adapter}", "name a folder in PEFT's layout")


FILES = {"tokenizer": "tokenizer.json"}


def _missing(model: ModelParts | StartingPoint, planning: bool) -> Problems:
    """Parts that are not on this disk and cannot be fetched, or of which nothing is known here to plan with."""
    for field, name in _sizing.absent(model):
        file = FILES.get(field, "config.json")
        if not _sizing.is_hub_name(name):
            kind = "there is no tower here: " if field == "tower" else ""
            yield Problem(f"model.{field}", f"{kind}no {file} in {name}", "name a folder that holds one")
        elif planning and not _sizing.known(model, field):
            what = f"no {file} in {name}, and nothing is known of it here"
            yield Problem(f"model.{field}", what, f"fetch it first: hf download {name}; or name a folder that holds it")


def training(recipe: Recipe, planning: bool) -> Problems:
    """What is wrong with the recipe's training."""
    if recipe.train is None:
        return
    yield from _prompt(recipe.train.prompt, recipe.train.variant, "train")
    for number, stage in enumerate(recipe.train.stages):
        where = f"train.stages.{number}"
        yield from among(stage.mixture, [m.name for m in recipe.mix], "mixture", f"{where}.mixture")
        if stage.prompt is not None:
            yield from _prompt(stage.prompt, stage.variant, where)
        elif stage.variant is not None:
            yield from _prompt(recipe.train.prompt, stage.variant, where, variant_only=True)
        yield from _roles(recipe, recipe.train, stage, where)
    if not planning:
        yield from (Problem(place, what, fix) for place, what, fix in uninstalled(recipe.train))
    yield from _best(recipe)
    yield from _budgets(recipe, recipe.train)


def _prompt(name: str, variant: str | None, where: str, variant_only: bool = False) -> Problems:
    wrong = list(named("prompts", name, f"{where}.prompt"))
    if not variant_only:
        yield from wrong
    if not wrong and variant is not None:
        yield from among(variant, choose("prompts", name).VARIANTS, f"variant of {name}", f"{where}.variant")


def _roles(recipe: Recipe, train: Training, stage: TrainStage, where: str) -> Problems:
    """Roles that a stage trains, adapts or shares and cannot."""
    family = recipe.model.family if recipe.model else ""
    for role in stage.trains:
        if role not in KNOWN_ROLES:
            what = f"the family {family} has no {role} parameters"
            yield Problem(f"{where}.trains.{role}", what, "name vision, connector or language")
    if stage.objective == "patches":
        if set(stage.trains) != {"vision"}:
            what = "the objective patches trains the tower and nothing else"
            yield Problem(f"{where}.trains", what, "write trains = { vision = ... }")
        if stage.batch % train.processes:
            what = f"{stage.batch} images cannot be shared equally by {train.processes} processes"
            yield Problem(f"{where}.batch", what, "change batch, or train.processes")
    for role in stage.last_layers:
        if role not in LAYERED:
            yield Problem(f"{where}.last_layers.{role}", "it has no layers", "name vision or language")
    if stage.new_tokens is not None and train.sharding == "shard":
        what = "rows of a table that several processes share cannot learn alone"
        yield Problem(f"{where}.new_tokens", what, 'write sharding = "replicate", or train the language model')
    if stage.adapter and stage.adapter.bits and train.sharding == "shard":
        what = f"weights of {stage.adapter.bits} bits cannot be shared among processes"
        yield Problem(f"{where}.adapter.bits", what, 'write sharding = "replicate", or leave bits out')
    if stage.adapter and stage.adapter.bits and isinstance(recipe.model, ModelParts):
        what = "only the weights of a whole checkpoint are read in fewer bits"
        yield Problem(f"{where}.adapter.bits", what, "start from a checkpoint, or leave bits out")


def uninstalled(train: Training) -> Iterator[tuple[str, str, str]]:
    """(place, what, how to install) of packages that the recipe's training needs and Python does not find."""
    wanted: list[tuple[str, str]] = [(f"train.logs.{number}", log) for number, log in enumerate(train.logs)]
    wanted += [("train.kernels", train.kernels)] if train.kernels else []
    for number, stage in enumerate(train.stages):
        if stage.adapter:
            wanted.append((f"train.stages.{number}.adapter", "adapter"))
            wanted += [(f"train.stages.{number}.adapter.bits", "bits")] if stage.adapter.bits else []
    for place, name in wanted:
        package, fix = PACKAGES[name]
        if find_spec(package) is None:
            yield place, f"the package {package} is not installed", fix


def _best(recipe: Recipe) -> Problems:
    best = recipe.train.best if recipe.train else None
    if best is None:
        return
    yield from named("benchmarks", best.benchmark, "train.best.benchmark")
    yield from among(best.data, [data.name for data in recipe.ingest], "data set", "train.best.data")
    if any(best.data == taking.data for mixture in recipe.mix for taking in mixture.take):
        what = f"{best.data!r} is also trained on"
        yield Problem("train.best.data", what, "choose a checkpoint by data that no mixture takes")
    if any(best.data in evaluation.data for evaluation in recipe.evaluate):
        what = f"{best.data!r} is also reported by an evaluation, whose numbers would then be chosen by themselves"
        yield Problem("train.best.data", what, "ingest a data set of its own for it")


def _budgets(recipe: Recipe, train: Training) -> Problems:
    """Whether the largest picture that a stage may be shown fits into its packs; bad image settings of a stage."""
    try:
        sized = _sizing.sized(recipe) if recipe.model else None
    except UserError:
        sized = None  # told by ``model``
    shape = getattr(recipe.model, "language_model", None)
    for number, stage in enumerate(train.stages):
        place = f"train.stages.{number}"
        limit, where = train.tokens_of(stage), f"{place}.max_tokens" if stage.max_tokens else "train.max_tokens"
        if isinstance(shape, LanguageModelShape) and shape.max_tokens < limit:
            what = f"a pack of {limit} tokens is longer than the language model's {shape.max_tokens} positions"
            yield Problem(where, what, "lower it, or raise model.language_model.max_tokens")
        if sized is None:
            continue
        try:
            settings = sized.of_stage(stage.image)
        except UserError as error:
            yield Problem(f"{place}.image", error.what, error.fix)
            continue
        yield from _layers(sized, stage, place)
        if stage.objective == "answers":
            yield from _largest(sized, settings, limit, train.max_tiles, where)


def _layers(sized: _sizing.Sized, stage: TrainStage, place: str) -> Problems:
    there = {"vision": sized.counts.tower.layers, "language": sized.counts.language.layers}
    for role, count in stage.last_layers.items():
        if count > there.get(role, count):
            yield Problem(f"{place}.last_layers.{role}", f"it has {there[role]} layers, not {count}", "name fewer")
    if stage.new_tokens is not None and not sized.added:
        what = "no token is added to the language model's vocabulary, so there is no row to learn"
        yield Problem(f"{place}.new_tokens", what, "leave it out")


def _largest(sized: _sizing.Sized, settings: Any, limit: int, most: int | None, where: str) -> Problems:
    tokens, tiles = largest_picture(sized.family, settings)
    if tokens + SHORTEST_TURNS > limit:
        fewer = ", or look at fewer tiles (image = { max_tiles = ... })" if hasattr(settings, "max_tiles") else ""
        what = f"one image takes {tokens} tokens, so no question about it fits into {limit}"
        yield Problem(where, what, f"raise it to {tokens + SHORTEST_TURNS} at the very least{fewer}")
    if most is not None and tiles > most:
        what = f"one image takes up to {tiles} tiles, more than a pack may hold ({most})"
        yield Problem("train.max_tiles", what, f"raise it to {tiles}, or look at fewer tiles")


def largest_picture(family: Any, settings: Any) -> tuple[int, int]:
    """(tokens, tiles) of the most costly picture, among those of whole tiles."""
    side = settings.side
    costs = [budget(family, side * wide, side * high, settings) for wide in SIDES for high in SIDES]
    return max(cost.tokens for cost in costs), max(cost.tiles for cost in costs)


def warnings(recipe: Recipe) -> list[str]:
    """What may be meant as it is, and should be known."""
    found = []
    bits = {stage.adapter.bits for stage in recipe.train.stages if stage.adapter} - {None} if recipe.train else set()
    if bits and not Path("/proc/driver/nvidia/version").exists():
        found.append("weights in 4 or 8 bits need an NVIDIA GPU, and this machine shows none")
    train = recipe.train
    if train and train.hardware and train.hardware.count != train.processes:
        gpus = train.hardware.count
        found.append(f"reckoned with the {gpus} GPUs of train.hardware; train.processes is {train.processes}")
    return found
