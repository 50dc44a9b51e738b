"""What scenes show and what is asked of them: splits, balance, sameness."""

import hashlib
import random
from collections import Counter, defaultdict
from itertools import combinations

import pytest

from olhar.core import choices
from olhar.languages import language
from olhar.sources.world import KINDS, SKILLS, Options, World, drawing, nouns, scenes, splits
from olhar.sources.world.nouns import Noun
from olhar.sources.world.scenes import Stock

SPEAKING = [code for code in choices.names("languages") if language(code).scenes]
WITHOUT_WORDS = {kind: weight for kind, weight in KINDS.items() if kind != "word"}
SYLLABLES = (("b", "đ", "n"), ("a", "ô", "ê"))
LAYOUTS = "f80fb63"
PIXELS = "ffb06ea"


def world(code="pt", **options):
    return World(Options(**{"scenes": 1, **options}), code)


def told(value):
    """A value without objects, for hashing: nouns become their code points."""
    if isinstance(value, Noun):
        return value.cp
    return [told(item) for item in value] if isinstance(value, tuple) else value


def layout(scene, questions):
    things = [[(thing.label, thing.box, thing.marked) for thing in picture.things] for picture in scene.pictures]
    asked = [(q.skill, told(q.answer), told(q.noun), told(q.other), q.relation, told(q.figure)) for q in questions]
    return repr((scene.kind, things, [picture.background for picture in scene.pictures], asked))


def test_a_hundred_scenes_are_what_they_were():
    """Sets made with one version can be made again with the next; lettering is left out of the pixels, since
    its edges are the font rasteriser's."""
    where = world(seed=7, kinds=WITHOUT_WORDS)
    layouts, pixels = hashlib.sha256(), hashlib.sha256()
    for number in range(100):
        scene, questions = where.scene(number)
        layouts.update(layout(scene, questions).encode())
        for picture in scene.pictures:
            pixels.update(drawing.draw(picture, splits.TRAINING_STYLES).tobytes())
    assert (layouts.hexdigest()[:7], pixels.hexdigest()[:7]) == (LAYOUTS, PIXELS)


def test_a_scene_depends_on_nothing_but_its_number():
    forwards, backwards = world(seed=3), world(seed=3)
    first = [layout(*forwards.scene(number)) for number in range(30)]
    assert first == [layout(*backwards.scene(number)) for number in reversed(range(30))][::-1]
    assert len(set(first)) == 30
    assert first[0] != layout(*world(seed=4).scene(0))
    assert first[0] != layout(*world(seed=3, split="iid").scene(0))


def test_no_training_scene_shows_a_held_out_pair():
    training = world(kinds=WITHOUT_WORDS)
    for number in range(3000):
        scene, _ = training.scene(number)
        cps = {scenes.noun_of(thing).cp for thing in scene.things if thing.label.startswith("noun")}
        assert not any(splits.held_out_pair(a, b) for a, b in combinations(cps, 2))


@pytest.mark.parametrize("split", ["composition", "style"])
def test_every_test_scene_of_different_nouns_shows_an_unseen_pair(split):
    held_out, several = world(split=split, kinds=WITHOUT_WORDS), 0
    for number in range(600):
        scene, _ = held_out.scene(number)
        cps = {scenes.noun_of(thing).cp for thing in scene.things if thing.label.startswith("noun")}
        several += len(cps) > 1
        assert len(cps) < 2 or any(splits.held_out_pair(a, b) for a, b in combinations(cps, 2))
    assert several > 200


def test_about_a_sixth_of_the_pairs_is_held_out_whatever_their_order():
    pairs = list(combinations((noun.cp for noun in nouns.subset(100)), 2))
    share = sum(splits.held_out_pair(*pair) for pair in pairs) / len(pairs)
    assert 0.14 < share < 0.2
    assert all(splits.held_out_pair(a, b) == splits.held_out_pair(b, a) for a, b in pairs[:200])


@pytest.mark.parametrize("code", SPEAKING)
def test_words_are_split_and_never_rude(code):
    written = {}
    for split in ("train", "composition"):
        spelling = world(code, split=split, kinds={"word": 1})
        words = {spelling.scene(number)[0].pictures[0].lettering.word for number in range(400)}
        assert all(splits.held_out_word(word) == (split == "composition") for word in words)
        assert not words & language(code).scenes.never_spell
        written[split] = words
    assert not written["train"] & written["composition"]
    assert all(len(words) > 100 for words in written.values())


def test_letters_lie_inside_the_picture():
    stock, rng = Stock("iid", nouns.subset(20), SYLLABLES, frozenset({"ba"})), random.Random(0)
    for _ in range(200):
        lettering, letters = stock.lettering(rng)
        assert "".join(thing.what for thing in letters) == lettering.word != "ba"
        assert all(0 <= value <= scenes.SIDE for thing in letters for value in thing.box)


