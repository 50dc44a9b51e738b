"""Reading pictures: sizes from headers, pixels as RGB, frames of videos, marks drawn as they are read."""

import struct
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Mark, VideoRef

COLOURS = {  # the nine named colours of ViP-LLaVA (Cai et al. 2024, arXiv:2312.00784)
    "red": (255, 0, 0),
    "lime": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "fuchsia": (255, 0, 255),
    "aqua": (0, 255, 255),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
    "gold": (255, 215, 0),
}
SHAPES = {"box": 4, "arrow": 4}  # shape -> how many numbers its geometry has
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)  # PIL on bad files
ARROW_HEAD = 3 / 64  # radius of the dot at an arrow's end, in image sides
LINE = 2 / 64  # line width, in image sides


def frames(ref: VideoRef) -> tuple[str, ...]:
    """The pictures of a folder of frames, in order of their names."""
    return _frames(ref.path)


@lru_cache(maxsize=65536)
def _frames(path: str) -> tuple[str, ...]:
    folder = Path(path)
    if not folder.is_dir():
        raise UserError(
            "a video is read from a folder of pictures, one a frame", path, "extract its frames into a folder"
        )
    found = tuple(str(file) for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURES)
    if not found:
        raise UserError("this folder of frames holds no picture", path, "put its frames there as PNG or JPEG")
    return found


def sizes(ref: ImageRef | VideoRef) -> tuple[tuple[int, int], ...]:
    """(width, height) of every picture behind a reference, from headers."""
    paths = (ref.path,) if isinstance(ref, ImageRef) else frames(ref)
    return tuple(size(path) for path in paths)


@lru_cache(maxsize=262144)
def size(path: str) -> tuple[int, int]:
    with _opened(path) as image:
        return image.size


def read(ref: ImageRef | VideoRef) -> list[Image.Image]:
    """The pictures behind a reference as RGB, marks drawn."""
    if isinstance(ref, VideoRef):
        return [_rgb(path) for path in frames(ref)]
    image = _rgb(ref.path)
    for mark in ref.marks:
        draw(image, mark)
    return [image]


def _rgb(path: str) -> Image.Image:
    try:
        with _opened(path) as image:
            return image.convert("RGB")
    except BROKEN as error:
        raise UserError(f"this picture cannot be decoded: {error}", path, "replace the file") from error


def _opened(path: str) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise UserError("there is no such picture", path, "check the path") from error
    except BROKEN as error:
        raise UserError(f"this is not a picture: {error}", path, "give a PNG, JPEG or WebP file") from error


def draw(image: Image.Image, mark: Mark) -> None:
    """Draw a box or an arrow (a line ending in a dot) in place; line width grows with the image."""
    if mark.shape not in SHAPES or mark.colour not in COLOURS:
        known = f"shapes {', '.join(SHAPES)}; colours {', '.join(COLOURS)}"
        raise UserError(f"cannot draw a {mark.colour} {mark.shape}", "a mark on an image", f"there are {known}")
    side = max(image.size)
    colour, width = COLOURS[mark.colour], max(2, round(LINE * side))
    x0, y0, x1, y1 = (value * extent for value, extent in zip(mark.geometry, image.size * 2, strict=True))
    pen = ImageDraw.Draw(image)
    if mark.shape == "box":
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=width)
        return
    radius = max(3.0, ARROW_HEAD * side)
    pen.line((x0, y0, x1, y1), fill=colour, width=width + 1)
    pen.ellipse((x1 - radius, y1 - radius, x1 + radius, y1 + radius), fill=colour)


def mark(text: str) -> Mark:
    """``box 0.1 0.2 0.6 0.9 red`` as a mark; a ``UserError`` says what is wrong with it."""
    fix = "write for example: box 0.1 0.2 0.6 0.9 red, or: arrow 0.5 0.5 0.8 0.2 blue (numbers from 0 to 1)"
    shape, *numbers = text.split() or [""]
    colour = numbers.pop() if numbers and numbers[-1].isalpha() else "red"
    try:
        geometry = tuple(float(number) for number in numbers)
    except ValueError as error:
        raise UserError(f"not a number in the mark {text!r}", "--mark", fix) from error
    if shape not in SHAPES or colour not in COLOURS or len(geometry) != SHAPES.get(shape):
        raise UserError(f"cannot draw the mark {text!r}", "--mark", fix)
    if not all(0 <= value <= 1 for value in geometry):
        raise UserError(f"the mark {text!r} leaves the image", "--mark", fix)
    if shape == "box" and (geometry[0] > geometry[2] or geometry[1] > geometry[3]):
        raise UserError(f"cannot draw the mark {text!r}: it is inside out", "--mark", fix)
    return Mark(shape, colour, geometry)
