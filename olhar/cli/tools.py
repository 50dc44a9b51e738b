"""Translations to review; checkpoints to convert and to talk with; what can be chosen; what a bug report needs."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from olhar.cli._app import AsJson, app, console
from olhar.core import choices
from olhar.core.errors import UserError
from olhar.core.types import VideoRef

FOLDERS = (
    "languages",
    "sources",
    "translators",
    "checks",
    "prompts",
    "families",
    "benchmarks",
    "metrics",
)
PromptName = Annotated[
    str | None, typer.Option("--prompt", help="NAME or NAME/VARIANT instead of the checkpoint's own: tucano/chat")
]
PromptLanguage = Annotated[str | None, typer.Option("--language", help="whose role words and system text it writes")]


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


@app.command()
def review(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="a file that `olhar translate` wrote")],
    html: Annotated[Path | None, typer.Option("--html", help="write the page to look at")] = None,
    sample: Annotated[int, typer.Option("--sample", min=0, help="texts drawn at random, beside the worst")] = 100,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of that drawing")] = 0,
    export: Annotated[Path | None, typer.Option("--export", help=".csv, .argilla.json or .labelstudio.json")] = None,
    everything: Annotated[bool, typer.Option("--all", help="export every sentence, not those of the page")] = False,
    given: Annotated[Path | None, typer.Option("--import", help="corrections, in one of these forms")] = None,
    who: Annotated[str, typer.Option("--who", help="who corrected, where the file does not say")] = "",
) -> None:
    """Look at a translation, hand it to people, and take their corrections, which win over every engine for ever."""
    from olhar.reports.live import Live
    from olhar.reports.review import write_page
    from olhar.translation import corrections, exchange
    from olhar.translation import review as reviewing
    from olhar.translation.translated import open_translated

    found = open_translated(output)
    live = Live(Console(stderr=True, highlight=False))
    if given is not None:
        taken = corrections.import_into(given, found, who)
        for refused in taken.refused:
            console.print(f"row {refused.number} is refused: {'; '.join(refused.reasons)}", markup=False)
        console.print(f"{taken.kept:,} corrections are kept, {taken.already:,} were kept before")
        console.print(f"to use them, remove {output} and translate {found.input} again: no engine is asked")
        raise typer.Exit(1 if taken.refused else 0)
    seen = reviewing.review(found, sample=sample, seed=seed, track=lambda items: live.track(items, "look at texts"))
    if html is not None:
        write_page(seen, html)
        console.print(f"page: {html}")
    if export is not None:
        rows = reviewing.all_rows(found) if everything else reviewing.rows_shown(seen)
        console.print(f"{exchange.export(export, rows):,} sentences in {export}")
    if html is None and export is None:
        console.print(f"{seen.tally.texts:,} texts; --html FILE writes the page, --export FILE what people correct")


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
