"""What a scene shows: things with places, before any pixel is drawn and any word is chosen.

Pictures are 64x64; boxes are (x0, y0, x1, y1) in pixels, half open. The four quadrants are numbered in reading
order: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from olhar.sources.world import art, splits
from olhar.sources.world.nouns import Noun

Kind = Literal["obj", "one", "shape", "word", "prompt", "pair", "video"]
Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

SIDE = 64
CELL = SIDE // 2
FRAMES = 4
DRAWS = 10_000  # a rule that so many draws do not meet is a defect
STYLES = len(splits.TRAINING_STYLES)
SHAPES = ("square", "circle", "triangle", "diamond")
COLOURS: Mapping[str, Colour] = {
    "red": (220, 30, 30),
    "blue": (40, 80, 220),
    "green": (30, 160, 60),
    "yellow": (245, 215, 30),
    "purple": (130, 40, 170),
    "orange": (250, 140, 20),
    "black": (15, 15, 15),
    "pink": (250, 130, 190),
}
STEPS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
REPEATS = 0.45  # share of the scenes of several things in which a noun repeats
# How many there are of each noun in such a scene of 2, 3 or 4 things, each row equally often.
GROUPS = {2: ((2,),), 3: ((3,), (2, 1)), 4: ((4,), (4,), (3, 1), (2, 2), (2, 1, 1))}


class Figure(NamedTuple):
    shape: str
    colour: str


class Pictogram(NamedTuple):
    noun: Noun
    style: int  # number of the style among those of the split


@dataclass(frozen=True, slots=True)
class Thing:
    """Something at a place: a pictogram, a coloured figure, or one letter of the word that is written."""

    what: Pictogram | Figure | str
    box: Box
    quadrant: int = -1
    marked: bool = False

    @property
    def label(self) -> str:
        if isinstance(self.what, Pictogram):
            return f"noun:{self.what.noun.cp}"
        if isinstance(self.what, Figure):
            return f"shape:{self.what.shape}-{self.what.colour}"
        return f"letter:{self.what}"


@dataclass(frozen=True, slots=True)
class Mark:
    """A red box around a thing, or a blue arrow from a point to the thing: a visual prompt."""

    shape: Literal["box", "arrow"]
    geometry: Box


@dataclass(frozen=True, slots=True)
class Lettering:
    """A word: where its ink begins, its size in pixels and its colour."""

    word: str
    size: int
    ink: Colour
    at: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    background: Colour
    things: tuple[Thing, ...]
    mark: Mark | None = None
    lettering: Lettering | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One or two pictures, or the four frames of a video. ``things`` are all that it shows, once each.

    ``odd`` is the thing that one picture of a pair lacks and ``lacks`` that picture's number; ``direction`` is
    where the thing of a video moves.
    """

    kind: Kind
    pictures: tuple[Picture, ...]
    things: tuple[Thing, ...]
    odd: Noun | None = None
    lacks: int = -1
    direction: str = ""


