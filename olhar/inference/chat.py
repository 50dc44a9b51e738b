"""Talking in the terminal: pictures, marks, questions; answers appear as they are generated."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from olhar.core import pictures
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.inference.assistant import Assistant

Media = tuple[ImageRef | VideoRef, ...]

HELP = """\
  /image FILE [FILE ...]  look at other pictures     /mark box 0.1 0.2 0.6 0.9 red   draw on the last one
  /video FOLDER           look at a folder of frames /clear  no picture              /quit  leave"""


def media(images: Sequence[Path], video: Path | None, marks: Sequence[str]) -> Media:
    """What the options of a command line show; a ``UserError`` for what is no picture, before a model is loaded."""
    shown: list[ImageRef | VideoRef] = [ImageRef(str(path)) for path in images]
    if marks and not shown:
        raise UserError("there is no picture to draw on", "--mark", "name a picture with --image")
    if marks:
        shown[-1] = ImageRef(str(images[-1]), tuple(pictures.mark(text) for text in marks))
    if video:
        shown.append(VideoRef(str(video)))
    for ref in shown:
        pictures.sizes(ref)
    return tuple(shown)


def opened(path: Path) -> Assistant:
    """The assistant in a published folder, or in the run folder that holds one."""
    inside = path / "publish" / "model"
    return Assistant.load(inside if inside.is_dir() else path)


def once(assistant: Assistant, shown: Media, question: str, max_new_tokens: int, console: Console | None) -> str:
    """One question about the pictures shown; the answer, also printed piece by piece where there is a console."""
    answer = ""
    for piece in assistant.stream([Turn("user", (*shown, question))], max_new_tokens):
        answer += piece
        if console:
            console.print(piece, end="", markup=False)
    if console:
        console.print()
    return answer.strip()


def converse(assistant: Assistant, shown: Media, max_new_tokens: int, console: Console) -> None:
    """Ask until the person leaves. Every question is asked anew about the pictures shown: a model trained on
    single questions has never seen a second one."""
    console.print(f"[dim]{HELP}[/]", highlight=False)
    while True:
        try:
            line = console.input("[bold]› [/]").strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        if line in ("/quit", "/exit"):
            return
        try:
            if line.startswith("/"):
                shown = _command(line, shown, console)
            elif line:
                once(assistant, shown, line, max_new_tokens, console)
        except UserError as error:
            console.print(str(error), style="red", markup=False)


def _words(line: str) -> list[str]:
    """Words as a shell reads them, so that names with blanks can be quoted."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UserError(f"{error} in {line!r}", "/image", "close the quotation mark") from error


def _command(line: str, shown: Media, console: Console) -> Media:
    """What is shown after a command."""
    name, _, rest = line.partition(" ")
    if name == "/image" and rest:
        return media([Path(path) for path in _words(rest)], None, [])
    if name == "/video" and rest:
        return media([], Path(rest.strip()), [])
    if name == "/clear":
        return ()
    if name == "/mark" and rest:
        if not shown or not isinstance(shown[-1], ImageRef):
            raise UserError("there is no picture to draw on", "/mark", "show one with /image FILE")
        return (*shown[:-1], ImageRef(shown[-1].path, (*shown[-1].marks, pictures.mark(rest))))
    console.print(HELP, style="dim", highlight=False)
    return shown
