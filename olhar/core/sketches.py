"""Random marks around annotated objects, of ViP-LLaVA's distributions (Cai et al. 2024, arXiv:2312.00784).

All chance is here: a ``Mark`` once sketched is drawn the same each time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from olhar.core._strokes import RADIUS, WIDTH, Point, corners, head
from olhar.core.errors import UserError
from olhar.core.marks import ANCHOR, SHAPES
from olhar.core.types import Mark

STROKES = {  # least and largest random width of each shape that has lines, in pixels at the anchor
    "rectangle": (2, 8),
    "ellipse": (2, 8),
    "triangle": (2, 8),
    "scribble": (2, 12),
    "mask contour": (1, 2),
    "arrow": (1, 6),
}
TRIES = 200  # of a random shape that has to meet a condition


def sketch(
    shape: str,
    bbox: Sequence[float],
    segmentation: Sequence[Sequence[float]] | None,
    image_size: tuple[int, int],
    random: Random,
    *,
    colour: str | tuple[int, int, int],
    style: Literal["random", "constant"] = "random",
    width: float | None = None,
    alpha: int | None = None,
    anchor: int = ANCHOR,
) -> Mark:
    """A mark around an annotated object.

    ``bbox`` is (left, top, right, bottom) and ``segmentation`` a list of polygons x, y, x, y, …, all in pixels of
    the image; a shape without segmentation lies in the box. ``width`` and ``alpha`` are random unless given;
    ``constant`` fixes the width of a rectangle and the size of a point. Raises ``UserError`` for annotations that
    are no box or polygon of this image.
    """
    shape = "rectangle" if shape == "box" else shape
    _refuse_annotation(shape, bbox, segmentation, image_size)
    polygons = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in segmentation or ()]
    thing = _Thing((bbox[0], bbox[1], bbox[2], bbox[3]), polygons, image_size, max(image_size) / anchor, random)
    if width is None and shape in STROKES:
        constant = shape == "rectangle" and style == "constant"
        width = WIDTH if constant else thing.stroke(*STROKES[shape])
    if alpha is None:
        alpha = random.randint(48, 128) if shape == "mask" else random.randint(96, 255)
    if shape.startswith("mask"):
        outlines = [thing.numbers(polygon) for polygon in polygons] or [thing.numbers(_two(thing.box))]
        return Mark(shape, colour, outlines[0], width, alpha, tuple(outlines[1:]))
    if shape == "arrow":
        filled = random.random() < 0.5
        return Mark(shape, colour, thing.numbers(_arrow(thing)), width, alpha, filled=filled)
    places: dict[str, Callable[[], list[Point]]] = {
        "rectangle": lambda: _two(thing.box),
        "ellipse": lambda: _ellipse(thing),
        "triangle": lambda: _triangle(thing),
        "point": lambda: _spot(thing, style == "constant"),
        "scribble": lambda: thing.points(4, [random.choice(polygons)] if polygons else []),
    }
    return Mark(shape, colour, thing.numbers(places[shape]()), width, alpha)


@dataclass(frozen=True, slots=True)
class _Thing:
    """What a mark is sketched around, in pixels, and the dice."""

    box: tuple[float, float, float, float]
    polygons: list[list[Point]]
    size: tuple[int, int]
    scale: float
    random: Random

    def numbers(self, points: Sequence[Point]) -> tuple[float, ...]:
        across, down = self.size
        return tuple(number for x, y in points for number in (x / across, y / down))

    def stroke(self, least: int, largest: int) -> float:
        """A width that is a whole number of pixels on this image, said in pixels at the anchor."""
        return self.random.randint(int(least * self.scale), int(largest * self.scale)) / self.scale

    def bounds(self, polygons: Sequence[Sequence[Point]]) -> tuple[float, float, float, float]:
        if not polygons:
            return self.box
        xs, ys = zip(*(point for polygon in polygons for point in polygon), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def points(self, count: int, polygons: Sequence[Sequence[Point]]) -> list[Point]:
        """Random points inside the union of polygons, else inside the box; anywhere in the bounds after 50 tries."""
        left, top, right, bottom = self.bounds(polygons)
        found = []
        for _ in range(count):
            for _ in range(51 if polygons else 1):
                point = (self.random.uniform(left, right), self.random.uniform(top, bottom))
                if any(_inside(point, polygon) for polygon in polygons):
                    break
            found.append(point)
        return found


def _two(box: tuple[float, float, float, float]) -> list[Point]:
    left, top, right, bottom = box
    return [(left, top), (right, bottom)]


def _ellipse(thing: _Thing) -> list[Point]:
    """Enlarged around its centre, but never to where its outline lies outside the image all around."""
    left, top, right, bottom = thing.bounds(thing.polygons)
    x, y, across, down = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    corners = [(cx, cy) for cx in (0, thing.size[0]) for cy in (0, thing.size[1])]
    for _ in range(TRIES):
        factor = thing.random.uniform(1, 1.5)
        if not all(math.hypot((cx - x) / (across or 1), (cy - y) / (down or 1)) < factor for cx, cy in corners):
            break
    else:
        factor = 1.0
    return [(x - across * factor, y - down * factor), (x + across * factor, y + down * factor)]


def _triangle(thing: _Thing) -> list[Point]:
    """Three points with no angle above 150 degrees; any three where the object is too thin for that."""
    for _ in range(TRIES):
        points = thing.points(3, thing.polygons)
        a, b, c = sorted(math.dist(points[n], points[n - 1]) for n in range(3))
        if a > 0 and a * a + b * b - c * c >= 2 * a * b * math.cos(math.radians(150)):
            break
    return points


def _spot(thing: _Thing, constant: bool) -> list[Point]:
    """Two corners of an ellipse about the middle of one polygon."""
    random, scale = thing.random, thing.scale
    polygons = [random.choice(thing.polygons)] if thing.polygons else []
    radius = max(int(RADIUS * scale) if constant else random.randint(int(5 * scale), int(20 * scale)), 1)
    aspect = 1.0 if constant or random.random() < 0.5 else random.uniform(0.5, 2)
    left, top, right, bottom = thing.bounds(polygons)
    outline = polygons[0] if polygons else corners((left, top), (right, bottom))
    for _ in range(11):  # ten tries, then any
        x = random.gauss((left + right) / 2, math.sqrt((right - left) / 8))
        y = random.gauss((top + bottom) / 2, math.sqrt((bottom - top) / 8))
        if _inside((x, y), outline):
            break
    return [(x - radius * aspect, y - radius / aspect), (x + radius * aspect, y + radius / aspect)]


def _arrow(thing: _Thing) -> list[Point]:
    """Tail, in half of the cases a bend, tip, and the two ends of the head."""
    random, scale = thing.random, thing.scale
    left, top, right, bottom = thing.box
    tip_x = (left + right) / 2 + random.uniform(-0.25, 0.25) * (right - left)
    tip_y = (top + bottom) / 2 + random.uniform(-0.25, 0.25) * (bottom - top)
    length = random.uniform(0.8 * min(right - left, bottom - top), max(int(50 * scale), 1))
    angle = random.uniform(0, 2 * math.pi)
    size = max(random.uniform(0.2, 0.5) * length, int(6 * scale))
    tail_x, tail_y = tip_x + (length - size) * math.cos(angle), tip_y + (length - size) * math.sin(angle)
    shaft = [(tail_x, tail_y), (tip_x, tip_y)]
    if random.random() < 0.5:
        wobble = [random.uniform(-5, 5) * int(scale) for _ in range(2)]
        shaft.insert(1, ((tip_x + tail_x) / 2 + wobble[0], (tip_y + tail_y) / 2 + wobble[1]))
    return [*shaft, *head((tip_x, tip_y), angle, size)]


def _inside(point: Point, polygon: Sequence[Point]) -> bool:
    """Even-odd rule."""
    x, y = point
    crossings = 0
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossings += 1
    return crossings % 2 == 1


def _refuse_annotation(
    shape: str, bbox: Sequence[float], segmentation: Sequence[Sequence[float]] | None, image_size: tuple[int, int]
) -> None:
    where, fix = f"the annotation of a {shape}", "correct the annotation; boxes are left, top, right, bottom in pixels"
    if shape not in SHAPES:
        raise UserError(f"there is no shape {shape!r}", "a mark to sketch", f"shapes: {', '.join(SHAPES)}")
    if len(bbox) != 4 or not (bbox[0] <= bbox[2] and bbox[1] <= bbox[3]):
        raise UserError(f"{tuple(bbox)} is no box", where, fix)
    if bbox[2] < 0 or bbox[3] < 0 or bbox[0] >= image_size[0] or bbox[1] >= image_size[1]:
        raise UserError(f"the box {tuple(bbox)} lies outside an image of {image_size} pixels", where, fix)
    for polygon in segmentation or ():
        if len(polygon) < 6 or len(polygon) % 2:
            raise UserError(f"{len(polygon)} numbers are no polygon of x, y, x, y, x, y, …", where, fix)
