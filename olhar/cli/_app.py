"""What all commands share: the app, options of the same meaning, and bringing stages to their end."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from olhar.core import recipe as recipes
from olhar.core.environment import beside_the_first
from olhar.core.store import RunFolder


class _Commands(TyperGroup):
    """Commands that say what to do after Ctrl-C, which typer would call an abortion without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            Console(stderr=True).print("stopped; give the same command again to continue")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="olhar",
    cls=_Commands,
    help="Build a vision-language assistant that speaks your community's own language.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console(highlight=False)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, for example recipes/world-pt.toml")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="change one value: --set train.stages.0.steps=10")]
Runs = Annotated[Path, typer.Option("--runs", help="folder that holds the run folders")]
Redo = Annotated[str | None, typer.Option("--redo", help="discard this stage and all after it first")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


def walk_recipe(
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
    walk(read, run, live.track, live.say, stages, redo, live.progress)
    if beside_the_first():
        raise typer.Exit
    return run


def one_stage(
    name: str, recipe: Path, overrides: list[str] | None, runs: Path, redo: str | None, as_json: bool
) -> None:
    run = walk_recipe(recipe, overrides or [], runs, [name], redo, as_json)
    if as_json:
        typer.echo((run.path / name / "manifest.json").read_text(encoding="utf-8"))


def stage_command(name: str, does: str) -> None:
    """Register ``olhar <name> RECIPE``: run this stage, and what it needs if that is not finished."""

    def command(
        recipe: RecipePath,
        overrides: Overrides = None,
        runs: Runs = Path("runs"),
        redo: Redo = None,
        as_json: AsJson = False,
    ) -> None:
        one_stage(name, recipe, overrides, runs, redo, as_json)

    app.command(name, help=does)(command)
