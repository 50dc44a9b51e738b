"""Binding a recipe before anything runs: every name, path, size and token budget, all errors at once, no torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Group
from rich.table import Table

from olhar.checks import thresholds_of
from olhar.core.choices import choose
from olhar.core.errors import Problem, RecipeError, UnknownName, UserError
from olhar.core.recipe import DataSet, LanguageModelShape, Recipe, TokenizerShape, TowerShape, problems
from olhar.families import budget
from olhar.languages import language
from olhar.stages._walk import wanted
from olhar.translation.engines import engine_options
from olhar.translation.policies import Policies

Problems = Iterator[Problem]
SHORTEST_TURNS = 8  # tokens of the shortest question with its answer


def check(recipe: Recipe, path: Path) -> None:
    """Raises ``RecipeError`` naming every problem at its dotted location."""
    parts = (
        _languages(recipe),
        _data(recipe),
        _translating(recipe),
        _checks(recipe),
        _mixtures(recipe),
        _model(recipe),
        _training(recipe),
    )
    problems = [found for part in (*parts, _evaluation(recipe)) for found in part]
    if problems:
        raise RecipeError(str(path), problems)


def _named(folder: str, name: str, where: str) -> Problems:
    try:
        choose(folder, name)
    except UserError as error:
        yield Problem(where, error.what, error.fix)


def _among(name: str, there: Iterable[str], what: str, where: str) -> Problems:
    known = sorted(there)
    if name not in known:
        yield Problem(where, f"there is no {what} {name!r}", f"name one of: {', '.join(known) or 'none is defined'}")


def _languages(recipe: Recipe) -> Problems:
    yield from _named("languages", recipe.language, "language")
    for number, data in enumerate(recipe.ingest):
        if data.language:
            yield from _named("languages", data.language, f"ingest.{number}.language")


def _data(recipe: Recipe) -> Problems:
    for number, data in enumerate(recipe.ingest):
        where = f"ingest.{number}"
        wrong = list(_named("sources", data.source, f"{where}.source"))
        yield from wrong
        if not wrong:
            yield from _source_options(data, recipe, where)
        if data.path and not data.path.exists():
            yield Problem(f"{where}.path", f"{data.path} does not exist", "paths are relative to the recipe's folder")


def _source_options(data: DataSet, recipe: Recipe, where: str) -> Problems:
    source = choose("sources", data.source)
    try:
        source.Options(**data.options)
    except ValidationError as error:
        yield from problems(error, source.Options, f"{where}.options")
    if getattr(source, "NEEDS_PATH", False) and data.path is None:
        yield Problem(f"{where}.path", f"the source {data.source} reads a file", 'add path = "..."')
    if getattr(source, "NEEDS_SCENES", False) and _speaks(data.language or recipe.language) is False:
        code = data.language or recipe.language
        yield Problem(
            where, f"the language {code!r} has no words for scenes", f"fill scenes in olhar/languages/{code}.py"
        )


def _speaks(code: str) -> bool | None:
    """Whether a language has words for scenes; None where there is no such language."""
    try:
        return language(code).scenes is not None
    except UserError:
        return None


def _translating(recipe: Recipe) -> Problems:
    said = recipe.translate
    if said is None:
        return
    if (said.to or recipe.language).partition("-")[0] != recipe.language:
        what = f"{said.to} is no variety of the recipe's language {recipe.language}"
        yield Problem("translate.to", what, f"write {recipe.language}, or a variety of it")
    yield from _named("translators", said.engine, "translate.engine")
    try:
        engine_options(said.engine, said.options)
        Policies(**said.policies)
    except UnknownName:
        return  # told above
    except UserError as error:
        yield Problem("translate.options", error.what, error.fix)
    except ValidationError as error:
        yield from problems(error, Policies, "translate.policies")


def _checks(recipe: Recipe) -> Problems:
    for number, name in enumerate(recipe.check.checks):
        wrong = list(_named("checks", name, f"check.checks.{number}"))
        yield from wrong
        given = recipe.check.thresholds.get(name, {})
        for unknown in [] if wrong else sorted(given.keys() - thresholds_of(name).keys()):
            known = ", ".join(thresholds_of(name)) or "it has none"
            yield Problem(f"check.thresholds.{name}.{unknown}", "there is no such threshold", f"there are: {known}")


def _mixtures(recipe: Recipe) -> Problems:
    data = [entry.name for entry in recipe.ingest]
    for number, mixture in enumerate(recipe.mix):
        for index, taking in enumerate(mixture.take):
            yield from _among(taking.data, data, "data set", f"mix.{number}.take.{index}.data")


def _model(recipe: Recipe) -> Problems:
    if recipe.model is None:
        return
    wrong = list(_named("families", recipe.model.family, "model.family"))
    yield from wrong
    parts = recipe.model
    if isinstance(parts.language_model, LanguageModelShape) and parts.language_model.hidden_size % (
        2 * parts.language_model.heads
    ):
        yield Problem("model.language_model.hidden_size", "is no multiple of 2 x heads", "change hidden_size or heads")
    if isinstance(parts.language_model, str) and not (Path(parts.language_model) / "config.json").is_file():
        yield Problem(
            "model.language_model", f"no config.json in {parts.language_model}", "name a folder that holds one"
        )
    if isinstance(parts.tower, TowerShape) and parts.tower.hidden_size % parts.tower.heads:
        yield Problem("model.tower.hidden_size", "is no multiple of heads", "change hidden_size or heads")
    if isinstance(parts.tokenizer, TokenizerShape):
        yield from _among(parts.tokenizer.mixture, [m.name for m in recipe.mix], "mixture", "model.tokenizer.mixture")
    elif not (Path(parts.tokenizer) / "tokenizer.json").is_file():
        yield Problem("model.tokenizer", f"no tokenizer.json in {parts.tokenizer}", "name a folder that holds one")
    if not wrong:
        try:
            choose("families", parts.family).settings(parts)
        except UserError as error:
            yield Problem("model.tower", f"{error.what}: {error.where}", error.fix)


def _training(recipe: Recipe) -> Problems:
    if recipe.train is None:
        return
    yield from _prompt(recipe)
    for number, stage in enumerate(recipe.train.stages):
        if stage.batch % recipe.train.processes:
            what = f"{stage.batch} cannot be shared equally by {recipe.train.processes} processes"
            yield Problem(f"train.stages.{number}.batch", what, "change batch, or train.processes")
    for number, stage in enumerate(recipe.train.stages):
        yield from _among(stage.mixture, [m.name for m in recipe.mix], "mixture", f"train.stages.{number}.mixture")
        if stage.objective == "patches" and set(stage.trains) != {"vision"}:
            what = "the objective patches trains the tower and nothing else"
            yield Problem(f"train.stages.{number}.trains", what, "write trains = { vision = ... }")
        for role in set(stage.trains) & {"fusion", "tuning"}:
            what = f"the family {recipe.model.family if recipe.model else ''} has no {role} parameters"
            yield Problem(f"train.stages.{number}.trains.{role}", what, "name vision, connector or language")
    yield from _token_budget(recipe)


def _prompt(recipe: Recipe) -> Problems:
    assert recipe.train
    wrong = list(_named("prompts", recipe.train.prompt, "train.prompt"))
    yield from wrong
    if not wrong and recipe.train.variant is not None:
        variants = choose("prompts", recipe.train.prompt).VARIANTS
        yield from _among(recipe.train.variant, variants, f"variant of {recipe.train.prompt}", "train.variant")


def image_tokens(recipe: Recipe) -> int | None:
    """Tokens of one square picture of the tower's size; None where that cannot be told."""
    if recipe.model is None:
        return None
    try:
        family = choose("families", recipe.model.family)
        settings = family.settings(recipe.model)
    except UserError:
        return None
    return int(budget(family, settings.side, settings.side, settings).tokens)


