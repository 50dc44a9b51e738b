"""What is asked of a scene, and the right answer, before any language puts it into words.

Answers are balanced here: "how many" by the scenes themselves, "how many of these" by leaving out questions
whose answer is frequent, yes and no by a coin.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from olhar.sources.world.nouns import Noun
from olhar.sources.world.scenes import Figure, Kind, Scene, Thing, noun_of

Skill = Literal[
    "name", "cap", "count", "countk", "has", "where", "rel", "relyn",
    "col", "shape", "ocr", "box", "arrow", "new", "gone", "move",
]  # fmt: skip
SKILLS: tuple[Skill, ...] = get_args(Skill)

# Which skills a kind of scene can be asked about.
ASKS: Mapping[Kind, frozenset[Skill]] = {
    "obj": frozenset({"name", "cap", "count", "countk", "has", "where", "rel", "relyn"}),
    "one": frozenset({"name", "has"}),
    "shape": frozenset({"col", "shape", "count"}),
    "word": frozenset({"ocr"}),
    "prompt": frozenset({"box", "arrow", "where"}),
    "pair": frozenset({"new", "gone"}),
    "video": frozenset({"move", "name"}),
}
# Share of the countk questions that is kept, by answer; with it, the four answers are equally frequent. The
# shares follow from scenes.GROUPS: of 180 scenes in which a noun repeats, one different noun each picked at
# random, 29 give one, 91 two, 36 three and 24 four.
KEPT = {1: 24 / 29, 2: 24 / 91, 3: 24 / 36, 4: 1.0}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}

Answer = bool | int | str | Noun | tuple[Noun, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A skill, what it asks about, and the answer.

    ``answer``: a noun (name, rel, box, arrow, new, gone), several (cap), a number from 1 (count, countk), a
    truth (has, relyn), a quadrant (where), or the key of a colour, shape or direction, or a word (ocr).
    ``form`` in [0, 1) picks one of a language's ways of asking.
    """

    skill: Skill
    answer: Answer
    form: float
    noun: Noun | None = None
    other: Noun | None = None
    relation: str = ""
    figure: Figure | None = None


def ask(scene: Scene, nouns: Sequence[Noun], skills: frozenset[Skill], rng: random.Random) -> list[Question]:
    """The questions of a scene in the given skills, shuffled. ``nouns`` is where absent things come from."""
    questions = [question for question in _ask(scene, nouns, rng) if question.skill in skills]
    rng.shuffle(questions)
    return questions


def _ask(scene: Scene, nouns: Sequence[Noun], rng: random.Random) -> Iterator[Question]:
    if scene.kind in ("obj", "one"):
        return _ask_objects(scene, nouns, rng)
    if scene.kind == "shape":
        return _ask_figures(scene, rng)
    if scene.kind == "prompt":
        return _ask_prompt(scene, rng)
    return _ask_whole(scene, rng)


def _ask_objects(scene: Scene, nouns: Sequence[Noun], rng: random.Random) -> Iterator[Question]:
    shown = [noun_of(thing) for thing in scene.things]
    if scene.kind == "obj":
        yield Question("count", len(shown), rng.random())
    yield from _ask_presence(shown, nouns, rng)
    if len(shown) == 1:
        yield Question("name", shown[0], rng.random())
        return
    yield Question("cap", tuple(shown), rng.random())
    times = Counter(shown)
    noun = rng.choice(list(times))
    if len(times) < len(shown) and rng.random() < KEPT[times[noun]]:
        yield Question("countk", times[noun], rng.random(), noun=noun)
    once = [thing for thing in scene.things if times[noun_of(thing)] == 1]
    if once:
        yield _where(rng.choice(once), rng)
        yield from _ask_relations(scene, once, rng)


def _ask_presence(shown: Sequence[Noun], nouns: Sequence[Noun], rng: random.Random) -> Iterator[Question]:
    """Two questions, by two coins; of a single noun one of each, since "yes" could only be asked once."""
    there = list(dict.fromkeys(shown))
    answers = [rng.random() < 0.5, rng.random() < 0.5] if len(there) > 1 else [True, False]
    taken = {noun.cp for noun in there}.union(*(noun.apart for noun in there))
    absent = [noun for noun in nouns if noun.cp not in taken]
    rng.shuffle(there)
    for answer, present, missing in zip(answers, there * 2, rng.sample(absent, 2), strict=False):
        yield Question("has", answer, rng.random(), noun=present if answer else missing)


def _ask_relations(scene: Scene, once: Sequence[Thing], rng: random.Random) -> Iterator[Question]:
    """Only things of one row or one column are related, and only nouns that occur once are named."""
    sides = [(thing, relation, anchor) for anchor in once for thing, relation in _neighbours(scene, anchor)]
    if sides:
        thing, relation, anchor = rng.choice(sides)
        yield Question("rel", noun_of(thing), rng.random(), other=noun_of(anchor), relation=relation)
    both = [side for side in sides if side[0] in once]
    if both:
        thing, relation, anchor = rng.choice(both)
        true = rng.random() < 0.5
        said = relation if true else OPPOSITE[relation]
        yield Question("relyn", true, rng.random(), noun=noun_of(thing), other=noun_of(anchor), relation=said)


def _neighbours(scene: Scene, anchor: Thing) -> Iterator[tuple[Thing, str]]:
    column, row = anchor.quadrant % 2, anchor.quadrant // 2
    for thing in scene.things:
        if thing.quadrant == anchor.quadrant ^ 1:
            yield thing, "left" if column else "right"
        elif thing.quadrant == anchor.quadrant ^ 2:
            yield thing, "above" if row else "below"


def _ask_figures(scene: Scene, rng: random.Random) -> Iterator[Question]:
    yield Question("count", len(scene.things), rng.random())
    figures = [thing.what for thing in scene.things if isinstance(thing.what, Figure)]
    figure = rng.choice(figures)
    yield Question("col", figure.colour, rng.random(), figure=figure)
    figure = rng.choice(figures)
    yield Question("shape", figure.shape, rng.random(), figure=figure)


def _ask_prompt(scene: Scene, rng: random.Random) -> Iterator[Question]:
    mark = scene.pictures[0].mark
    assert mark is not None
    marked = next(thing for thing in scene.things if thing.marked)
    yield Question(mark.shape, noun_of(marked), rng.random())
    yield _where(rng.choice(scene.things), rng)


def _ask_whole(scene: Scene, rng: random.Random) -> Iterator[Question]:
    """Scenes of which there is one thing to ask, and of a video also the name of what moves."""
    if scene.kind == "word":
        lettering = scene.pictures[0].lettering
        assert lettering is not None
        yield Question("ocr", lettering.word, rng.random())
    elif scene.kind == "pair":
        assert scene.odd is not None
        yield Question("gone" if scene.lacks else "new", scene.odd, rng.random())
    else:
        yield Question("move", scene.direction, rng.random())
        yield Question("name", noun_of(scene.things[0]), rng.random())


def _where(thing: Thing, rng: random.Random) -> Question:
    return Question("where", thing.quadrant, rng.random(), noun=noun_of(thing))
