"""Talking in the terminal: what is shown, what is asked, and mistakes that end no conversation."""

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.inference import chat
from olhar.inference.assistant import Assistant

PICTURE = Callable[[int], str]


class Parrot:
    """Says in two pieces how many pictures it was shown and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Turn] = []

    def stream(self, conversation: list[Turn], max_new_tokens: int) -> Iterator[str]:
        (turn,) = conversation
        self.asked.append(turn)
        yield f"{len(turn.media)} [b]"
        yield f" {turn.text} "


def conversed(lines: list[str], shown: chat.Media = ()) -> tuple[Parrot, str]:
    """What a person typing these lines (and then the end of input) was answered."""
    parrot, console = Parrot(), Console(file=StringIO(), width=200)
    typed = iter(lines)

    def read(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    console.input = read  # type: ignore[assignment,method-assign]
    chat.converse(cast(Assistant, parrot), shown, 5, console)
    return parrot, cast(StringIO, console.file).getvalue()


def test_what_the_options_show(picture: PICTURE, tmp_path: Path) -> None:
    one, two = Path(picture(1)), Path(picture(2))
    shown = chat.media([one, two], tmp_path_of_frames(tmp_path, picture), ["box 0 0 1 1", "arrow 0 0 1 1 blue"])
    assert shown[0] == ImageRef(str(one)) and isinstance(shown[2], VideoRef)
    assert isinstance(shown[1], ImageRef)
    assert [(mark.shape, mark.colour) for mark in shown[1].marks] == [("box", "red"), ("arrow", "blue")]
    assert chat.media([], None, []) == ()


def tmp_path_of_frames(folder: Path, picture: PICTURE) -> Path:
    (folder / "frames").mkdir()
    (folder / "frames" / "0.png").write_bytes(Path(picture(3)).read_bytes())
    return folder / "frames"


@pytest.mark.parametrize(
    ("images", "video", "marks"),
    [(["no.png"], None, []), ([], "no", []), ([], None, ["box 0 0 1 1"]), (["."], None, [])],
)
def test_what_cannot_be_shown_is_told(tmp_path: Path, images: list[str], video: str | None, marks: list[str]) -> None:
    with pytest.raises(UserError):
        chat.media([tmp_path / image for image in images], tmp_path / video if video else None, marks)


def test_one_question(picture: PICTURE) -> None:
    console = Console(file=StringIO())
    shown = chat.media([Path(picture(1))], None, [])
    assert chat.once(cast(Assistant, Parrot()), shown, "Que é?", 5, console) == "1 [b] Que é?"
    assert "1 [b] Que é?" in cast(StringIO, console.file).getvalue(), "brackets are text, not markup"
    assert chat.once(cast(Assistant, Parrot()), (), "Que é?", 5, None) == "0 [b] Que é?"


def test_a_conversation_changes_its_pictures(picture: PICTURE, tmp_path: Path) -> None:
    frames, one, two = tmp_path_of_frames(tmp_path, picture), picture(1), picture(2)
    lines = ["a?", f"/image {one} {two}", "b?", "/mark arrow 0 0 1 1", "/mark box 0 0 1 1 blue", "c?"]
    lines += [f"/video {frames}", "d?", "/clear", "", "e?", "/quit", "never asked"]
    parrot, _ = conversed(lines, (ImageRef(one),))
    assert [(turn.text, len(turn.media)) for turn in parrot.asked] == [
        ("a?", 1),
        ("b?", 2),
        ("c?", 2),
        ("d?", 1),
        ("e?", 0),
    ]
    first, marked = (cast(ImageRef, ref) for ref in parrot.asked[2].media)
    assert not first.marks and [mark.shape for mark in marked.marks] == ["arrow", "box"]
    assert isinstance(parrot.asked[3].media[0], VideoRef)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/image nowhere.png", "no such picture"),
        ("/mark box 0 0 1", "cannot draw the mark"),
        ("/mark", "/image FILE"),
        ("/dance", "/image FILE"),
    ],
)
def test_a_mistake_is_told_and_the_conversation_goes_on(picture: PICTURE, line: str, told: str) -> None:
    parrot, printed = conversed([line, "a?"], (ImageRef(picture(1)),))
    assert told in printed and len(parrot.asked) == 1 and len(parrot.asked[0].media) == 1


def test_a_mark_needs_a_picture() -> None:
    _, printed = conversed(["/mark box 0 0 1 1"])
    assert "no picture to draw on" in printed


def test_a_picture_whose_name_has_blanks_can_be_shown(picture: PICTURE, tmp_path: Path) -> None:
    named = tmp_path / "meu gato.png"
    named.write_bytes(Path(picture(1)).read_bytes())
    parrot, printed = conversed([f'/image "{named}"', "a?"])
    assert parrot.asked[0].media == (ImageRef(str(named)),), printed


def test_an_assistant_is_found_in_a_folder_or_in_its_run(saved: Path, tmp_path: Path) -> None:
    assert isinstance(chat.opened(saved), Assistant)
    (tmp_path / "publish").mkdir()
    (tmp_path / "publish" / "model").symlink_to(saved)
    assert chat.opened(tmp_path).checkpoint.prompt_name == "compact"
    with pytest.raises(UserError, match="not a checkpoint"):
        chat.opened(tmp_path / "publish")
