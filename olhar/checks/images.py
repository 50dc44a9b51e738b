"""Image files: there, readable by their headers, of a size and shape that a model can use.

No pixel is decoded. Each path is opened once a run, however many samples share it.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache

from PIL import Image, UnidentifiedImageError

from olhar.checks._check import Check
from olhar.core import video
from olhar.core.errors import UserError
from olhar.core.pictures import PICTURES
from olhar.core.types import Finding, Sample, Severity, VideoRef
from olhar.languages import Language

NAME = "images"
MISSING = "no such file"
ADVICE: Mapping[str, str] = {
    MISSING: "copy the file there, or correct the record",
    "not an image": "replace the file; a web page or an error text saved as .jpg is usual",
    "image too small": "remove the record: an image needs 2 pixels a side",
    "long and narrow": "it is squeezed or cut into strips: crop it, or see that its details can still be read",
    "animated": "only the first picture is seen: save the one that is meant",
    "cut off": "the download broke off: fetch the file again",
    "very large": "scale it down: each epoch decodes all of its pixels",
    "unusual pixels": "save it as 8-bit grey or RGB: other values are cut off when it is read",
    "no frames": "put the frames of the video there, one picture each",
    "not a video": "replace the file, or give a folder of its frames",
}
SMALLEST_SIDE = 2  # pixels
NARROWEST = 20  # long side over short side; beyond it a square of 384 keeps under 20 pixels of the short side
LARGEST = 50_000_000  # pixels

_REMEMBERED = 1 << 18  # paths
_TAIL = 1024  # bytes in which a JPEG's end mark is looked for; some cameras write more behind it
_Problem = tuple[Severity, str]


def start() -> Check:
    """A check with a memory of the paths it has opened."""
    problems = lru_cache(maxsize=_REMEMBERED)(_problems)

    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        for ref in sample.media:
            for severity, message in problems(ref.path, isinstance(ref, VideoRef)):
                yield Finding(sample.id, NAME, severity, message)

    return check


def _problems(path: str, is_video: bool) -> tuple[_Problem, ...]:
    """Everything wrong with one file; messages are ``kind: detail`` and end in the path."""
    if not os.path.exists(path):
        return (("error", f"{MISSING}: {path}"),)
    if is_video:
        return tuple(_of_frames(path))
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return tuple(_of_header(image, path))
    except UnidentifiedImageError:
        return (("error", f"not an image: {_beginning(path)}: {path}"),)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return (("error", f"not an image: {error}: {path}"),)


def _of_header(image: Image.Image, path: str) -> Iterator[_Problem]:
    width, height = image.size
    short, long = sorted(image.size)
    if short < SMALLEST_SIDE:
        yield "error", f"image too small: {width}x{height}: {path}"
    elif long > NARROWEST * short:
        yield "warning", f"long and narrow: {width}x{height}: {path}"
    if width * height > LARGEST:
        yield "warning", f"very large: {width}x{height}: {path}"
    if image.mode.startswith(("I", "F")):
        yield "warning", f"unusual pixels: mode {image.mode}: {path}"
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: a JPEG with a second view
        yield "warning", f"animated: {getattr(image, 'n_frames', 0)} pictures in one file: {path}"
    elif image.format == "PNG":
        image.verify()  # checksums of the chunks; raises without decoding
    elif image.format == "JPEG" and b"\xff\xd9" not in _tail(path):
        yield "warning", f"cut off: no end mark: {path}"


def _of_frames(path: str) -> Iterator[_Problem]:
    if os.path.isfile(path):
        try:
            video.header(path)
        except UserError as error:
            yield "error", f"not a video: {error.what}: {path}"
    elif not any(entry.name.lower().endswith(PICTURES) for entry in os.scandir(path)):
        yield "error", f"no frames: no picture in the folder: {path}"


def _beginning(path: str) -> str:
    if os.path.isdir(path):
        return "it is a folder"
    with open(path, "rb") as file:
        head = file.read(12)
    return f"it begins with {head!r}" if head else "it is empty"


def _tail(path: str) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - _TAIL))
        return file.read()
