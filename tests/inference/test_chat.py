"""Talking in the terminal: what is shown, what is asked, and mistakes that end no conversation."""

import io
import signal
import threading
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from rich.console import Console

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.inference import chat
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.inference.stream import Stream

PICTURE = Callable[[int], str]
Conversation = Sequence[Turn]
SHORT = Generation(max_new_tokens=5)


class Parrot:
    """An assistant's stand-in for its model: says how many pictures it was shown last and what it was asked."""

    def __init__(self, assistant: Assistant) -> None:
        self.asked: list[Conversation] = []
        self.how: list[Generation] = []
        self.assistant = assistant
        assistant.reply = self.reply  # type: ignore[method-assign]

    def reply(
        self, conversation: Conversation, generation: Generation, cache: Any = None, finished: Any = lambda _: None
    ) -> Stream:
        self.asked.append(conversation)
        self.how.append(generation)
        turn = conversation[-1]
        text = f"{len(turn.media)} [b] {turn.text.strip()}</s>"
        ids = self.assistant.checkpoint.tokenizer.encode(text, add_special_tokens=False).ids
        return Stream(lambda streamer, stopping: ids, self.assistant._ending, 7, time.monotonic(), finished)


@pytest.fixture
def parrot(spoken_as: Callable[..., Assistant]) -> Parrot:
    return Parrot(spoken_as("vicuna", "v1"))


@pytest.fixture
def frames(tmp_path: Path, picture: PICTURE) -> str:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "0.png").write_bytes(Path(picture(3)).read_bytes())
    return str(tmp_path / "frames")


def conversed(parrot: Parrot, lines: list[str], shown: chat.Media = (), history: bool | None = None) -> str:
    """What a person who types these lines sees."""
    console = Console(file=StringIO(), width=300)
    chat.converse(parrot.assistant, shown, SHORT, console, history, iter(lines))
    return cast(StringIO, console.file).getvalue()


def told(parrot: Parrot) -> list[list[tuple[str, int]]]:
    """Of every conversation that was to be answered, each user turn's text and number of pictures."""
    return [
        [(turn.text.strip(), len(turn.media)) for turn in conversation if turn.role == "user"]
        for conversation in parrot.asked
    ]


def test_one_question(parrot: Parrot, picture: PICTURE) -> None:
    console = Console(file=StringIO())
    shown = chat.media(picture(1))
    assert chat.once(parrot.assistant, shown, "Que é?", SHORT, console) == "1 [b] Que é?"
    assert cast(StringIO, console.file).getvalue() == "1 [b] Que é?\n", "brackets are text, not markup"
    assert chat.once(parrot.assistant, (), "Que é?", SHORT, None) == "0 [b] Que é?"


def test_one_question_for_a_program(spoken_as: Callable[..., Assistant], picture: PICTURE) -> None:
    assistant, shown = spoken_as("vicuna", "v1"), chat.media(picture(1), marks="box 0 0 1 1")
    row = chat.once_json(assistant, "meu/modelo", shown, "Que é?", SHORT)
    assert list(row) == [
        "model",
        "question",
        "answer",
        "images",
        "tokens_in",
        "tokens_out",
        "seconds",
        "seconds_to_first_token",
        "stopped",
    ]
    assert (row["model"], row["question"], row["images"]) == ("meu/modelo", "Que é?", [picture(1)])
    assert row["answer"] == assistant.ask("Que é?", picture(1), marks="box 0 0 1 1", generation=SHORT)
    assert row["tokens_out"] == 5 and row["stopped"] == "length" and row["tokens_in"] > 100
    assert 0 < row["seconds_to_first_token"] <= row["seconds"]


def test_a_conversation_goes_on_and_shows_each_picture_once(parrot: Parrot, picture: PICTURE, frames: str) -> None:
    one, two = picture(1), picture(2)
    lines = ["a?", "b?", f"/image {one} {two}", "c?", f"/video {frames}", "/clear", "d?", f"/video {frames}", "e?"]
    printed = conversed(parrot, [*lines, "", "/quit", "never asked"], (ImageRef(one),))
    assert told(parrot)[-1] == [("a?", 1), ("b?", 0), ("c?", 2), ("d?", 0), ("e?", 1)]
    assert [len(conversation) for conversation in parrot.asked] == [1, 3, 5, 7, 9]
    assert isinstance(parrot.asked[-1][-1].media[0], VideoRef)
    assert parrot.asked[1][1] == Turn("assistant", ("1 [b] a?",)) and "2 [b] c?" in printed


def test_without_history_every_question_is_asked_anew(parrot: Parrot, picture: PICTURE) -> None:
    lines = ["a?", "b?", "/mark box 0 0 1 1", "c?", "/clear", "d?"]
    conversed(parrot, lines, (ImageRef(picture(1)),), history=False)
    assert told(parrot) == [[("a?", 1)], [("b?", 1)], [("c?", 1)], [("d?", 0)]]
    assert len(cast(ImageRef, parrot.asked[2][0].media[0]).marks) == 1