def test_the_style_split_asks_what_the_composition_split_asks():
    one, other = world(split="composition"), world(split="style")
    assert splits.styles("style") == (splits.HELD_OUT_STYLE,)
    for number in range(100):
        assert layout(*one.scene(number)) == layout(*other.scene(number))


def test_languages_are_asked_the_same_questions():
    worlds = [world(code, kinds=WITHOUT_WORDS) for code in SPEAKING]
    for number in range(50):
        assert len({layout(*each.scene(number)) for each in worlds}) == 1


def answers_of(options, amount):
    answers = defaultdict(Counter)
    asking = world(**options)
    for number in range(amount):
        for question in asking.scene(number)[1]:
            answers[question.skill][told(question.answer) if question.skill != "cap" else "text"] += 1
    return answers


@pytest.mark.parametrize("split", ["train", "composition"])
def test_answers_are_balanced(split):
    answers = answers_of({"split": split, "kinds": {"obj": 5, "shape": 1, "video": 1}}, 6000)
    expected = {"count": 4, "countk": 4, "has": 2, "relyn": 2, "where": 4, "move": 4, "col": 8, "shape": 4}
    for skill, different in expected.items():
        total = answers[skill].total()
        assert len(answers[skill]) == different, skill
        for answer, times in answers[skill].items():
            assert abs(times / total - 1 / different) < 0.05, (skill, answer, times / total)


def test_every_skill_is_asked():
    assert set(answers_of({}, 500)) == set(SKILLS)


@pytest.mark.parametrize("kind", ["obj", "one", "shape", "prompt", "pair", "video"])
def test_things_lie_inside_the_picture_and_apart(kind):
    drawn = world(kinds={kind: 1})
    for number in range(200):
        scene, _ = drawn.scene(number)
        for picture in scene.pictures:
            assert all(0 <= value <= scenes.SIDE for thing in picture.things for value in thing.box)
            assert all(_apart(a.box, b.box) for a, b in combinations(picture.things, 2))
            if picture.mark and picture.mark.shape == "box":
                assert all(0 <= value <= scenes.SIDE for value in picture.mark.geometry)


def _apart(a, b):
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_answers_are_true_of_the_scene():
    """Every answer follows from the boxes alone."""
    asking = world(kinds={"obj": 1, "prompt": 1, "pair": 1})
    for number in range(1500):
        scene, questions = asking.scene(number)
        at = defaultdict(list)
        for thing in scene.things:
            at[scenes.noun_of(thing)].append(thing)
        for question in questions:
            assert _true(question, scene, at), (number, question.skill)


def _true(question, scene, at):
    answer, skill = question.answer, question.skill
    if skill == "has":
        return answer == (question.noun in at)
    if skill == "count":
        return answer == len(scene.things)
    if skill == "countk":
        return answer == len(at[question.noun])
    if skill == "where":
        (thing,) = at[question.noun]
        return answer == (thing.box[0] >= 32) + 2 * (thing.box[1] >= 32)
    if skill == "rel":
        return any(_stands(thing, question.relation, at[question.other][0]) for thing in at[answer])
    if skill == "relyn":
        return answer == _stands(at[question.noun][0], question.relation, at[question.other][0])
    if skill in ("new", "gone"):
        with_it = [any(scenes.noun_of(t) is answer for t in picture.things) for picture in scene.pictures]
        return with_it == ([False, True] if skill == "new" else [True, False])
    if skill in ("box", "arrow"):
        (thing,) = at[answer]
        x, y = _pointed_at(scene.pictures[0].mark)
        return thing.box[0] <= x < thing.box[2] and thing.box[1] <= y < thing.box[3]
    return skill in ("name", "cap")


def _pointed_at(mark):
    x0, y0, x1, y1 = mark.geometry
    return ((x0 + x1) // 2, (y0 + y1) // 2) if mark.shape == "box" else (x1, y1)


def _stands(thing, relation, anchor):
    axis, before = {"left": (0, True), "right": (0, False), "above": (1, True), "below": (1, False)}[relation]
    first, second = (thing, anchor) if before else (anchor, thing)
    return first.box[axis + 2] <= second.box[axis]


def test_a_rule_that_cannot_be_met_is_a_defect():
    twins = [Noun(cp, 0, {}, frozenset({"1F415", "1F408"} - {cp})) for cp in ("1F415", "1F408")]
    with pytest.raises(RuntimeError, match="10000 draws"):
        Stock("iid", twins, SYLLABLES, frozenset()).different(random.Random(0), 2)
