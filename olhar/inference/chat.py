"""Talking in the terminal: pictures, marks, questions; answers appear as they are generated."""

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from olhar.core.errors import UserError
from olhar.core.types import Turn
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.inference.stream import Stream
from olhar.inference.turns import Media, asked, marked, media
from olhar.languages import language

__all__ = ["Media", "converse", "keeps_history", "media", "once", "once_json"]

HELP = """\
  /image FILE [FILE ...]   show other pictures        /mark box 0.1 0.2 0.6 0.9 red   draw on the last one
  /video FILE|FOLDER       show a video               /clear    show nothing more
  /set temperature=0.7     how to answer              /retry    another answer      /history  what was said
  /new                     begin a new conversation   /quit     leave               Ctrl-C    stops an answer"""


def once(assistant: Assistant, shown: Media, question: str, generation: Generation, console: Console | None) -> str:
    """One question about the pictures shown; the answer, also printed piece by piece where there is a console."""
    stream = _reply(assistant, shown, question, generation)
    for piece in stream:
        if console:
            _say(console, piece)
    if console:
        console.print()
    return stream.result.text


def once_json(assistant: Assistant, model: str, shown: Media, question: str, generation: Generation) -> dict[str, Any]:
    """One question, its answer and its numbers, for a program; ``model`` is the name to tell."""
    stream = _reply(assistant, shown, question, generation)
    text, answer = stream.text(), stream.result
    return {
        "model": model,
        "question": question,
        "answer": text,
        "images": [ref.path for ref in shown],
        "tokens_in": answer.tokens_in,
        "tokens_out": len(answer.ids),
        "seconds": round(answer.seconds, 3),
        "seconds_to_first_token": round(answer.seconds_to_first_token, 3),
        "stopped": answer.stopped,
    }


def _reply(assistant: Assistant, shown: Media, question: str, generation: Generation) -> Stream:
    return assistant.reply([asked(question, shown, assistant.checkpoint.settings)], generation)


def _say(console: Console, piece: str) -> None:
    console.print(piece, end="", markup=False, highlight=False, soft_wrap=True)


def keeps_history(assistant: Assistant) -> bool:
    """Whether the checkpoint's prompt knows conversations of several turns."""
    encoder, spoken = assistant.encoder, assistant.checkpoint.spoken
    if getattr(encoder.prompt, "SINGLE_QUESTIONS", False):
        return False
    turns = (Turn("user", ("?",)), Turn("assistant", ("!",)), Turn("user", ("?",)))
    try:
        encoder.prompt.render(turns, language(spoken.language), variant=spoken.variant, open=True)
    except UserError:
        return False
    return True


def converse(
    assistant: Assistant,
    shown: Media,
    generation: Generation,
    console: Console,
    history: bool | None = None,
    lines: Iterator[str] | None = None,
) -> None:
    """Ask until the person leaves.

    Args:
        history: whether a question continues the conversation; None asks the checkpoint's prompt. Without it every
            question is asked anew about the pictures shown: what a model trained on single questions expects.
        lines: what is typed; None reads standard input. There, without a terminal, one question a line is answered
            with one line or more, nothing else is printed, and a mistake ends it with a ``UserError``.
    """
    several = keeps_history(assistant) if history is None else history
    talk = _Talk(assistant, shown, generation, console, several)
    if lines is None and not sys.stdin.isatty():
        for line in sys.stdin:
            if not talk.heard(line.strip()):
                return
        return
    console.print(f"[dim]{HELP}[/]", highlight=False)
    for line in lines if lines is not None else _typed(console):
        try:
            if not talk.heard(line.strip()):
                return
        except UserError as error:
            console.print(str(error), style="red", markup=False)


def _typed(console: Console) -> Iterator[str]:
    while True:
        try:
            line = console.input("[bold]› [/]")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        yield line


class _Talk:
    """A conversation in the terminal. ``shown`` are the pictures in view; with history they go with one question."""

    def __init__(
        self, assistant: Assistant, shown: Media, generation: Generation, console: Console, several: bool
    ) -> None:
        self.chat = assistant.chat(generation=generation)
        self.chat.shown = self.shown = shown
        self.console, self.several = console, several
        self._commands: dict[str, Callable[[str], None]] = {
            "/image": self._image,
            "/video": self._video,
            "/mark": self._mark,
            "/clear": self._clear,
            "/new": self._new,
            "/retry": self._retry,
            "/set": self._set,
            "/history": self._history,
        }

    def heard(self, line: str) -> bool:
        """Act on a line; False when the person leaves."""
        name, _, rest = line.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        if name in self._commands:
            self._commands[name](rest.strip())
        elif line.startswith("/"):
            self._help()
        elif line:
            self._ask(line)
        return True

    def _ask(self, question: str) -> None:
        if not self.several:
            self.chat.new(self.shown)
        self._answer(self.chat.stream(question))

    def _answer(self, stream: Stream) -> None:
        """Print an answer as it comes; Ctrl-C stops it, and what was said stands."""
        try:
            for piece in stream:
                _say(self.console, piece)
        except KeyboardInterrupt:
            stream.close()
            self.console.print(" [dim](stopped)[/]", end="")
        self.console.print()

    def _show(self, shown: Media) -> None:
        self.shown = self.chat.shown = shown

    def _image(self, rest: str) -> None:
        if rest:
            self._show(media(_words(rest)))
        else:
            self._help()

    def _video(self, rest: str) -> None:
        words = _words(rest)
        if words:
            self._show(media(video=words[0] if len(words) == 1 else rest))
        else:
            self._help()

    def _mark(self, rest: str) -> None:
        """On the last picture; one that was asked about already is shown again, marked."""
        if not rest:
            self._help()
            return
        self.shown = marked(self.shown, rest)
        waiting = max(len(self.chat.shown), 1)
        self.chat.shown = self.shown[-waiting:]

    def _clear(self, rest: str) -> None:
        self._show(())

    def _new(self, rest: str) -> None:
        self.chat.new(self.shown)

    def _retry(self, rest: str) -> None:
        self._answer(self.chat.retry())

    def _set(self, rest: str) -> None:
        """``name=value`` for each change; nothing tells what is set."""
        pairs = [word.partition("=") for word in _words(rest)]
        self.chat.generation = self.chat.generation.changed({name: value for name, _, value in pairs})
        told = " ".join(f"{name}={value}" for name, value in asdict(self.chat.generation).items())
        self.console.print(told, style="dim", markup=False, highlight=False, soft_wrap=True)

    def _history(self, rest: str) -> None:
        for turn in self.chat.turns:
            names = " ".join(f"[{ref.path}]" for ref in turn.media)
            text = f"› {names} {turn.text.strip()}" if turn.role == "user" else turn.text
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _help(self) -> None:
        self.console.print(HELP, style="dim", highlight=False)


def _words(line: str) -> Sequence[str]:
    """Words as a shell reads them, so that names with blanks can be quoted."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UserError(f"{error} in {line!r}", "what was typed", "close the quotation mark") from error