def test_the_prompt_says_whether_there_is_a_history(
    spoken_as: Callable[..., Assistant], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chat.keeps_history(spoken_as("vicuna")) and chat.keeps_history(spoken_as("chatml"))
    compact = spoken_as("compact")
    monkeypatch.setattr(compact.encoder.prompt, "SINGLE_QUESTIONS", True, raising=False)
    assert not chat.keeps_history(compact)


def test_marks_are_drawn_on_the_last_picture(parrot: Parrot, picture: PICTURE) -> None:
    one, two = picture(1), picture(2)
    lines = [f"/image {one} {two}", "/mark arrow 0 0 1 1", "a?", "/mark box 0 0 1 1 blue", "/mark point 0.5 0.5", "b?"]
    conversed(parrot, lines)
    first, second = (parrot.asked[-1][index].media for index in (0, 2))
    assert [len(cast(ImageRef, ref).marks) for ref in first] == [0, 1], "marked before it was asked about"
    (again,) = second
    assert isinstance(again, ImageRef) and again.path == two, "shown again, marked"
    assert [mark.shape for mark in again.marks] == ["arrow", "box", "point"]


def test_a_new_conversation_keeps_the_picture(parrot: Parrot, picture: PICTURE) -> None:
    conversed(parrot, ["a?", "b?", "/new", "c?", "/clear", "/new", "d?"], (ImageRef(picture(1)),))
    assert told(parrot)[-2:] == [[("c?", 1)], [("d?", 0)]]


def test_retry_set_and_history(parrot: Parrot, picture: PICTURE) -> None:
    lines = ["/retry", "a?", "/set temperature=0.7 seed=3", "/retry", "/set", "/set warmth=1", "/history"]
    printed = conversed(parrot, lines, (ImageRef(picture(1)),))
    assert told(parrot) == [[("a?", 1)], [("a?", 1)]]
    assert parrot.how == [SHORT, Generation(5, temperature=0.7, seed=3)]
    assert "no answer to try again" in printed and "no such option" in printed
    assert printed.count("max_new_tokens=5 temperature=0.7") == 2
    assert printed.endswith(f"› [{picture(1)}] a?\n1 [b] a?\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/image nowhere.png", "no such picture"),
        ('/image "nowhere.png', "quotation"),
        ("/video nowhere", "nowhere"),
        ("/mark box 0 0 1", "cannot draw the mark"),
        ("/mark", "/image FILE"),
        ("/image", "/image FILE"),
        ("/dance", "/image FILE"),
        ("/set seed=x", "not a whole number"),
    ],
)
def test_a_mistake_is_told_and_the_conversation_goes_on(parrot: Parrot, picture: PICTURE, line: str, said: str) -> None:
    printed = conversed(parrot, ["a?", line, "b?"], (ImageRef(picture(1)),))
    assert said in printed.partition("[b] a?")[2]
    assert told(parrot)[-1] == [("a?", 1), ("b?", 0)], "what was shown is not shown again"


def test_a_mark_needs_a_picture(parrot: Parrot) -> None:
    assert "no picture to draw on" in conversed(parrot, ["/mark box 0 0 1 1"])


def test_a_picture_whose_name_has_blanks_can_be_shown(parrot: Parrot, picture: PICTURE, tmp_path: Path) -> None:
    named = tmp_path / "meu gato.png"
    named.write_bytes(Path(picture(1)).read_bytes())
    conversed(parrot, [f'/image "{named}"', "a?"])
    assert parrot.asked[0][0].media == (ImageRef(str(named)),)


def test_ctrl_c_stops_the_answer_not_the_program(spoken_as: Callable[..., Assistant]) -> None:
    """A real interrupt while the terminal waits for the next piece."""
    assistant, main = spoken_as("vicuna", "v1"), threading.main_thread().ident
    assert main is not None
    a, asked, real = assistant.checkpoint.tokenizer.token_to_id("a"), list[Conversation](), assistant.reply

    def slow(streamer: Any, stopping: Any) -> list[int]:
        for _ in range(3):
            streamer.put(torch.tensor([a]))
        time.sleep(0.2)
        signal.pthread_kill(main, signal.SIGINT)
        assert stopping.left.wait(10), "nobody left"
        return [a] * 3

    def reply(conversation: Conversation, generation: Any, cache: Any, finished: Any) -> Stream:
        asked.append(conversation)
        if len(asked) > 1:
            return real(conversation, generation, cache, finished)
        return Stream(slow, assistant._ending, 7, time.monotonic(), finished)

    assistant.reply = reply  # type: ignore[assignment,method-assign]
    console = Console(file=StringIO(), width=200)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores interrupts
    try:
        chat.converse(assistant, (), SHORT, console, None, iter(["Que é?", "E?"]))
    finally:
        signal.signal(signal.SIGINT, before)
    assert "aaa (stopped)\n" in cast(StringIO, console.file).getvalue()
    assert asked[1][1] == Turn("assistant", ("aaa",)), "what was heard stands"


def test_questions_come_from_a_pipe(parrot: Parrot, picture: PICTURE, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=StringIO(), width=200)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"a?\n\n/image {picture(2)}\nb?\n/quit\nc?\n"))
    chat.converse(parrot.assistant, (), SHORT, console)
    assert cast(StringIO, console.file).getvalue() == "0 [b] a?\n1 [b] b?\n", "nothing but answers"
    monkeypatch.setattr("sys.stdin", io.StringIO("/image nowhere.png\nb?\n"))
    with pytest.raises(UserError, match="no such picture"):
        chat.converse(parrot.assistant, (), SHORT, console)


def test_the_terminal_ends_with_its_input(parrot: Parrot) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    typed = iter(["a?"])
    console = Console(file=StringIO(), width=200)

    def read(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    console.input = read  # type: ignore[assignment,method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", Terminal())
        chat.converse(parrot.assistant, (), SHORT, console)
    assert told(parrot) == [[("a?", 0)]] and "/image FILE" in cast(StringIO, console.file).getvalue()
