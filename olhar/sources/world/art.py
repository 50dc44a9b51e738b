"""The drawings and the lettering that the package carries: sheets of 48-pixel glyphs, and one font subset."""

from functools import cache
from pathlib import Path

from PIL import Image, ImageFont

DATA = Path(__file__).parent / "data"
CELL = 48  # pixels of one glyph in a sheet
COLUMNS = 16
STYLES = ("noto", "twemoji", "fluent")


@cache
def sheet(style: str) -> Image.Image:
    """All glyphs of a style, RGBA, in the order of ``nouns.tsv``."""
    with Image.open(DATA / "sprites" / f"{style}.png") as image:
        return image.convert("RGBA")


@cache
def sprite(style: str, place: int, size: int) -> Image.Image:
    """The glyph of the table's row ``place`` as a ``size`` x ``size`` RGBA picture. Do not change it: it is shared."""
    x, y = place % COLUMNS * CELL, place // COLUMNS * CELL
    glyph = sheet(style).crop((x, y, x + CELL, y + CELL))
    return glyph.resize((size, size), Image.Resampling.BILINEAR)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The lettering, at a size in pixels. It holds the letters of the languages' syllables and nothing else."""
    return ImageFont.truetype(str(DATA / "lettering.ttf"), size, layout_engine=ImageFont.Layout.BASIC)
