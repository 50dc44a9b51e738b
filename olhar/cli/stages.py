"""The stages in their order, and plan and run, which look at or walk all of them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from olhar.cli._app import (
    AsJson,
    Overrides,
    RecipePath,
    Redo,
    Runs,
    app,
    console,
    one_stage,
    stage_command,
    walk_recipe,
)
from olhar.core import recipe as recipes


@app.command()
def plan(recipe: RecipePath, overrides: Overrides = None, runs: Runs = Path("runs"), as_json: AsJson = False) -> None:
    """Check a recipe, and tell what it would do: what learns, tokens, steps, memory, hours, energy. Needs no torch."""
    from olhar.stages import _binding, _forecast, _plan, _shown

    read = recipes.load(recipe, overrides or [])
    _plan.check(read, recipe, planning=True)
    told = _forecast.describe(read, runs)
    _plan.check_costs(told, recipe)
    warnings = _binding.warnings(read)
    if as_json:
        typer.echo(json.dumps(told | {"warnings": warnings}, ensure_ascii=False, indent=1))
    else:
        console.print(_shown.shown(told, warnings))


@app.command("run")
def run_all(
    recipe: RecipePath,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    redo: Redo = None,
    as_json: AsJson = False,
) -> None:
    """Walk all stages of a recipe; what is finished is skipped, what was interrupted goes on."""
    run = walk_recipe(recipe, overrides or [], runs, None, redo, as_json)
    scores = run.path / "evaluate" / "scores.json"
    if as_json:
        typer.echo(scores.read_text(encoding="utf-8") if scores.exists() else "[]")
        return
    if scores.exists():
        from olhar.core.types import Score
        from olhar.reports.scores import terminal_table

        found = [Score(**row) for row in json.loads(scores.read_text(encoding="utf-8"))]
        console.print(terminal_table(found, found[0].split))
        console.print(f"report: {run.path / 'evaluate' / 'report.html'}")
    if (run.path / "publish").exists():
        console.print(f"talk with it: [bold]olhar chat {run.path}[/]")


stage_command("ingest", "Read foreign data sets as samples.")


@app.command()
def translate(
    given: Annotated[Path, typer.Argument(metavar="RECIPE|INPUT", help="a recipe (.toml), or a file of records")],
    output: Annotated[Path | None, typer.Argument(metavar="OUTPUT", help="the file to write, of the same form")] = None,
    to: Annotated[str | None, typer.Option("--to", help="language, with a variety if one is meant: pt, pt-PT")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="see `olhar list translators`")] = None,
    source: Annotated[str, typer.Option("--from", help="the language of the input")] = "en",
    option: Annotated[list[str] | None, typer.Option("--option", help="of the engine: name=value")] = None,
    policies: Annotated[
        Path | None, typer.Option("--policies", help="TOML: quotes, answers, glossary, partitions")
    ] = None,
    quotes: Annotated[str | None, typer.Option("--quotes", help="keep, translate or both")] = None,
    answers: Annotated[str | None, typer.Option("--answers", help="translate or keep")] = None,
    cache: Annotated[Path, typer.Option("--cache", help="where translations are kept")] = Path("translations.sqlite"),
    max_cost: Annotated[float | None, typer.Option("--max-cost", min=0, help="in the engine's currency")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="sentences a call")] = None,
    workers: Annotated[str | None, typer.Option("--workers", help="calls beside each other; or ray, ray:8")] = None,
    share: Annotated[str | None, typer.Option("--shard", help="this machine's share of the sentences: 3/8")] = None,
    shards: Annotated[Path | None, typer.Option("--merge", help="put together from the shard files here")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="ask again for what was refused")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="time and money, after a probe of 200 sentences; writes nothing")
    ] = False,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    redo: Redo = None,
    as_json: AsJson = False,
) -> None:
    """Translate a data set with nothing broken: what cannot be kept whole stays in its language and is listed."""
    if given.suffix == ".toml":
        one_stage("translate", given, overrides, runs, redo, as_json)
        return
    from olhar.reports.live import Live
    from olhar.translation import bulk, commands
    from olhar.translation.passes import Settings

    who = bulk.workers(workers) if workers else bulk.HERE
    commands.at_most_one(
        {"--estimate": estimate, "--shard": share, "--merge": shards, "--workers ray": who.ray},
    )
    chosen = commands.policies(policies, quotes, answers)
    asked = commands.instructed(commands.task(given, output, source, to, engine, option or [], cache), chosen)
    settings = Settings(
        asked.source,
        asked.target,
        chosen,
        asked.options,
        batch=batch,
        workers=None if who.ray else who.count,
        max_cost=max_cost,
        retry_failed=retry_failed,
    )
    progress = Live(Console(stderr=True, highlight=False)).progress
    done = commands.done(asked, settings, progress, who, shards, share, estimate)
    if as_json:
        typer.echo(json.dumps(done, ensure_ascii=False, indent=1))
    else:
        console.print(commands.told(done))
    raise typer.Exit(1 if commands.left_in_source(done) else 0)


@app.command()
def check(
    what: Annotated[Path, typer.Argument(metavar="RECIPE|FILE", help="a recipe (.toml), or a data file to look at")],
    images: Annotated[Path | None, typer.Option("--images", help="folder the file's image paths start from")] = None,
    source: Annotated[str, typer.Option("--source", help="how to read the file; see `olhar list sources`")] = "llava",
    language: Annotated[str, typer.Option("--language", help="the language of the file's texts")] = "en",
    page: Annotated[Path | None, typer.Option("--html", help="also write the findings as a page")] = None,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    redo: Redo = None,
    as_json: AsJson = False,
) -> None:
    """Look at every sample: structure, turns, placeholders, images. Exit code 1 when a file has errors."""
    if what.suffix == ".toml":
        one_stage("check", what, overrides, runs, redo, as_json)
        return
    from olhar.reports.live import Live
    from olhar.stages import check as stage

    live = Live(Console(stderr=True, highlight=False))
    report = stage.check_file(what, source, language, images, live.track)
    if page:
        stage.write_page(report, page, str(what))
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
    else:
        console.print(report.table())
    raise typer.Exit(1 if report.rejected or report.unread else 0)


stage_command("mix", "Make training sets of checked samples.")
stage_command("train", "Train the recipe's stages.")
stage_command("evaluate", "Measure what was learned, beside blind controls.")
stage_command("publish", "Write a folder that plain transformers loads, with its card.")
