"""Any resolution: an image as the whole of it in one tile, and as a grid of tiles that keeps its aspect ratio.

The layout of LLaVA-OneVision (Li et al. 2024, arXiv:2408.03326, section 3.2), with transformers' arithmetic: where the
published code and transformers round differently, the number of features is what transformers' class makes of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from olhar.families._towers import HALF, Fit, Statistics, fitted, stacked
from olhar.families._views import Budget, Medium

LONGEST = 6  # tiles on one side of a canvas in the published grids
SHRINK = 1.1  # a map whose sides are longer by no more than this stays as it is

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Settings:
    """How pictures become tokens.

    pinpoints: the canvases that an image is fitted into, as (height, width) in pixels, multiples of ``side``; with
        none an image is only the whole of it, as in LLaVA-OneVision's alignment.
    max_tiles: an image's feature map is shrunk to about that many tiles if it has more.
    mean, std: of pixels in [0, 1].
    """

    side: int
    patch: int
    pinpoints: tuple[Pair, ...]
    max_tiles: int = 9
    mean: Statistics = HALF
    std: Statistics = HALF

    @property
    def patches(self) -> int:
        """Patches on one side of a tile."""
        return self.side // self.patch


def all_canvases(side: int, longest: int = LONGEST) -> tuple[Pair, ...]:
    """Every canvas of 1 to ``longest`` tiles high and wide."""
    sides = [side * count for count in range(1, longest + 1)]
    return tuple((height, width) for height in sides for width in sides)


def described(settings: Settings) -> dict[str, Any]:
    """What transformers' configuration of a model says of the layout."""
    return {
        "image_grid_pinpoints": [list(pair) for pair in settings.pinpoints],
        "vision_aspect_ratio": f"anyres_max_{settings.max_tiles}",
        "vision_feature_select_strategy": "full",
    }


@dataclass(frozen=True, slots=True)
class Tiles:
    """One image or video as tiles.

    how: ``anyres`` is the whole image and the tiles of its canvas, ``whole`` the first of these alone, ``padded`` the
        image made square, ``frames`` one tile for each frame of a video.
    size: (width, height) of the image, or of a video's first frame.
    grid: (columns, rows) of tiles.
    unpadded, shape: (columns, rows) of the grid's features when the canvas's padding is cut off, and when what is
        left has been shrunk; of ``anyres`` only.
    """

    how: Literal["anyres", "whole", "padded", "frames"]
    size: Pair
    grid: Pair
    budget: Budget
    unpadded: Pair = (0, 0)
    shape: Pair = (0, 0)


def views(media: Sequence[Medium], settings: Settings) -> list[Tiles]:
    """Only an image that no other image shares its sample with is looked at closely; videos do not count."""
    alone = sum(medium.kind == "image" for medium in media) == 1
    return [_view(medium, settings, alone) for medium in media]


def _view(medium: Medium, settings: Settings, alone: bool) -> Tiles:
    size, whole = medium.sizes[0], settings.patches**2
    if medium.kind == "video":
        frames = len(medium.sizes)
        pooled = math.ceil(settings.patches / 2) ** 2
        return Tiles("frames", size, (1, 1), Budget(frames * pooled + 1, 0, frames))  # 1: the line break at its end
    if not (alone and settings.pinpoints):
        return Tiles("whole" if alone else "padded", size, (1, 1), Budget(whole + 1, 0, 1))
    columns, rows = grid = tile_grid(*size, settings)
    unpadded = _unpadded(*size, grid, settings)
    wide, high = shape = _shrunk(*unpadded, settings)
    budget = Budget(whole + high * (wide + 1), 0, 1 + columns * rows)
    return Tiles("anyres", size, grid, budget, unpadded, shape)


def tile_grid(width: int, height: int, settings: Settings) -> Pair:
    """(columns, rows) of the canvas that keeps most of the image's pixels, and of those the one that wastes least."""

    def kept_and_unwasted(canvas: Pair) -> Pair:
        high, wide = canvas
        scale = min(wide / width, high / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - high * wide

    high, wide = max(settings.pinpoints, key=kept_and_unwasted)
    return wide // settings.side, high // settings.side


def _unpadded(width: int, height: int, grid: Pair, settings: Settings) -> Pair:
    """(columns, rows) of features that are left when the canvas's padding is cut off."""
    wide, high = grid[0] * settings.patches, grid[1] * settings.patches
    if width / height > wide / high:
        high -= (high - int(round(height * (wide / width), 7))) // 2 * 2
    else:
        wide -= (wide - int(round(width * (high / height), 7))) // 2 * 2
    return wide, high


def _shrunk(wide: int, high: int, settings: Settings) -> Pair:
    """(columns, rows) of a feature map that is shrunk if it is much larger than ``max_tiles``."""
    longer = math.sqrt(high * wide / (settings.max_tiles * settings.patches**2))
    return (int(wide // longer), int(high // longer)) if longer > SHRINK else (wide, high)


def pixels(pictures: Sequence[Image.Image], view: Tiles, settings: Settings) -> np.ndarray:
    """uint8 (tiles, 3, side, side): the whole picture, then the tiles of its canvas row by row; or every frame."""
    fit: Fit = "pad" if view.how == "padded" else "squash"
    tiles = [fitted(image, settings.side, fit, settings.mean) for image in pictures]
    if view.how == "anyres":
        tiles += _cut(pictures[0], view.grid, settings.side)
    return stacked(tiles)


def _cut(image: Image.Image, grid: Pair, side: int) -> list[Image.Image]:
    """The image fitted into the middle of a black canvas, and cut."""
    columns, rows = grid
    wide, high = columns * side, rows * side
    across, down = wide / image.width, high / image.height
    if across < down:
        inner = wide, min(math.ceil(image.height * across), high)
    else:
        inner = min(math.ceil(image.width * down), wide), high
    canvas = Image.new("RGB", (wide, high))
    canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), ((wide - inner[0]) // 2, (high - inner[1]) // 2))
    return [
        canvas.crop((column * side, row * side, (column + 1) * side, (row + 1) * side))
        for row in range(rows)
        for column in range(columns)
    ]


USAGE = """\
inputs = processor([[image]], return_tensors="pt")  # one sample of one image
count = len(model.get_image_features(**inputs).pooler_output[0])  # tokens that the image takes
text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
text = text.replace("<image>", "<image>" * count)
inputs |= tokenizer(text, return_tensors="pt")"""


def usage(settings: Settings) -> tuple[str, str]:
    return "AutoImageProcessor", USAGE
