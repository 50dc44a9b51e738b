"""What flows: frozen dataclasses, one way, from ``sources`` to ``reports``.

There is no ``<image>`` string anywhere before ``prompts``: an image is a part of a turn, so no engine,
filter or template can damage it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Severity = Literal["info", "warning", "error"]
Control = Literal["image", "blank", "text", "shuffled", "majority"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A visual prompt to draw on an image: all that ``core.marks.draw`` needs, so that it is redrawn identically.

    ``colour`` is one of ``core.marks.COLOURS`` or (red, green, blue); ``geometry`` is x, y, x, y, … in [0, 1] image
    coordinates, its meaning by shape in ``core.marks.draw``; ``further`` are more polygons of one mask. ``width`` is
    in pixels of an image as large as the model's input (None: 3, and 8 as the radius of a point); ``alpha`` is
    1 to 255 (None: 128); an arrow whose head is not ``filled`` has an open one.
    """

    shape: str
    colour: str | tuple[int, int, int]
    geometry: tuple[float, ...]
    width: float | None = None
    alpha: int | None = None
    further: tuple[tuple[float, ...], ...] = ()
    filled: bool = True


@dataclass(frozen=True, slots=True)
class Pen:
    """How marks are drawn that say nothing of their own: width and alpha of a ``Mark``."""

    width: float | None = None
    alpha: int | None = None

    def take(self, mark: Mark) -> Mark:
        """The mark as this pen draws it."""
        width = self.width if mark.width is None and mark.shape != "point" else mark.width
        return replace(mark, width=width, alpha=self.alpha if mark.alpha is None else mark.alpha)


USUAL_PEN = Pen()  # leaves marks as they are


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image file and the marks to draw on it when it is read."""

    path: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoRef:
    """A video file, or a folder whose sorted pictures are its frames.

    ``frames`` is how many are seen, evenly spaced; ``fps`` how many for each second of a file, then ``frames`` is
    their largest number. With neither: all pictures of a folder, 8 of a file (``core.video``).
    """

    path: str
    frames: int | None = None
    fps: float | None = None


Part = str | ImageRef | VideoRef


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance: who speaks, and its text and media in reading order."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined; media leave no trace."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def media(self) -> tuple[ImageRef | VideoRef, ...]:
        return tuple(part for part in self.parts if not isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation. ``parent`` is the id it had before translation; ``source`` the data set's name."""

    id: str
    language: str
    turns: tuple[Turn, ...]
    source: str = ""
    parent: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def media(self) -> tuple[ImageRef | VideoRef, ...]:
        return tuple(ref for turn in self.turns for ref in turn.media)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as one string. ``media`` stand where the placeholders are, in order; ``trained`` are
    half-open character spans [start, end) whose tokens carry the loss."""

    text: str
    media: tuple[ImageRef | VideoRef, ...]
    trained: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw in a sample. An ``error`` rejects the sample; nothing is repaired."""

    sample_id: str
    check: str
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer of a model to one sample of a benchmark."""

    sample_id: str
    text: str
    expected: tuple[str, ...]
    skill: str
    language: str
    control: Control
    split: str


@dataclass(frozen=True, slots=True)
class Score:
    """One measured number in [0, 1] with its 95 % interval [low, high] over n answers."""

    benchmark: str
    skill: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    language: str
    split: str
    control: Control
    protocol: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished stage says of itself; its presence is what "finished" means."""

    stage: str
    fingerprint: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    counts: Mapping[str, Any]
    seconds: float
    energy_kwh: float | None
    co2_g: float | None
    version: str


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """The JSON form of a sample; ``sample_from_json`` is its inverse."""
    row: dict[str, Any] = {"id": sample.id, "language": sample.language}
    row["turns"] = [{"role": turn.role, "parts": [_part_to_json(part) for part in turn.parts]} for turn in sample.turns]
    if sample.source:
        row["source"] = sample.source
    if sample.parent is not None:
        row["parent"] = sample.parent
    if sample.meta:
        row["meta"] = dict(sample.meta)
    return row


def sample_from_json(row: Mapping[str, Any]) -> Sample:
    turns = tuple(Turn(turn["role"], tuple(map(_part_from_json, turn["parts"]))) for turn in row["turns"])
    return Sample(row["id"], row["language"], turns, row.get("source", ""), row.get("parent"), row.get("meta", {}))


def with_paths(sample: Sample, change: Callable[[str], str]) -> Sample:
    """The same sample with every media path passed through ``change``."""
    return Sample(
        sample.id,
        sample.language,
        tuple(Turn(turn.role, tuple(_with_path(part, change) for part in turn.parts)) for turn in sample.turns),
        sample.source,
        sample.parent,
        sample.meta,
    )


def media_paths(sample: Sample) -> Iterator[str]:
    return (ref.path for ref in sample.media)


def _with_path(part: Part, change: Callable[[str], str]) -> Part:
    if isinstance(part, ImageRef):
        return ImageRef(change(part.path), part.marks)
    if isinstance(part, VideoRef):
        return replace(part, path=change(part.path))
    return part


def _part_to_json(part: Part) -> Any:
    if isinstance(part, str):
        return part
    row: dict[str, Any]
    if isinstance(part, VideoRef):
        row = {"video": part.path, "frames": part.frames, "fps": part.fps}
        return {key: value for key, value in row.items() if value is not None}
    row = {"image": part.path}
    if part.marks:
        row["marks"] = [_mark_to_json(mark) for mark in part.marks]
    return row


def _part_from_json(row: Any) -> Part:
    if isinstance(row, str):
        return row
    if "video" in row:
        return VideoRef(row["video"], row.get("frames"), row.get("fps"))
    return ImageRef(row["image"], tuple(_mark_from_json(mark) for mark in row.get("marks", ())))


def _mark_to_json(mark: Mark) -> dict[str, Any]:
    """What differs from the defaults."""
    row: dict[str, Any] = {"shape": mark.shape, "colour": mark.colour, "geometry": mark.geometry}
    if mark.width is not None:
        row["width"] = mark.width
    if mark.alpha is not None:
        row["alpha"] = mark.alpha
    if mark.further:
        row["further"] = mark.further
    if not mark.filled:
        row["filled"] = False
    return row


def _mark_from_json(row: Mapping[str, Any]) -> Mark:
    colour = row["colour"] if isinstance(row["colour"], str) else tuple(row["colour"])
    further = tuple(tuple(polygon) for polygon in row.get("further", ()))
    geometry, width, alpha = tuple(row["geometry"]), row.get("width"), row.get("alpha")
    return Mark(row["shape"], colour, geometry, width, alpha, further, row.get("filled", True))
