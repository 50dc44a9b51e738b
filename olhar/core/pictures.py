"""Reading pictures: sizes from headers, pixels as RGB, frames of videos, marks drawn as they are read."""

import struct
from functools import lru_cache
from pathlib import Path

from PIL import Image

from olhar.core import marks, video
from olhar.core.errors import UserError
from olhar.core.store import state
from olhar.core.types import ImageRef, VideoRef

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)  # PIL on bad files


def frames(ref: VideoRef) -> tuple[str, ...]:
    """The pictures of a folder of frames that are seen, in order of their names."""
    if not Path(ref.path).exists():
        raise UserError("there is no such video", ref.path, "check the path")
    if not Path(ref.path).is_dir():
        raise UserError("the frames of this video lie in no folder", ref.path, "extract its frames into a folder")
    found = _frames(ref.path, state(ref.path))
    return tuple(found[number] for number in video.chosen(ref, len(found), None, len(found)))


@lru_cache(maxsize=65536)
def _frames(path: str, state: tuple[int, int]) -> tuple[str, ...]:
    found = tuple(str(file) for file in sorted(Path(path).iterdir()) if file.suffix.lower() in PICTURES)
    if not found:
        raise UserError("this folder of frames holds no picture", path, "put its frames there as PNG or JPEG")
    return found


def sizes(ref: ImageRef | VideoRef) -> tuple[tuple[int, int], ...]:
    """(width, height) of every picture behind a reference, from headers."""
    if isinstance(ref, ImageRef):
        return (size(ref.path),)
    return video.sizes(ref) if Path(ref.path).is_file() else tuple(size(path) for path in frames(ref))


def size(path: str) -> tuple[int, int]:
    """(width, height) from the header, which is read once for as long as the file stays the same."""
    return _size(path, state(path))


@lru_cache(maxsize=262144)
def _size(path: str, state: tuple[int, int]) -> tuple[int, int]:
    with _opened(path) as image:
        return image.size


def read(ref: ImageRef | VideoRef, anchor: int = marks.ANCHOR) -> list[Image.Image]:
    """The pictures behind a reference as RGB, marks drawn for a model whose input has sides of ``anchor`` pixels."""
    if isinstance(ref, VideoRef):
        return video.read(ref) if Path(ref.path).is_file() else [_rgb(path) for path in frames(ref)]
    image = _rgb(ref.path)
    for mark in ref.marks:
        image = marks.draw(image, mark, anchor)
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