@dataclass(frozen=True, slots=True)
class Stock:
    """What scenes are made of: the nouns, the syllables of the words, and the rule of the split."""

    split: splits.Split
    nouns: Sequence[Noun]
    syllables: tuple[Sequence[str], Sequence[str]]
    never_spell: frozenset[str]

    def different(self, rng: random.Random, count: int) -> list[Noun]:
        """So many different nouns, none apart from another, that may share a scene of the split."""
        for _ in range(DRAWS):
            nouns = rng.sample(self.nouns, count)
            cps = [noun.cp for noun in nouns]
            if splits.allows_nouns(self.split, cps) and all(noun.apart.isdisjoint(cps) for noun in nouns):
                return nouns
        raise RuntimeError(f"{DRAWS} draws gave no {count} nouns for the split {self.split}")

    def lettering(self, rng: random.Random) -> tuple[Lettering, tuple[Thing, ...]]:
        """A word of one or two syllables that fits the picture and the split, and its letters."""
        onsets, rhymes = self.syllables
        for _ in range(DRAWS):
            word = "".join(rng.choice(onsets) + rng.choice(rhymes) for _ in range(rng.randint(1, 2)))
            size = rng.randint(15, 17)
            x0, y0, x1, y1 = (round(value) for value in art.font(size).getbbox(word))
            if word in self.never_spell or not splits.allows_word(self.split, word) or x1 - x0 > SIDE:
                continue
            x, y = rng.randint(0, SIDE - (x1 - x0)) - x0, rng.randint(0, SIDE - (y1 - y0)) - y0
            ink = (rng.randint(0, 90), rng.randint(0, 90), rng.randint(0, 90))
            steps = (x + round(art.font(size).getlength(word[:end])) for end in range(len(word) + 1))
            edges = [min(max(edge, 0), SIDE) for edge in steps]
            spans = zip(word, edges, edges[1:], strict=False)
            letters = (Thing(letter, (left, y + y0, right, y + y1)) for letter, left, right in spans)
            return Lettering(word, size, ink, (x, y)), tuple(letters)
        raise RuntimeError(f"{DRAWS} draws gave no word for the split {self.split}")


def draw(kind: Kind, stock: Stock, rng: random.Random) -> Scene:
    """A scene of the kind."""
    return _KINDS[kind](stock, rng)


def _one(stock: Stock, rng: random.Random) -> Scene:
    size = rng.randint(24, 52)
    thing = Thing(_pictogram(stock.different(rng, 1)[0], rng), _box_at(_corner(size, rng), size))
    return Scene("one", (Picture(_background(rng), (thing,)),), (thing,))


def _objects(stock: Stock, rng: random.Random) -> Scene:
    """One to four things, each number equally often, so that the answer to "how many" is balanced."""
    count = rng.randint(1, 4)
    if count == 1:
        return replace(_one(stock, rng), kind="obj")
    groups = rng.choice(GROUPS[count]) if rng.random() < REPEATS else (1,) * count
    nouns = stock.different(rng, len(groups))
    shown = [noun for noun, times in zip(nouns, groups, strict=True) for _ in range(times)]
    things = _placed(shown, rng, sizes=(20, 28))
    return Scene("obj", (Picture(_background(rng), things),), things)


def _figures(stock: Stock, rng: random.Random) -> Scene:
    count = rng.randint(1, 4)
    what = zip(rng.sample(SHAPES, count), rng.sample(list(COLOURS), count), strict=True)
    spots = _spots(count, rng, sizes=(18, 28))
    things = tuple(Thing(Figure(*pair), box, quadrant) for pair, (quadrant, box) in zip(what, spots, strict=True))
    return Scene("shape", (Picture(_background(rng), things),), things)


def _word(stock: Stock, rng: random.Random) -> Scene:
    lettering, letters = stock.lettering(rng)
    return Scene("word", (Picture(_background(rng), letters, lettering=lettering),), letters)


def _prompt(stock: Stock, rng: random.Random) -> Scene:
    """Different things, one of them marked; the margin keeps the box inside the thing's quadrant."""
    things = list(_placed(stock.different(rng, rng.randint(2, 4)), rng, sizes=(18, 22), margin=4))
    chosen = rng.randrange(len(things))
    things[chosen] = replace(things[chosen], marked=True)
    mark = _mark(rng.choice(("box", "arrow")), things[chosen].box, rng)
    return Scene("prompt", (Picture(_background(rng), tuple(things), mark),), tuple(things))


