"""Visual prompts: marks drawn on a picture as ViP-LLaVA draws them (Cai et al. 2024, arXiv:2312.00784).

``mark`` reads a mark that a person wrote, ``core.sketches`` makes a random one around an annotated object, and
``draw`` draws either, without any chance of its own.
"""

from collections.abc import Sequence

from PIL import Image

from olhar.core._strokes import DRAWN, Canvas
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Mark, Pen, VideoRef

COLOURS = {
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
SHAPES = ("rectangle", "ellipse", "triangle", "point", "scribble", "mask contour", "mask", "arrow")
EXAMPLES = {  # what a person writes; a box is a rectangle
    "box": "box 0.1 0.2 0.6 0.9 red",
    "rectangle": "rectangle 0.1 0.2 0.6 0.9 red width=5",
    "ellipse": "ellipse 0.1 0.2 0.6 0.9 lime",
    "triangle": "triangle 0.1 0.9 0.5 0.1 0.9 0.9 gold",
    "point": "point 0.5 0.5 red",
    "scribble": "scribble 0.1 0.5 0.4 0.1 0.6 0.9 0.9 0.5 blue",
    "mask contour": "mask contour 0.1 0.1 0.9 0.2 0.5 0.8 aqua",
    "mask": "mask 0.1 0.1 0.9 0.2 0.5 0.8 purple alpha=96",
    "arrow": "arrow 0.2 0.2 0.5 0.5 orange",
}
ANCHOR = 336  # side of ViP-LLaVA's input, in whose pixels widths are said
WIDEST = 100.0  # pixels at the anchor
FARTHEST = 1e4  # image sides; farther points would cost time and show nothing
_COUNTS = {"box": (4,), "rectangle": (4,), "ellipse": (4,), "triangle": (6,), "point": (2, 4), "arrow": (4, 8, 10)}


def draw(image: Image.Image, mark: Mark, anchor: int = ANCHOR) -> Image.Image:
    """The picture as RGB with a mark blended over it. Lines grow with the image: by its longer side over ``anchor``.

    Geometry by shape, x before y:

    ==========================  ===========================================================================
    rectangle (box), ellipse    two corners, left top and right bottom
    triangle                    three points
    point                       its centre; or two corners of what it fills
    arrow                       tail, tip; or tail, tip, two ends of the head; or tail, bend, tip, two ends
    scribble                    four control points of a cubic Bezier curve; two corners of a box it crosses;
                                any other number of points: a line through them
    mask, mask contour          a polygon, or two corners of a box; ``further`` ones overlap without adding up
    ==========================  ===========================================================================

    Raises a ``UserError`` for a mark that cannot be drawn or leaves no trace on this picture.
    """
    fix = f"shapes: {', '.join(SHAPES)}; colours: {', '.join(COLOURS)} or (red, green, blue)"
    if reason := _problem(mark):
        raise UserError(f"cannot draw a {mark.colour} {mark.shape}: {reason}", "a mark on an image", fix)
    canvas = Canvas(image.size, mark, max(image.size) / anchor)
    DRAWN[mark.shape](canvas)
    box = canvas.layer.getbbox()
    if box is None:
        what = f"a {mark.colour} {mark.shape} at {mark.geometry} leaves no trace on a picture of {image.size} pixels"
        raise UserError(what, "a mark on an image", "correct its geometry")
    ink = Image.new("RGBA", (box[2] - box[0], box[3] - box[1]), _rgb(mark))
    ink.putalpha(canvas.layer.crop(box))
    drawn = image.convert("RGB")
    drawn.paste(Image.alpha_composite(drawn.crop(box).convert("RGBA"), ink).convert("RGB"), box)
    return drawn


def mark(text: str) -> Mark:
    """``box 0.1 0.2 0.6 0.9 red width=5 alpha=255`` as a mark; a ``UserError`` says what is wrong with it."""
    shape, numbers, options = _split(text)
    example = EXAMPLES.get(shape, "; ".join(EXAMPLES.values()))
    fix = f"numbers go from 0 to 1; write for example: {example}"
    reason = None if shape in EXAMPLES else f"there is no shape {shape!r}"
    said: dict[str, str] = {}
    for word in options:
        name, _, value = word.partition("=") if "=" in word else ("colour", "", word)
        if name in said or name not in ("colour", "width", "alpha"):
            reason = reason or f"{word!r} is neither a number from 0 to 1, a colour, width=… nor alpha=…"
        said[name] = value
    if not all(0 <= number <= 1 for number in numbers):
        reason = reason or "it leaves the image"
    if reason is None:
        try:
            width = float(said["width"]) if "width" in said else None
            alpha = int(said["alpha"]) if "alpha" in said else None
            found = Mark(shape, said.get("colour", "red"), numbers, width, alpha)
        except ValueError:
            reason = "width and alpha are numbers, alpha a whole one"
        else:
            reason = _problem(found)
    if reason is not None:
        raise UserError(f"cannot draw the mark {text!r}: {reason}", "--mark", fix)
    return found


def penned(ref: ImageRef | VideoRef, pen: Pen) -> ImageRef | VideoRef:
    """The reference with every mark that says nothing of its own drawn as ``pen`` draws: for training and asking."""
    if not isinstance(ref, ImageRef) or not ref.marks:
        return ref
    return ImageRef(ref.path, tuple(map(pen.take, ref.marks)))


def _split(text: str) -> tuple[str, tuple[float, ...], list[str]]:
    """Shape, leading numbers, and the words behind them."""
    words = text.split() or [""]
    if words[:2] == ["mask", "contour"] or words[0] == "mask-contour":
        words[: 1 if words[0] == "mask-contour" else 2] = ["mask contour"]
    numbers: list[float] = []
    for word in words[1:]:
        try:
            numbers.append(float(word))
        except ValueError:
            break
    return words[0], tuple(numbers), words[1 + len(numbers) :]


def _problem(mark: Mark) -> str | None:
    """Why a mark cannot be drawn on any picture."""
    if mark.shape not in EXAMPLES:
        return f"there is no shape {mark.shape!r}"
    if isinstance(mark.colour, str) and mark.colour not in COLOURS:
        return f"there is no colour {mark.colour!r}; there are {', '.join(COLOURS)}"
    if len(_rgb(mark)) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in _rgb(mark)):
        return "a colour is a name or three whole numbers from 0 to 255"
    if mark.alpha is not None and not 1 <= mark.alpha <= 255:
        return "alpha goes from 1 (hardly seen) to 255 (opaque)"
    if mark.width is not None and not 0 <= mark.width <= WIDEST:
        return f"width goes from 0 to {WIDEST:g}"
    if mark.further and not mark.shape.startswith("mask"):
        return "only masks have several polygons"
    return next(filter(None, (_misshapen(mark.shape, numbers) for numbers in (mark.geometry, *mark.further))), None)


def _misshapen(shape: str, numbers: Sequence[float]) -> str | None:
    count = len(numbers)
    counts = _COUNTS.get(shape)
    if counts and count not in counts:
        return f"it takes {' or '.join(map(str, counts))} numbers, not {count}"
    if not counts and count != 4 and (count < 6 or count % 2):
        return f"it takes 4 numbers, or x and y of three or more points, not {count} numbers"
    if not all(abs(number) <= FARTHEST for number in numbers):
        return "a point lies nowhere near the image"
    if count == 4 and shape != "arrow" and (numbers[0] > numbers[2] or numbers[1] > numbers[3]):
        return "its box is inside out: left, top, right, bottom"
    if shape == "arrow" and count == 4 and tuple(numbers[:2]) == tuple(numbers[2:]):
        return "it has no length"
    return None


def _rgb(mark: Mark) -> tuple[int, int, int]:
    return COLOURS[mark.colour] if isinstance(mark.colour, str) else mark.colour
