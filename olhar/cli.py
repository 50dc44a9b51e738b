"""One command per stage, plus plan, run, chat, list and env. Imports no torch: help answers at once."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from olhar import __version__
from olhar.core import choices
from olhar.core import recipe as recipes
from olhar.core.errors import OlharError, UserError
from olhar.core.store import RunFolder

app = typer.Typer(
    name="olhar",
    help="Build a vision-language assistant that speaks your community's own language.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console(highlight=False)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, for example recipes/world-pt.toml")]
Overrides = Annotated[list[str], typer.Option("--set", help="change one value: --set train.stages.0.steps=10")]
Runs = Annotated[Path, typer.Option("--runs", help="folder that holds the run folders")]
Redo = Annotated[str | None, typer.Option("--redo", help="discard this stage and all after it first")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


def main() -> None:
    """Run the command line; a person's mistake ends in three lines and exit code 2."""
    try:
        app()
    except UserError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red bold]error:[/] {_escaped(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped; give the same command again to continue")
        sys.exit(130)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _walk(
    recipe: Path, overrides: list[str], runs: Path, stages: list[str] | None, redo: str | None, as_json: bool = False
) -> RunFolder:
    """Bring stages of a recipe to their end, telling a person (or, with JSON, a program) what happens."""
    from olhar.reports.live import Live
    from olhar.stages import _plan
    from olhar.stages._walk import walk

    read = recipes.load(recipe, overrides)
    _plan.check(read, recipe)
    run = RunFolder(runs / read.name)
    live = Live(Console(stderr=True, highlight=False) if as_json else console)
    walk(read, run, live.track, live.say, stages, redo)
    return run


def _stage(name: str, does: str) -> None:
    """Register ``olhar <name> RECIPE``: run this stage, and what it needs if that is not finished."""

    def command(
        recipe: RecipePath,
        overrides: Overrides = [],
        runs: Runs = Path("runs"),
        redo: Redo = None,
        as_json: AsJson = False,
    ) -> None:
        run = _walk(recipe, overrides, runs, [name], redo, as_json)
        if as_json:
            typer.echo((run.path / name / "manifest.json").read_text(encoding="utf-8"))

    app.command(name, help=does)(command)


for _name, _does in (
    ("ingest", "Read foreign data sets as samples."),
    ("mix", "Make training sets of checked samples."),
    ("train", "Train the recipe's stages."),
    ("evaluate", "Measure what was learned, beside blind controls."),
    ("publish", "Write a folder that plain transformers loads, with its card."),
):
    _stage(_name, _does)


@app.command("run")
def run_all(
    recipe: RecipePath, overrides: Overrides = [], runs: Runs = Path("runs"), redo: Redo = None, as_json: AsJson = False
) -> None:
    """Walk all stages of a recipe; what is finished is skipped, what was interrupted goes on."""
    run = _walk(recipe, overrides, runs, None, redo, as_json)
    scores = run.path / "evaluate" / "scores.json"
    if as_json:
        typer.echo(scores.read_text(encoding="utf-8") if scores.exists() else "[]")
        return
    if scores.exists():
        console.print(f"\nreport: {run.path / 'evaluate' / 'report.html'}")
    if (run.path / "publish").exists():
        console.print(f"talk with it: olhar chat {run.path}")


if __name__ == "__main__":
    main()
