"""Samples in other languages become the recipe's: every sentence once, checked, the rest untouched.

Written for each translated data set: ``<data>.jsonl``, whose samples name their ``parent``, and beside it a line for
everything to look at (``….flagged.jsonl``) and what was done with what (``….manifest.json``). Translations are kept in
``translations.sqlite`` beside the run folders, for all runs: what was paid for once is never asked for again.
"""

from contextlib import closing
from typing import Any

from pydantic import ValidationError

from olhar.core.errors import UserError
from olhar.core.recipe import DataSet, Recipe
from olhar.core.store import read_json
from olhar.stages import Context
from olhar.translation.engines import instructed, opened
from olhar.translation.passes import Settings
from olhar.translation.policies import Policies
from olhar.translation.work import MANIFEST, Outcome, beside, translate_file

NEEDS = ("ingest",)
CACHE = "translations.sqlite"


def config(recipe: Recipe) -> dict[str, Any] | None:
    if recipe.translate is None:
        return None
    return {"translate": recipe.translate.model_dump(mode="json"), "data": [data.name for data in translated(recipe)]}


def outside(recipe: Recipe) -> dict[str, str]:
    return {}


def translated(recipe: Recipe) -> list[DataSet]:
    """The data sets that are not in the recipe's language."""
    if recipe.translate is None:
        return []
    return [data for data in recipe.ingest if (data.language or recipe.language) != recipe.language]


def settings(recipe: Recipe, source: str) -> Settings:
    """How the recipe wants texts of a language translated; raises ``UserError`` for a policy that means nothing."""
    assert recipe.translate
    said = recipe.translate
    try:
        policies = Policies(**said.policies)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        what, fix = f"{place}: {error.errors()[0]['msg']}", "see docs/translate.md, Policies"
        raise UserError(what, "translate.policies", fix) from error
    options, target = instructed(said.engine, said.options, said.to or recipe.language, policies)
    return Settings(source, target, policies, options, batch=said.batch, max_cost=said.max_cost)


def run(context: Context) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for data in translated(context.recipe):
        counts[data.name] = _translate(data, context)
    return {"translated": counts}


def _translate(data: DataSet, context: Context) -> dict[str, int]:
    """One data set; one that an interrupted run completed is kept."""
    target = context.folder / f"{data.name}.jsonl"
    if target.exists():
        return dict(read_json(beside(target, MANIFEST))["counts"])
    assert context.recipe.translate and data.language
    said, how = context.recipe.translate, settings(context.recipe, data.language)
    given, cache = context.run.path / "ingest" / f"{data.name}.jsonl", context.run.path.parent / CACHE

    def progress(what: str, done: int, total: int | None) -> None:
        context.progress(f"{data.name}: {what}", done, total)

    with closing(opened(said.engine, how.options, how.source, how.target)) as engine:
        outcome = translate_file(given, target, engine, cache, how, progress)
    context.say(_told(data, outcome))
    context.say(f"  look at it: olhar review {target} --html review.html")
    return dict(outcome.counts)


def _told(data: DataSet, outcome: Outcome) -> str:
    counts = outcome.counts
    flags = sum(count for name, count in counts.items() if name.startswith("flags"))
    return (
        f"  {data.name}: {counts['segments']:,} segments, {counts['unique segments']:,} distinct, {flags:,} to look at"
    )
