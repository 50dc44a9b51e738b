"""Marks of one record of ViP-LLaVA's data: which shape and colour each annotated object gets, and what it is called.

Rules of Cai et al. 2024, arXiv:2312.00784, per kind of data set. All chance comes from the ``Random`` given.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from olhar.core.marks import COLOURS, SHAPES
from olhar.core.sketches import sketch
from olhar.core.types import Mark
from olhar.languages import Pointing
from olhar.sources._llava_turns import BadRow

Colour = str | tuple[int, int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """What one data set's objects may be marked with. ``segmented``: whether its segmentations count; ``any_article``:
    whether every form of a place is said in a conversation, not only the usual one; ``colour``: always this one."""

    shapes: tuple[str, ...]
    style: Literal["random", "constant"] = "random"
    segmented: bool = True
    any_article: bool = False
    colour: str | None = None
    alpha: int | None = None


_POINTS = Kind(("point",), "constant", alpha=128)
KINDS: Mapping[str, Kind] = {
    "refcocog": Kind(SHAPES),
    "vcr": Kind(tuple(shape for shape in SHAPES if shape != "point")),
    "vg_rel": Kind(("rectangle", "ellipse"), segmented=False, any_article=True),
    "flickr30k": Kind(("rectangle", "ellipse", "arrow"), segmented=False),
    "v7w": Kind(("rectangle",), "constant", segmented=False),
    "pointQA_twice": Kind(("rectangle",), "constant", segmented=False, colour="red"),  # its questions say so
    "vcr_qa": _POINTS,
    "vcr_qar": _POINTS,
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One annotated object: its boxes in pixels, and the polygons of its segmentation if it has one."""

    boxes: tuple[Box, ...]
    polygons: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Marked:
    """One object as it is marked, what its mark is called, and how its place may be said, the usual way first."""

    marks: tuple[Mark, ...]
    name: str
    places: tuple[str, ...]
    place: str


def marked(
    things: Sequence[Thing], kind: Kind, words: Pointing, size: tuple[int, int], random: Random, anchor: int
) -> list[Marked]:
    """Every object with its marks on an image of this size; raises ``UserError`` for an annotation off the image."""
    shapes = [random.choice(kind.shapes) for _ in things]
    colours = [kind.colour] * len(things) if kind.colour else _colours(shapes, random)
    found = []
    for thing, shape, colour in zip(things, shapes, colours, strict=True):
        polygons = thing.polygons if kind.segmented else ()
        marks = tuple(
            sketch(shape, box, polygons, size, random, colour=colour, style=kind.style, alpha=kind.alpha, anchor=anchor)
            for box in thing.boxes
        )
        name = words.name(shape, colour if isinstance(colour, str) else None)
        places = tuple(form.format(mark=name) for form in words.places[shape])
        found.append(Marked(marks, name, places, random.choice(places) if kind.any_article else places[0]))
    return found


def _colours(shapes: Sequence[str], random: Random) -> list[Colour]:
    """Objects of one shape are told apart by named colours, each taken once; any other has a name or none at all."""
    counts, found = Counter(shapes), list[Colour]()
    left = {shape: random.sample(list(COLOURS), len(COLOURS)) for shape in dict.fromkeys(shapes)}
    for shape in shapes:
        shared = counts[shape] > 1
        if left[shape] if shared else random.random() < 0.5:
            found.append(left[shape].pop())
        else:
            found.append((random.randint(0, 255), random.randint(0, 255), random.randint(0, 255)))
    return found


def things_of(record: Mapping[str, Any]) -> list[Thing]:
    """The objects that a record annotates: none where it has no boxes. Raises ``BadRow``."""
    given = [record[key] for key in ("bboxes", "bbox") if record.get(key) is not None]
    if len(given) > 1 and given[0] != given[1]:
        raise BadRow("unfit boxes: both bboxes and bbox are there and differ")
    rows = given[0] if given else []
    if not isinstance(rows, list):
        raise BadRow("unfit boxes: bboxes is no list of boxes")
    if rows and all(map(_is_number, rows)):
        rows = [rows]  # one box, written without the list around it
    polygons = _polygons_of(record.get("segmentations"), len(rows))
    return [Thing(_boxes(row, number), polygons[number]) for number, row in enumerate(rows)]


def _boxes(row: Any, number: int) -> tuple[Box, ...]:
    """One box, or the several of one phrase."""
    several = row if isinstance(row, list) and row and all(isinstance(box, list) for box in row) else [row]
    if any(not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)) for box in several):
        raise BadRow(f"unfit boxes: box {number} is not left, top, right, bottom")
    return tuple((box[0], box[1], box[2], box[3]) for box in several)


def _polygons_of(given: Any, things: int) -> list[tuple[tuple[float, ...], ...]]:
    if not given:
        return [()] * things
    if not isinstance(given, list) or len(given) != things:
        raise BadRow(f"unfit segmentations: there is not one for each of {things} boxes")
    for number, polygons in enumerate(given):
        if polygons is not None and not (isinstance(polygons, list) and all(map(_is_flat, polygons))):
            raise BadRow(f"unfit segmentations: that of box {number} is no list of polygons x, y, x, y, ...")
    return [tuple(map(tuple, polygons or ())) for polygons in given]


def _is_flat(polygon: Any) -> bool:
    return isinstance(polygon, list) and all(map(_is_number, polygon))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
