"""Build the drawings and the lettering of the embedded world from the published packages they come from.

The package ships what this script makes; the script itself stays in the repository. It needs Pillow, fontTools
and resvg-py, and three sources fetched beforehand::

    apt-get install fonts-noto-color-emoji fonts-dejavu-core
    npm pack emoji-datasource-twitter@16.0.0 fluentui-emoji@1.3.0 emojibase-data@17.0.0   # and unpack each

    python tools/world_art.py candidates SOURCES > candidates.tsv   # names to check by hand before they enter
    python tools/world_art.py build SOURCES                         # nouns.tsv -> sprites/*.png, lettering.ttf

``SOURCES`` is the folder with the unpacked npm packages, one folder ``<name>-<version>/package`` each.
``nouns.tsv`` is written by hand: this script reads it and never changes it.
"""

import argparse
import csv
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY / "olhar/sources/world/data"
NOTO = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
TWEMOJI = "emoji-datasource-twitter-16.0.0/package/img/twitter/64"
FLUENT = "fluentui-emoji-1.3.0/package/icons/flat"
NAMES = "emojibase-data-17.0.0/package"

CELL = 48  # pixels of one glyph in a sheet
COLUMNS = 16
CANVAS = 200  # pixels a glyph is drawn on before cropping
NOTO_SIZE = 109  # the only size of the bitmap font
COLOURS = 256
GROUPS = {"animals-nature", "food-drink", "travel-places", "activities", "objects"}
SUBGROUPS_LEFT_OUT = {"time", "emotion"}
FONT_NAME = "Olhar Lettering"  # a modified DejaVu may not keep the name of the original

Draw = Callable[[str], Image.Image]


def noto() -> Draw:
    """Glyphs of Noto Color Emoji by code point."""
    font = ImageFont.truetype(str(NOTO), NOTO_SIZE)

    def draw(cp: str) -> Image.Image:
        canvas = Image.new("RGBA", (CANVAS, CANVAS))
        ImageDraw.Draw(canvas).text((20, 20), chr(int(cp, 16)), font=font, embedded_color=True)
        return canvas

    return draw


def twemoji(sources: Path) -> Draw:
    """The 64-pixel pictures of Twemoji; some file names carry the variation selector."""

    def draw(cp: str) -> Image.Image:
        names = (f"{cp.lower()}.png", f"{cp.lower()}-fe0f.png")
        paths = [sources / TWEMOJI / name for name in names]
        return Image.open(next(path for path in paths if path.exists())).convert("RGBA")

    return draw


def fluent(sources: Path) -> Draw:
    """The flat vector drawings of Fluent Emoji, found by the English name of the code point."""
    import resvg_py

    slugs = {row["cp"]: _slug(row["en"]) for row in _names(sources)}

    def draw(cp: str) -> Image.Image:
        png = resvg_py.svg_to_bytes(svg_path=str(sources / FLUENT / f"{slugs[cp]}.svg"), width=CANVAS)
        return Image.open(io.BytesIO(bytes(png))).convert("RGBA")

    return draw


def glyph(drawing: Image.Image) -> Image.Image:
    """A drawing cropped to what is opaque, centred in a square, as a 48x48 picture."""
    box = drawing.getchannel("A").getbbox()
    if box is None:
        raise ValueError("blank drawing")
    drawing = drawing.crop(box)
    side = max(drawing.size)
    square = Image.new("RGBA", (side, side))
    square.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
    return square.resize((CELL, CELL), Image.Resampling.LANCZOS)


def sheet(draw: Draw, cps: list[str]) -> Image.Image:
    """All glyphs in one palette picture, row by row in the order of ``nouns.tsv``."""
    rows = -(-len(cps) // COLUMNS)
    page = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    for index, cp in enumerate(cps):
        page.paste(glyph(draw(cp)), (index % COLUMNS * CELL, index // COLUMNS * CELL))
    return page.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)


def lettering(letters: str, target: Path) -> None:
    """The letters of all languages, without hinting, as a renamed subset of DejaVu Sans Bold."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options = subset.Options(hinting=False, layout_features=[], name_IDs=[0, 1, 2, 4, 6, 13, 14], notdef_outline=True)
    options.drop_tables += ["FFTM", "GPOS", "GSUB", "GDEF", "kern"]
    font = TTFont(DEJAVU, recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=letters)
    subsetter.subset(font)
    for record in font["name"].names:
        new = {1: FONT_NAME, 4: FONT_NAME, 6: FONT_NAME.replace(" ", "")}.get(record.nameID)
        if new is not None:
            record.string = new
    font.save(target)


def build(sources: Path) -> None:
    """Write the three sheets and the font beside ``nouns.tsv``."""
    with open(DATA / "nouns.tsv", encoding="utf-8", newline="") as file:
        cps = [row["cp"] for row in csv.DictReader(file, delimiter="\t")]
    (DATA / "sprites").mkdir(exist_ok=True)
    for style, draw in {"noto": noto(), "twemoji": twemoji(sources), "fluent": fluent(sources)}.items():
        sheet(draw, cps).save(DATA / f"sprites/{style}.png", optimize=True)
    lettering(_letters(), DATA / "lettering.ttf")


def candidates(sources: Path) -> Iterator[dict[str, str]]:
    """Names of single code points that all styles draw; unchecked, in the CLDR wording."""
    from fontTools.ttLib import TTFont

    drawn = TTFont(NOTO).getBestCmap()
    for row in _names(sources):
        single = "-" not in row["cp"] and row["part"] in GROUPS and row["group"] not in SUBGROUPS_LEFT_OUT
        short = " " not in row["pt"] and len(row["pt"]) <= 12 and len(row["vi"].split()) <= 3
        if single and short and int(row["cp"], 16) in drawn and (sources / FLUENT / f"{_slug(row['en'])}.svg").exists():
            yield row


def _names(sources: Path) -> Iterator[dict[str, str]]:
    folder = sources / NAMES
    meta = json.loads((folder / "meta/groups.json").read_text())
    labels = {
        language: {entry["hexcode"]: entry for entry in json.loads((folder / language / "data.json").read_text())}
        for language in ("pt", "vi", "en")
    }
    for code, entry in labels["en"].items():
        if "subgroup" not in entry:
            continue
        row = {"cp": code.replace("-FE0F", ""), "part": meta["groups"][str(entry["group"])]}
        row["group"] = meta["subgroups"][str(entry["subgroup"])]
        yield row | {language: unicodedata.normalize("NFC", labels[language][code]["label"]) for language in labels}


def _slug(label: str) -> str:
    return re.sub("[^a-z0-9]+", "-", label.lower().replace("’", "")).strip("-")


def _letters() -> str:
    sys.path.insert(0, str(REPOSITORY))
    from olhar.core import choices
    from olhar.languages import language

    scenes = (language(code).scenes for code in choices.names("languages"))
    return "".join(
        sorted({letter for words in scenes if words for parts in words.syllables for letter in "".join(parts)})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["candidates", "build"])
    parser.add_argument("sources", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "build":
        build(arguments.sources)
        return
    writer = csv.DictWriter(sys.stdout, ["cp", "part", "group", "pt", "vi", "en"], delimiter="\t")
    writer.writeheader()
    writer.writerows(candidates(arguments.sources))


if __name__ == "__main__":
    main()