def _mark(shape: Literal["box", "arrow"], box: Box, rng: random.Random) -> Mark:
    x0, y0, x1, y1 = box
    if shape == "box":
        return Mark("box", (x0 - 4, y0 - 4, x1 + 4, y1 + 4))
    from_x, from_y = SIDE // 2 + rng.randint(-3, 3), SIDE // 2 + rng.randint(-3, 3)
    # The tip lies inside the thing, but short of its centre, so that the thing stays visible.
    tip_x, tip_y = (SIDE // 2 + round(0.7 * ((low + high) / 2 - SIDE // 2)) for low, high in ((x0, x1), (y0, y1)))
    return Mark("arrow", (from_x, from_y, tip_x, tip_y))


def _pair(stock: Stock, rng: random.Random) -> Scene:
    """Two pictures of the same things, one of which is missing once; background and styles drawn anew."""
    things = _placed(stock.different(rng, rng.randint(2, 4)), rng, sizes=(20, 28))
    odd, lacks = rng.choice(things), rng.randrange(2)
    pictures = []
    for number in range(2):
        shown = (thing for thing in things if number != lacks or thing is not odd)
        restyled = tuple(replace(thing, what=_pictogram(noun_of(thing), rng)) for thing in shown)
        pictures.append(Picture(_background(rng), restyled))
    return Scene("pair", tuple(pictures), things, odd=noun_of(odd), lacks=lacks)


def _video(stock: Stock, rng: random.Random) -> Scene:
    """One thing on its way across; background and style stay."""
    size, speed, direction = rng.randint(22, 30), rng.randint(7, 10), rng.choice(list(STEPS))
    way = [axis * speed * (FRAMES - 1) for axis in STEPS[direction]]
    x, y = (rng.randint(max(0, -length), SIDE - size - max(0, length)) for length in way)
    what, background = _pictogram(stock.different(rng, 1)[0], rng), _background(rng)
    dx, dy = (axis * speed for axis in STEPS[direction])
    frames = [Thing(what, _box_at((x + dx * time, y + dy * time), size)) for time in range(FRAMES)]
    pictures = tuple(Picture(background, (thing,)) for thing in frames)
    return Scene("video", pictures, (frames[0],), direction=direction)


_KINDS: Mapping[Kind, Callable[[Stock, random.Random], Scene]] = {
    "obj": _objects,
    "one": _one,
    "shape": _figures,
    "word": _word,
    "prompt": _prompt,
    "pair": _pair,
    "video": _video,
}


def _background(rng: random.Random) -> Colour:
    grey = rng.randint(200, 255)
    red, green, blue = (min(255, grey + rng.randint(-25, 25)) for _ in range(3))
    return red, green, blue


def _pictogram(noun: Noun, rng: random.Random) -> Pictogram:
    return Pictogram(noun, rng.randrange(STYLES))


def noun_of(thing: Thing) -> Noun:
    """The noun of a thing that is a pictogram."""
    assert isinstance(thing.what, Pictogram)
    return thing.what.noun


def _placed(nouns: Sequence[Noun], rng: random.Random, sizes: tuple[int, int], margin: int = 0) -> tuple[Thing, ...]:
    """The nouns at different quadrants, in reading order."""
    order = rng.sample(nouns, len(nouns))
    spots = _spots(len(order), rng, sizes, margin)
    return tuple(
        Thing(_pictogram(noun, rng), box, quadrant) for noun, (quadrant, box) in zip(order, spots, strict=True)
    )


def _spots(count: int, rng: random.Random, sizes: tuple[int, int], margin: int = 0) -> list[tuple[int, Box]]:
    """So many different quadrants in reading order, each with a box somewhere inside it."""
    spots = []
    for quadrant in sorted(rng.sample(range(4), count)):
        size = rng.randint(*sizes)
        x, y = (rng.randint(margin, CELL - margin - size) for _ in range(2))
        spots.append((quadrant, _box_at((quadrant % 2 * CELL + x, quadrant // 2 * CELL + y), size)))
    return spots


def _corner(size: int, rng: random.Random) -> tuple[int, int]:
    return rng.randint(0, SIDE - size), rng.randint(0, SIDE - size)


def _box_at(corner: tuple[int, int], size: int) -> Box:
    x, y = corner
    return x, y, x + size, y + size
