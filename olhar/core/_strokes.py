"""How each shape of a visual prompt is drawn, on one layer of alpha values."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from olhar.core.types import Mark

WIDTH, RADIUS = 3.0, 8.0  # of a line and of a point, where a mark says none; pixels of the model's input
ALPHA = 128
Point = tuple[float, float]


class Canvas:
    """A layer of alpha values on which drawing replaces, so that strokes of one mark do not add up."""

    def __init__(self, size: tuple[int, int], mark: Mark, scale: float) -> None:
        self.layer = Image.new("L", size)
        self.pen = ImageDraw.Draw(self.layer)
        self.mark, self.scale, self.ink = mark, scale, ALPHA if mark.alpha is None else mark.alpha
        self.width = self.length(WIDTH if mark.width is None else mark.width)
        self.points = self.pixels(mark.geometry)

    def length(self, at_anchor: float) -> int:
        return max(int(_exact(at_anchor * self.scale)), 1)

    def pixels(self, numbers: Sequence[float]) -> list[Point]:
        across, down = self.layer.size
        return [(_exact(x * across), _exact(y * down)) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]

    def polygons(self) -> list[list[Point]]:
        found = [self.points, *map(self.pixels, self.mark.further)]
        return [corners(*points) if len(points) == 2 else points for points in found]


def _exact(value: float) -> float:
    """To a millionth: pixels that were divided by a size come back whole before Pillow cuts off their fractions."""
    return round(value, 6)


def corners(low: Point, high: Point) -> list[Point]:
    return [low, (low[0], high[1]), high, (high[0], low[1])]


def _rectangle(canvas: Canvas) -> None:
    canvas.pen.rectangle(canvas.points, outline=canvas.ink, width=canvas.width)


def _ellipse(canvas: Canvas) -> None:
    canvas.pen.ellipse(canvas.points, outline=canvas.ink, width=canvas.width)


def _triangle(canvas: Canvas) -> None:
    canvas.pen.line([*canvas.points, canvas.points[0]], fill=canvas.ink, width=canvas.width, joint="curve")


def _point(canvas: Canvas) -> None:
    box = canvas.points
    if len(box) == 1:
        (x, y), radius = box[0], canvas.length(RADIUS if canvas.mark.width is None else canvas.mark.width)
        box = [(x - radius, y - radius), (x + radius, y + radius)]
    canvas.pen.ellipse(box, fill=canvas.ink)


def _scribble(canvas: Canvas) -> None:
    points = canvas.points
    if len(points) == 2:
        (left, top), (right, bottom) = points
        points = [(left, top), (right, top), (left, bottom), (right, bottom)]
    if len(points) == 4:
        t = np.linspace(0, 1, max(int(1000 * canvas.scale), 2))[:, None]
        weights = np.hstack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])  # (values of t, 4)
        points = [(_exact(float(x)), _exact(float(y))) for x, y in weights @ np.array(points)]
    canvas.pen.line(points, fill=canvas.ink, width=canvas.width)


def _mask(canvas: Canvas) -> None:
    for polygon in canvas.polygons():
        canvas.pen.polygon(polygon, fill=canvas.ink)


def _mask_contour(canvas: Canvas) -> None:
    """Outlines moved by up to ``width`` pixels each way: one outline, every pixel of it grown to a square."""
    reach = canvas.width
    across, down = canvas.layer.size
    outline = Image.new("L", (across + 2 * reach, down + 2 * reach))
    pen = ImageDraw.Draw(outline)
    for polygon in canvas.polygons():
        moved = [(x + reach, y + reach) for x, y in polygon]
        pen.polygon(moved, outline=1)
        pen.point(moved, fill=1)  # of a polygon within one pixel Pillow draws nothing
    grown = _grown(np.asarray(outline) > 0, 2 * reach + 1)
    canvas.layer.paste(canvas.ink, mask=Image.fromarray(grown.astype(np.uint8) * 255))


def _grown(drawn: np.ndarray, window: int) -> np.ndarray:
    """Whether anything is drawn in each square of ``window`` pixels a side; less by ``window - 1`` each way."""
    for _ in range(2):  # rows, then columns
        sums = np.cumsum(np.pad(drawn, [(1, 0), (0, 0)]), axis=0, dtype=np.int32)
        drawn = (sums[window:] > sums[:-window]).T
    return drawn


def _arrow(canvas: Canvas) -> None:
    points = canvas.points
    if len(points) == 2:
        (x0, y0), tip = points
        length = math.hypot(x0 - tip[0], y0 - tip[1])
        size = min(max(0.3 * length, int(6 * canvas.scale)), length)
        points = [*points, *head(tip, math.atan2(y0 - tip[1], x0 - tip[0]), size)]
    *shaft, one, other = points
    canvas.pen.line(shaft[::-1], fill=canvas.ink, width=canvas.width)
    if canvas.mark.filled:
        canvas.pen.polygon([one, shaft[-1], other], fill=canvas.ink)
    else:
        canvas.pen.line([one, shaft[-1], other], fill=canvas.ink, width=canvas.width)


def head(tip: Point, angle: float, size: float) -> list[Point]:
    """The two ends of an arrow's head, 60 degrees either side of the shaft, which leaves the tip at ``angle``."""
    turns = (angle + math.pi / 3, angle - math.pi / 3)
    return [(tip[0] + size * math.cos(turn), tip[1] + size * math.sin(turn)) for turn in turns]


DRAWN: dict[str, Callable[[Canvas], None]] = {
    "box": _rectangle,
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "triangle": _triangle,
    "point": _point,
    "scribble": _scribble,
    "mask contour": _mask_contour,
    "mask": _mask,
    "arrow": _arrow,
}
