"""What is shown and asked becomes the parts of one turn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Mark, Turn, VideoRef
from olhar.families import Encoder
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.inference.turns import asked, media
from olhar.languages import language

PICTURE = Callable[[int], str]
LABEL = "Image-{}: "


def folder(place: Path, picture: PICTURE) -> Path:
    (place / "frames").mkdir()
    (place / "frames" / "0.png").write_bytes(Path(picture(3)).read_bytes())
    return place / "frames"


def test_images_then_the_video_with_marks_on_the_last_image(picture: PICTURE, tmp_path: Path) -> None:
    one, two, video = Path(picture(1)), Path(picture(2)), folder(tmp_path, picture)
    drawn = Mark("point", "lime", (0.5, 0.5))
    shown = media([one, two], video, ["box 0 0 1 1", "arrow 0 0 1 1 blue", drawn])
    assert shown[0] == ImageRef(str(one)) and shown[2] == VideoRef(str(video))
    assert isinstance(shown[1], ImageRef)
    assert [(mark.shape, mark.colour) for mark in shown[1].marks] == [
        ("box", "red"),
        ("arrow", "blue"),
        ("point", "lime"),
    ]
    assert media() == () and media(one) == media(str(one)) == media([ImageRef(str(one))])
    again = media(shown[1], marks="point 0.1 0.1")
    assert isinstance(again[0], ImageRef) and len(again[0].marks) == 4, "further marks join those there are"
    assert media(video=VideoRef(str(video), frames=1)) == (VideoRef(str(video), frames=1),)


@pytest.mark.parametrize(
    ("images", "video", "marks"),
    [(["no.png"], None, []), ([], "no", []), ([], None, ["box 0 0 1 1"]), (["."], None, [])],
)
def test_what_cannot_be_shown_is_told(tmp_path: Path, images: list[str], video: str | None, marks: list[str]) -> None:
    with pytest.raises(UserError):
        media([tmp_path / image for image in images], tmp_path / video if video else None, marks)


def test_several_images_are_labelled_where_the_family_says_so(
    spoken_as: Callable[..., Assistant], picture: PICTURE, tmp_path: Path
) -> None:
    one, two, video = ImageRef(picture(1)), ImageRef(picture(2)), VideoRef(str(folder(tmp_path, picture)))
    assistant = spoken_as("chatml", "internvl2_5", image_label=LABEL)
    labelled, plain = assistant.checkpoint.settings, replace(assistant.checkpoint.settings, image_label="")
    assert asked("Há?", (one, two), plain) == Turn("user", (one, two, "Há?"))
    assert asked("Há?", (one,), labelled) == Turn("user", (one, "Há?"))
    assert asked("Há?", (one, video), labelled) == Turn("user", (one, video, "Há?"))
    turn = asked("Há?", (one, two), labelled)
    encoder = assistant.encoder
    text = encoder.prompt.render([turn], language("pt"), variant=encoder.variant, open=True).text
    assert "user\nImage-1: <image>\nImage-2: <image>\nHá?<|im_end|>" in text
    assert asked("Há?", (one, two, video), labelled).parts[-3:] == (video, "\n", "Há?")


def test_labels_are_asked_with(spoken_as: Callable[..., Assistant], picture: PICTURE) -> None:
    """``ask`` and a chat say them alike, and the answer depends on them."""
    how, images = Generation(max_new_tokens=9), [picture(1), picture(2)]
    labelled, plain = (spoken_as("chatml", image_label=label) for label in (LABEL, ""))
    assert labelled.ask("Há?", images, generation=how) == labelled.chat(images).say("Há?", generation=how)
    assert labelled.ask("Há?", images, generation=how) != plain.ask("Há?", images, generation=how)
    assert isinstance(labelled.encoder, Encoder)
