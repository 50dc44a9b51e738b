"""One command per stage, plus plan, run, convert, chat, list and env. Imports no torch: help answers at once."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from olhar.core import choices
from olhar.core import recipe as recipes
from olhar.core.errors import UserError
from olhar.core.store import RunFolder
from olhar.core.types import VideoRef

app = typer.Typer(
    name="olhar",
    help="Build a vision-language assistant that speaks your community's own language.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
console = Console(highlight=False)

FOLDERS = ("languages", "sources", "checks", "prompts", "families", "benchmarks", "metrics")

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="a recipe, for example recipes/world-pt.toml")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="change one value: --set train.stages.0.steps=10")]
Runs = Annotated[Path, typer.Option("--runs", help="folder that holds the run folders")]
Redo = Annotated[str | None, typer.Option("--redo", help="discard this stage and all after it first")]
PromptName = Annotated[
    str | None, typer.Option("--prompt", help="NAME or NAME/VARIANT instead of the checkpoint's own: tucano/chat")
]
PromptLanguage = Annotated[str | None, typer.Option("--language", help="whose role words and system text it writes")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


def main() -> None:
    """Run the command line; a person's mistake ends in three lines and exit code 2."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours is the one bar a person needs
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


def _one_stage(
    name: str, recipe: Path, overrides: list[str] | None, runs: Path, redo: str | None, as_json: bool
) -> None:
    run = _walk(recipe, overrides or [], runs, [name], redo, as_json)
    if as_json:
        typer.echo((run.path / name / "manifest.json").read_text(encoding="utf-8"))


def _stage_command(name: str, does: str) -> None:
    """Register ``olhar <name> RECIPE``: run this stage, and what it needs if that is not finished."""

    def command(
        recipe: RecipePath,
        overrides: Overrides = None,
        runs: Runs = Path("runs"),
        redo: Redo = None,
        as_json: AsJson = False,
    ) -> None:
        _one_stage(name, recipe, overrides, runs, redo, as_json)

    app.command(name, help=does)(command)


@app.command()
def plan(recipe: RecipePath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check every name, path, size and token budget of a recipe, and tell what it would do. Needs no torch."""
    from olhar.stages import _plan

    read = recipes.load(recipe, overrides or [])
    _plan.check(read, recipe)
    if as_json:
        typer.echo(json.dumps(_plan.describe(read), ensure_ascii=False, indent=1))
    else:
        console.print(_plan.shown(read))


@app.command("run")
def run_all(
    recipe: RecipePath,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    redo: Redo = None,
    as_json: AsJson = False,
) -> None:
    """Walk all stages of a recipe; what is finished is skipped, what was interrupted goes on."""
    run = _walk(recipe, overrides or [], runs, None, redo, as_json)
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


_stage_command("ingest", "Read foreign data sets as samples.")


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
        _one_stage("check", what, overrides, runs, redo, as_json)
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


_stage_command("mix", "Make training sets of checked samples.")
_stage_command("train", "Train the recipe's stages.")
_stage_command("evaluate", "Measure what was learned, beside blind controls.")
_stage_command("publish", "Write a folder that plain transformers loads, with its card.")


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="a published checkpoint: a folder, or a hub id")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="the folder to write; it must not exist yet")],
    tower: Annotated[str | None, typer.Option("--tower", help="the vision tower's folder or hub id")] = None,
    base: Annotated[str | None, typer.Option("--base", help="what an adapter or projector was trained on")] = None,
    prompt: PromptName = None,
    language: PromptLanguage = None,
    as_json: AsJson = False,
) -> None:
    """Turn a published checkpoint of any layout into a folder that plain transformers loads, without remote code."""
    from olhar.conversion import convert as conversion
    from olhar.conversion import report
    from olhar.reports.live import Live

    live = Live(Console(stderr=True, highlight=False))
    done = conversion.convert(source, target, tower, base, prompt, language, live.track)
    if as_json:
        typer.echo(json.dumps(done.to_json(), ensure_ascii=False, indent=1))
        return
    console.print(report.table(done))
    console.print(f"talk with it: [bold]olhar chat {target}[/]")


@app.command()
def chat(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a published or converted folder, or a finished run")],
    images: Annotated[list[Path] | None, typer.Option("--image", "-i", help="a picture; may be repeated")] = None,
    video: Annotated[Path | None, typer.Option("--video", help="a video file, or a folder of frames")] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="how many frames of the video are seen")] = None,
    marks: Annotated[
        list[str] | None, typer.Option("--mark", help='on the last picture: "box 0.1 0.2 0.6 0.9 red"')
    ] = None,
    question: Annotated[str | None, typer.Option("--question", "-q", help="ask once and end")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="length of an answer at most")] = 512,
    temperature: Annotated[float, typer.Option("--temperature", help="0: always the most probable token")] = 0.0,
    top_p: Annotated[float | None, typer.Option("--top-p", help="draw among tokens of this probability")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="draw among so many tokens")] = None,
    beams: Annotated[int, typer.Option("--beams", help="beam search; 1: none")] = 1,
    repetition_penalty: Annotated[float, typer.Option("--repetition-penalty", help="of the answer's own tokens")] = 1.0,
    seed: Annotated[int | None, typer.Option("--seed", help="draw the same answer again")] = None,
    prompt: PromptName = None,
    language: PromptLanguage = None,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    attention: Annotated[str | None, typer.Option("--attention", help="sdpa, eager, flash_attention_2")] = None,
    quantize: Annotated[str | None, typer.Option("--quantize", help="4bit or 8bit")] = None,
    as_json: AsJson = False,
) -> None:
    """Talk with a published or converted model about pictures and videos, in the terminal."""
    from olhar import load
    from olhar.inference import chat as talking
    from olhar.inference.generation import Generation

    generation = Generation(max_new_tokens, temperature, top_p, top_k, beams, repetition_penalty, seed)
    if as_json and question is None:
        raise UserError("--json answers one question", "olhar chat", 'ask it with -q "..."')
    shown = talking.media(images or [], VideoRef(str(video), frames) if video else None, marks or [])
    options = {"dtype": dtype, "device": device, "attention": attention, "quantize": quantize}
    assistant = load(str(model), prompt=prompt, language=language, **options)
    if question is None:
        talking.converse(assistant, shown, generation, console)
    elif as_json:
        answer = talking.once_json(assistant, str(model), shown, question, generation)
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        talking.once(assistant, shown, question, generation, console)


@app.command("list")
def list_choices(
    folder: Annotated[str | None, typer.Argument(help="languages, sources, checks, prompts, families, ...")] = None,
    as_json: AsJson = False,
) -> None:
    """List what can be chosen: every file of a folder is one choice."""
    if folder is not None and folder not in FOLDERS:
        raise UserError(
            f"there is nothing to list called {folder!r}", "olhar list", f"name one of {', '.join(FOLDERS)}"
        )
    there = {name: choices.names(name) for name in ([folder] if folder else FOLDERS)}
    if folder is None:
        there["recipes"] = sorted(str(path) for path in Path("recipes").glob("*.toml"))
    if as_json:
        typer.echo(json.dumps(there, indent=1))
        return
    for name, found in there.items():
        console.print(f"[bold]{name}[/]  {', '.join(found)}")


@app.command()
def env(as_json: AsJson = False) -> None:
    """What a bug report needs: versions, processor, memory."""
    from olhar.core import environment

    facts = environment.facts()
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        console.print(f"{name:<14} {value}")


if __name__ == "__main__":
    main()
