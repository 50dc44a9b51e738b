"""Dynamic tiling of InternVL: a picture becomes square tiles in the grid nearest to its shape, then tokens.

InternVL 1.5 (Chen et al. 2024, arXiv:2404.16821, section 3.2). A tile becomes ``(side / patch * downsample)**2``
tokens; those of one picture stand between ``<img>`` and ``</img>``. No torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from olhar.core.errors import UserError
from olhar.families import _towers
from olhar.families._views import Budget, Medium
from olhar.languages import language

START, IMAGE_TOKEN, END = "<img>", "<IMG_CONTEXT>", "</img>"
DOWNSAMPLE = 0.5  # pixel shuffle of every published InternVL: 2 x 2 patches become one token
PROCESSOR = "GotOcr2ImageProcessor"  # transformers' image processor for this layout
MOST = 12  # its number of tiles where its configuration says none


@dataclass(frozen=True, slots=True)
class Settings:
    """How an image becomes tiles and tokens. ``mean`` and ``std`` are of pixels in [0, 1]; ``frame_label`` is
    what stands before each frame of a video, its number in braces, ``image_label`` before each of several images
    that are shown together: whoever writes the question writes that one. ``share_tiles``: whether several images
    have ``max_tiles`` together, as InternVL trains; it answers with ``max_tiles`` for each."""

    side: int
    patch: int
    max_tiles: int = 1
    min_tiles: int = 1
    thumbnail: bool = False
    share_tiles: bool = False
    frame_label: str = ""
    image_label: str = ""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def tokens_per_tile(self) -> int:
        return int((self.side // self.patch) ** 2 * DOWNSAMPLE**2)


def of_processor(side: int, patch: int, row: Mapping[str, Any], several: bool) -> Settings:
    """The layout of a ``preprocessor_config.json``. ``several``: whether it is used to cut several tiles."""
    mean, std = row.get("image_mean", _towers.IMAGENET_MEAN), row.get("image_std", _towers.IMAGENET_STD)
    most, least = (row.get("max_patches", MOST), row.get("min_patches", 1)) if several else (1, 1)
    return Settings(side, patch, most, least, thumbnail=most > 1, mean=tuple(mean), std=tuple(std))


def labelled(settings: Settings) -> Settings:
    """The settings with the labels of the published prompts, which are in English."""
    words = language("en").labels
    return replace(settings, frame_label=f"{words['frame']}-{{}}: ", image_label=f"{words['image']}-{{}}: ")


def processor(settings: Settings) -> dict[str, Any]:
    """The ``preprocessor_config.json`` with which transformers cuts pictures as ``pixels`` does.

    Raises ``UserError`` for several tiles without a thumbnail: transformers always adds it.
    """
    if settings.max_tiles > 1 and not settings.thumbnail:
        raise UserError(
            "transformers always adds a thumbnail to several tiles, and this layout has none",
            "thumbnail = false",
            "use a layout with a thumbnail, or of one tile",
        )
    return {
        "image_processor_type": PROCESSOR,
        "size": {"height": settings.side, "width": settings.side},
        "crop_to_patches": settings.max_tiles > 1,
        "min_patches": settings.min_tiles,
        "max_patches": settings.max_tiles,
        "image_mean": list(settings.mean),
        "image_std": list(settings.std),
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
    }


WHOLE = """\
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
inputs["pixel_values"] = processor(image, return_tensors="pt")["pixel_values"]"""
SEVERAL = """\
tiles = processor(image, return_tensors="pt")["pixel_values"]
picture = "{start}" + "{token}" * ({count} * len(tiles)) + "{end}"
text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
inputs = tokenizer(text.replace("{token}", picture), return_tensors="pt")
inputs["pixel_values"] = tiles"""


def usage(settings: Settings) -> tuple[str, str]:
    if settings.max_tiles == 1:
        return "AutoImageProcessor", WHOLE
    words = {"start": START, "token": IMAGE_TOKEN, "end": END, "count": settings.tokens_per_tile}
    return "AutoImageProcessor", SEVERAL.format(**words)


def shuffled(found: Settings, where: str) -> Settings:
    """The settings, if their patches can be shuffled: two by two become one token."""
    grid = found.side // found.patch
    if grid == 0 or grid % 2:
        what = f"{grid} x {grid} patches cannot be joined two by two"
        raise UserError(what, where, "choose image_size as an even multiple of patch_size")
    return found


def tile_grid(width: int, height: int, settings: Settings) -> tuple[int, int]:
    """(columns, rows): nearest aspect ratio; of equally near ones the larger, while the image is large enough."""
    best, best_difference = (1, 1), float("inf")
    for columns, rows in _grids(settings.min_tiles, settings.max_tiles):
        difference = abs(width / height - columns / rows)
        roomy = width * height > 0.5 * settings.side**2 * columns * rows
        if difference < best_difference or (difference == best_difference and roomy):
            best, best_difference = (columns, rows), difference
    return best


@lru_cache(maxsize=64)
def _grids(least: int, most: int) -> list[tuple[int, int]]:
    """All grids of ``least`` to ``most`` tiles, the smaller first."""
    grids = [(i, j) for i in range(1, most + 1) for j in range(1, most + 1) if least <= i * j <= most]
    return sorted(grids, key=lambda grid: grid[0] * grid[1])


@dataclass(frozen=True, slots=True)
class Tiles:
    """One image as (columns, rows) of tiles, a thumbnail after several; or every frame of a video as one tile.

    ``budget`` leaves out the labels of frames: they are text, whose tokens are the tokenizer's affair.
    """

    grids: tuple[tuple[int, int], ...]
    thumbnail: bool
    video: bool
    budget: Budget


def views(media: Sequence[Medium], settings: Settings) -> list[Tiles]:
    """How each is looked at. Shared tiles go to the images in equal numbers, one at least; frames have one anyway."""
    images = sum(medium.kind == "image" for medium in media)
    if settings.share_tiles and images > 1:
        settings = replace(settings, max_tiles=max(1, settings.max_tiles // images))
    return [_tiles(medium, settings) for medium in media]


def _tiles(medium: Medium, settings: Settings) -> Tiles:
    video = medium.kind == "video"
    grids = ((1, 1),) * len(medium.sizes) if video else (tile_grid(*medium.sizes[0], settings),)
    thumbnail = settings.thumbnail and not video and grids[0] != (1, 1)
    tiles = sum(columns * rows for columns, rows in grids) + thumbnail
    brackets = 2 * len(grids)  # <img> and </img> around each picture
    return Tiles(grids, thumbnail, video, Budget(tiles * settings.tokens_per_tile + brackets, 0, tiles))


def spell(view: Tiles, settings: Settings) -> str:
    """``<img>`` and ``</img>`` around the tokens of each picture; labelled frames each begin a line."""
    counts = [columns * rows + view.thumbnail for columns, rows in view.grids]
    spelled = [f"{START}{IMAGE_TOKEN * (count * settings.tokens_per_tile)}{END}" for count in counts]
    if not (view.video and settings.frame_label):
        return "".join(spelled)
    return "\n".join(settings.frame_label.format(number) + text for number, text in enumerate(spelled, start=1))


def pixels(pictures: Sequence[Image.Image], view: Tiles, settings: Settings) -> np.ndarray:
    """uint8 (tiles, 3, side, side): for each picture its tiles row by row, then the thumbnail."""
    tiles = [
        tile
        for image, grid in zip(pictures, view.grids, strict=True)
        for tile in _cut(image, grid, view.thumbnail, settings.side)
    ]
    return np.stack([np.asarray(tile, dtype=np.uint8).transpose(2, 0, 1) for tile in tiles])


def _cut(image: Image.Image, grid: tuple[int, int], thumbnail: bool, side: int) -> list[Image.Image]:
    columns, rows = grid
    whole = image.resize((side * columns, side * rows), Image.Resampling.BICUBIC)
    boxes = [(c * side, r * side, (c + 1) * side, (r + 1) * side) for r in range(rows) for c in range(columns)]
    tiles = [whole.crop(box) for box in boxes] if len(boxes) > 1 else [whole]
    if thumbnail:
        tiles.append(image.resize((side, side), Image.Resampling.BICUBIC))
    return tiles
