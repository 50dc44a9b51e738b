"""What a person shows and asks, as the parts of a turn."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from olhar.core import pictures
from olhar.core.errors import UserError
from olhar.core.marks import mark as read_mark
from olhar.core.marks import penned as as_drawn
from olhar.core.types import ImageRef, Mark, Part, Pen, Turn, VideoRef

Media = tuple[ImageRef | VideoRef, ...]
Image = str | Path | ImageRef
Images = Image | Sequence[Image]
Video = str | Path | VideoRef
Marks = str | Mark | Sequence[str | Mark]


def media(images: Images = (), video: Video | None = None, marks: Marks = ()) -> Media:
    """Images, then the video; marks are drawn on the last image, written as in ``box 0.1 0.2 0.6 0.9 red``.

    Raises ``UserError`` for what is no picture or video, and for marks without an image or that cannot be drawn.
    """
    paths = [images] if isinstance(images, Image) else images
    shown: list[ImageRef | VideoRef] = [path if isinstance(path, ImageRef) else ImageRef(str(path)) for path in paths]
    if marks:
        shown = list(marked(tuple(shown), marks))
    if video is not None:
        shown.append(video if isinstance(video, VideoRef) else VideoRef(str(video)))
    for ref in shown:
        pictures.sizes(ref)
    return tuple(shown)


def marked(shown: Media, marks: Marks) -> Media:
    """The same with further marks on the last image."""
    if not shown or not isinstance(shown[-1], ImageRef):
        raise UserError("there is no picture to draw on", "a mark", "show a picture, then mark it")
    written = [marks] if isinstance(marks, str | Mark) else marks
    drawn = tuple(mark if isinstance(mark, Mark) else read_mark(mark) for mark in written)
    return (*shown[:-1], ImageRef(shown[-1].path, (*shown[-1].marks, *drawn)))


def asked(question: str, shown: Media, settings: Any) -> Turn:
    """The user's turn: what is shown, then the question. Several images are numbered where the family labels them."""
    label = getattr(settings, "image_label", "")
    images = sum(isinstance(ref, ImageRef) for ref in shown)
    if not label or images < 2:
        return Turn("user", (*shown, question))
    numbers = count(1)
    parts: list[Part] = []
    for ref in shown:
        parts += [label.format(next(numbers)), ref, "\n"] if isinstance(ref, ImageRef) else [ref, "\n"]
    return Turn("user", (*parts, question))


def penned(turns: Sequence[Turn], pen: Pen) -> list[Turn]:
    """The turns with every mark drawn as the model's training pictures were."""
    return [
        Turn(turn.role, tuple(part if isinstance(part, str) else as_drawn(part, pen) for part in turn.parts))
        for turn in turns
    ]
