"""Binding a recipe before anything runs: every name, path, size and token budget, all errors at once, no torch.

Here: languages, data, translation, checks, mixtures, evaluation. ``_binding`` binds the model and its training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from olhar.checks import thresholds_of
from olhar.core.choices import choose
from olhar.core.errors import Problem, RecipeError, UnknownName, UserError
from olhar.core.recipe import DataSet, Recipe, problems
from olhar.languages import language
from olhar.stages import _binding
from olhar.stages._binding import Problems, among, named
from olhar.translation.engines import engine_options, instructed
from olhar.translation.policies import Policies


def check(recipe: Recipe, path: Path, planning: bool = False) -> None:
    """Bind the recipe.

    Args:
        planning: data that says what to ``expect`` of it, parts that are known here and packages may still be
            missing; ``olhar plan`` lists them as what is to be fetched.

    Raises:
        RecipeError: naming every problem at its dotted location.
    """
    parts = (
        _languages(recipe),
        _data(recipe, planning),
        _translating(recipe),
        _checks(recipe),
        _mixtures(recipe),
        _binding.model(recipe, planning),
        _binding.training(recipe, planning),
        _evaluation(recipe),
    )
    found = [problem for part in parts for problem in part]
    if found:
        raise RecipeError(str(path), found)


def check_costs(told: Mapping[str, Any], path: Path) -> None:
    """Raises ``RecipeError`` where what ``_forecast.describe`` tells does not fit on the disk."""
    features = told.get("feature_cache")
    if features and features.get("fits") is False:
        need, free = (features[name] / 1e9 for name in ("bytes", "free_bytes"))
        what = f"the features take about {need:,.1f} GB, and {features['folder']} has {free:,.1f} GB free"
        fix = "free some space, give another folder with --runs, or set it to false"
        raise RecipeError(str(path), [Problem("train.cache_features", what, fix)])


def _languages(recipe: Recipe) -> Problems:
    yield from named("languages", recipe.language, "language")
    for number, data in enumerate(recipe.ingest):
        if data.language:
            yield from named("languages", data.language, f"ingest.{number}.language")


def _data(recipe: Recipe, planning: bool) -> Problems:
    for number, data in enumerate(recipe.ingest):
        where = f"ingest.{number}"
        wrong = list(named("sources", data.source, f"{where}.source"))
        yield from wrong
        if not wrong:
            yield from _source_options(data, recipe, where)
        if data.path and not data.path.exists() and not (planning and data.expect):
            fix = "fetch it first" if data.expect else "paths are relative to the recipe's folder"
            yield Problem(f"{where}.path", f"{data.path} does not exist", fix)


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
    yield from named("translators", said.engine, "translate.engine")
    try:
        engine_options(said.engine, said.options)
        instructed(said.engine, said.options, said.to or recipe.language, Policies(**said.policies))
    except UnknownName:
        return  # told above
    except UserError as error:
        yield Problem("translate.options", error.what, error.fix)
    except ValidationError as error:
        yield from problems(error, Policies, "translate.policies")


def _checks(recipe: Recipe) -> Problems:
    for number, name in enumerate(recipe.check.checks):
        wrong = list(named("checks", name, f"check.checks.{number}"))
        yield from wrong
        given = recipe.check.thresholds.get(name, {})
        for unknown in [] if wrong else sorted(given.keys() - thresholds_of(name).keys()):
            known = ", ".join(thresholds_of(name)) or "it has none"
            yield Problem(f"check.thresholds.{name}.{unknown}", "there is no such threshold", f"there are: {known}")


def _mixtures(recipe: Recipe) -> Problems:
    data = [entry.name for entry in recipe.ingest]
    for number, mixture in enumerate(recipe.mix):
        for index, taking in enumerate(mixture.take):
            yield from among(taking.data, data, "data set", f"mix.{number}.take.{index}.data")


def _evaluation(recipe: Recipe) -> Problems:
    data = {entry.name for entry in recipe.ingest}
    trained = {taking.data for mixture in recipe.mix for taking in mixture.take}
    for number, evaluation in enumerate(recipe.evaluate):
        yield from named("benchmarks", evaluation.benchmark, f"evaluate.{number}.benchmark")
        for index, name in enumerate(evaluation.data):
            where = f"evaluate.{number}.data.{index}"
            yield from among(name, data, "data set", where)
            if name in trained:
                yield Problem(where, f"{name!r} is also trained on", "evaluate on data that no mixture takes")
    if recipe.publish and not recipe.evaluate:
        yield Problem("publish", "a card needs measured numbers", "add an [[evaluate]] part")