def _token_budget(recipe: Recipe) -> Problems:
    assert recipe.train
    tokens, limit = image_tokens(recipe), recipe.train.max_tokens
    if tokens is not None and tokens + SHORTEST_TURNS > limit:
        what = f"one image takes {tokens} tokens, so no question about it fits into {limit}"
        yield Problem("train.max_tokens", what, f"raise it to {tokens + SHORTEST_TURNS} at the very least")
    shape = recipe.model.language_model if recipe.model else None
    if isinstance(shape, LanguageModelShape) and shape.max_tokens < limit:
        what = f"a pack of {limit} tokens is longer than the language model's {shape.max_tokens} positions"
        yield Problem("train.max_tokens", what, "lower it, or raise model.language_model.max_tokens")


def _evaluation(recipe: Recipe) -> Problems:
    data = {entry.name for entry in recipe.ingest}
    trained = {taking.data for mixture in recipe.mix for taking in mixture.take}
    for number, evaluation in enumerate(recipe.evaluate):
        yield from _named("benchmarks", evaluation.benchmark, f"evaluate.{number}.benchmark")
        for index, name in enumerate(evaluation.data):
            where = f"evaluate.{number}.data.{index}"
            yield from _among(name, data, "data set", where)
            if name in trained:
                yield Problem(where, f"{name!r} is also trained on", "evaluate on data that no mixture takes")
    if recipe.publish and not recipe.evaluate:
        yield Problem("publish", "a card needs measured numbers", "add an [[evaluate]] part")


def describe(recipe: Recipe) -> dict[str, Any]:
    """What will happen, as JSON: the stages, and what each stage of training does."""
    train = recipe.train
    training = (
        [
            {
                "name": stage.name,
                "mixture": stage.mixture,
                "objective": stage.objective,
                "trains": dict(stage.trains),
                "optimizer": stage.optimizer,
                "steps": stage.steps,
                "most_tokens_a_step": stage.batch * train.max_tokens if stage.objective == "answers" else None,
                "images_a_step": stage.batch if stage.objective == "patches" else None,
            }
            for stage in train.stages
        ]
        if train
        else []
    )
    return {
        "recipe": recipe.name,
        "language": recipe.language,
        "stages": wanted(recipe),
        "image_tokens": image_tokens(recipe),
        "training": training,
    }


def shown(recipe: Recipe) -> Group:
    """``describe`` for a person."""
    told = describe(recipe)
    table = Table(box=None, title="training", title_justify="left")
    for column in ("stage", "mixture", "objective", "trains", "steps", "a step sees"):
        table.add_column(column, justify="right" if column == "steps" else "left")
    for stage in told["training"]:
        trains = ", ".join(f"{role} {rate:g}" for role, rate in stage["trains"].items())
        sees = (
            f"{stage['images_a_step']} images"
            if stage["images_a_step"]
            else f"≤ {stage['most_tokens_a_step']:,} tokens"
        )
        row = (stage["name"], stage["mixture"], stage["objective"], f"{trains} ({stage['optimizer']})")
        table.add_row(*row, f"{stage['steps']:,}", sees)
    lines = [f"[bold]{recipe.name}[/] ({language(recipe.language).own_name}): {' → '.join(told['stages'])}"]
    if told["image_tokens"]:
        lines.append(f"one image is {told['image_tokens']} tokens")
    return Group(*lines, *([table] if told["training"] else []), "[green]every name, path and size is bound[/]")
