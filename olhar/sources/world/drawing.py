"""Scenes become pixels."""

from PIL import Image, ImageDraw

from olhar.sources.world import art
from olhar.sources.world.scenes import COLOURS, SIDE, Figure, Mark, Pictogram, Picture, Thing

BOX_COLOUR, BOX_WIDTH = (235, 0, 0), 2
ARROW_COLOUR, ARROW_WIDTH, ARROW_TIP = (0, 0, 200), 3, 3


def draw(picture: Picture, styles: tuple[str, ...]) -> Image.Image:
    """The 64x64 RGB image of a picture, its pictograms in the given styles."""
    image = Image.new("RGB", (SIDE, SIDE), picture.background)
    for thing in picture.things:
        if isinstance(thing.what, Pictogram):
            _paste(image, thing, thing.what, styles)
        elif isinstance(thing.what, Figure):
            _figure(ImageDraw.Draw(image), thing, thing.what)
    if picture.lettering is not None:
        word = picture.lettering
        ImageDraw.Draw(image).text(word.at, word.word, fill=word.ink, font=art.font(word.size))
    if picture.mark is not None:
        _mark(ImageDraw.Draw(image), picture.mark)
    return image


def _paste(image: Image.Image, thing: Thing, what: Pictogram, styles: tuple[str, ...]) -> None:
    x0, y0, x1, _ = thing.box
    sprite = art.sprite(styles[what.style % len(styles)], what.noun.place, x1 - x0)
    image.paste(sprite, (x0, y0), sprite)


def _figure(canvas: ImageDraw.ImageDraw, thing: Thing, what: Figure) -> None:
    x0, y0, x1, y1 = thing.box
    right, bottom = x1 - 1, y1 - 1  # Pillow's corners are inclusive
    middle_x, middle_y = (x0 + right) // 2, (y0 + bottom) // 2
    fill = COLOURS[what.colour]
    if what.shape == "square":
        canvas.rectangle((x0, y0, right, bottom), fill=fill)
    elif what.shape == "circle":
        canvas.ellipse((x0, y0, right, bottom), fill=fill)
    elif what.shape == "triangle":
        canvas.polygon([(middle_x, y0), (right, bottom), (x0, bottom)], fill=fill)
    else:
        canvas.polygon([(middle_x, y0), (right, middle_y), (middle_x, bottom), (x0, middle_y)], fill=fill)


def _mark(canvas: ImageDraw.ImageDraw, mark: Mark) -> None:
    x0, y0, x1, y1 = mark.geometry
    if mark.shape == "box":
        canvas.rectangle((x0, y0, x1 - 1, y1 - 1), outline=BOX_COLOUR, width=BOX_WIDTH)
        return
    canvas.line((x0, y0, x1, y1), fill=ARROW_COLOUR, width=ARROW_WIDTH)
    canvas.ellipse((x1 - ARROW_TIP, y1 - ARROW_TIP, x1 + ARROW_TIP, y1 + ARROW_TIP), fill=ARROW_COLOUR)
