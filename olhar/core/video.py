"""Video files: counted by their packets, the chosen frames decoded in one pass (by PyAV, the extra ``video``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from olhar.core.errors import UserError
from olhar.core.store import state
from olhar.core.types import VideoRef

FRAMES = 8  # of a file, where nothing is said
MISSING = 0.1  # share that may lack at the end: files promise frames that are never shown, or none at all


@dataclass(frozen=True, slots=True)
class Header:
    """What is known without decoding more than one frame; ``size`` is (width, height) as shown, ``rate`` in 1/s."""

    frames: int
    size: tuple[int, int]
    rate: float | None


def chosen(ref: VideoRef, count: int, rate: float | None, default: int) -> list[int]:
    """Which of ``count`` frames are seen, in order: evenly spaced from first to last, or so many for each second.

    The rules of LLaVA-OneVision (Li et al. 2024, arXiv:2408.03326): ``frames`` evenly spaced ones, some twice where
    there are fewer; ``fps`` takes every round(rate / fps)-th, and evenly spaced ones when these exceed ``frames``.
    """
    if ref.frames is not None and (not isinstance(ref.frames, int) or ref.frames < 1):
        raise UserError(f"cannot see {ref.frames} frames of a video", ref.path, "give a whole number from 1")
    if ref.fps is not None and not ref.fps > 0:
        raise UserError(f"cannot see {ref.fps} frames a second", ref.path, "give a number above 0")
    found = default if ref.frames is None else ref.frames
    if ref.fps is not None:
        if not rate:
            raise UserError(
                "this video has no frame rate", ref.path, "say how many frames instead of how many a second"
            )
        every = list(range(0, count, max(round(rate / ref.fps), 1)))
        if ref.frames is None or len(every) <= ref.frames:
            return every
    return [int(number) for number in np.linspace(0, count - 1, found, dtype=int)]


def sizes(ref: VideoRef) -> tuple[tuple[int, int], ...]:
    """(width, height) of every chosen frame of a file; one frame is decoded."""
    head = header(ref.path)
    return (head.size,) * len(_chosen(ref, head))


def read(ref: VideoRef) -> list[Image.Image]:
    """The chosen frames of a file as RGB, upright; only these are kept. Frames of another size than the first are
    scaled to it. Where the last frames promised do not come, the last shown stays, as in a player."""
    head = header(ref.path)
    numbers = _chosen(ref, head)
    wanted, found, shown, last = set(numbers), {}, 0, None
    with _opened(ref.path) as (container, stream):
        for last in container.decode(stream):
            if shown in wanted:
                found[shown] = _upright(last, head.size)
            shown += 1
            if shown > numbers[-1]:
                break
    if last is None or shown <= numbers[-1] * (1 - MISSING):
        raise UserError(f"only {shown} of {head.frames} frames can be decoded", ref.path, "replace the file")
    return [found[number] if number in found else _upright(last, head.size) for number in numbers]


def _chosen(ref: VideoRef, head: Header) -> list[int]:
    return chosen(ref, head.frames, head.rate, min(FRAMES, head.frames))


def header(path: str) -> Header:
    """Of a video file, looked through once for as long as it stays the same.

    Raises a ``UserError`` for what is none, ends early or holds no frame.
    """
    return _header(path, state(path))


@lru_cache(maxsize=65536)
def _header(path: str, state: tuple[int, int]) -> Header:
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate) if stream.average_rate else None
        count, seconds = _packets(container, stream)
        promised = (container.duration or 0) / 1e6  # seconds from microseconds
    if seconds + 1 / (rate or 1) < promised * (1 - MISSING):
        what = f"this video breaks off after {seconds:.1f} of {promised:.1f} seconds"
        raise UserError(what, path, "fetch the file again")
    with _opened(path) as (container, stream):
        first = next(container.decode(stream), None)
    if first is None or not count:
        raise UserError("no frame of this video can be decoded", path, "replace the file")
    size = (first.width, first.height)
    return Header(count, size[::-1] if _turn(first) % 180 else size, rate)


def _packets(container: Any, stream: Any) -> tuple[int, float]:
    """How many frames the video stream holds, and how many seconds all streams last."""
    count, begin, end = 0, float("inf"), float("-inf")
    for packet in container.demux():
        if not packet.size:
            continue
        if packet.stream.index == stream.index and not packet.is_discard:
            count += 1
        if packet.pts is not None:
            begin = min(begin, float(packet.pts * packet.time_base))
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return count, max(end - begin, 0.0)


def _upright(frame: Any, size: tuple[int, int]) -> Image.Image:
    """A frame as RGB of this size, turned as its file says."""
    width, height = size[::-1] if _turn(frame) % 180 else size
    image: Image.Image = frame.to_image(width=width, height=height)
    return image.rotate(_turn(frame), expand=True)


def _turn(frame: Any) -> int:
    """Degrees counter-clockwise to set a frame upright: a multiple of 90."""
    return round(frame.rotation / 90) * 90


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, Any]]:
    """A video file and its stream of pictures; what PyAV raises meanwhile is told as the file's fault."""
    if not Path(path).is_file():
        raise UserError("there is no such video", path, "check the path")
    try:
        import av
    except ImportError as error:
        raise UserError("video files are read by PyAV, which is missing", path, 'pip install "olhar[video]"') from error
    fix = "give a video file, or a folder of pictures, one a frame"
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None:
                raise UserError("there are no pictures in this file", path, fix)
            yield container, stream
    except av.FFmpegError as error:
        raise UserError(f"this video cannot be decoded: {error.strerror}", path, fix) from error
    except IndexError as error:  # PyAV on a packet of a stream that the header did not announce
        fix = "pack it anew, for example: ffmpeg -i FILE -c copy NEW.mp4"
        raise UserError("a stream of this video begins after its header", path, fix) from error
