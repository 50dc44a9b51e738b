"""Holds for every file of olhar/languages, and a few sentences read as a person would read them."""

import string
import unicodedata
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import product
from typing import Any

import pytest

from olhar.core import choices
from olhar.languages import Scenes, language

CODES = choices.names("languages")
SKILLS = {
    *("name", "cap", "count", "countk", "has", "where", "rel", "relyn"),
    *("col", "shape", "ocr", "box", "arrow", "new", "gone", "move"),
}
FONT_LETTERS = set("abcdefghilmnoprstuvàáâãèéêíóôõúăđơưạảếềộớự")  # what the subset of the lettering font draws
ROWS = {
    "cat": "1F408 mammals gato m gatos mèo con 0 cat cats a",
    "house": "1F3E0 buildings casa f casas nhà ngôi 0 house houses a",
    "umbrella": "2602 clothing guarda-chuva m guarda-chuvas ô chiếc 0 umbrella umbrellas an",
    "butter": "1F9C8 food manteiga f manteigas bơ - 0 butter butters -",
    "palm": "1F334 plants palmeira f palmeiras cây_cọ cây 1 palm palms a",
}
COLUMNS = (
    *("cp", "group", "pt", "pt_gender", "pt_plural"),
    *("vi", "vi_classifier", "vi_keep", "en", "en_plural", "en_article"),
)


def row(key: str) -> dict[str, str]:
    """A row of nouns.tsv; above, ``-`` stands for an empty cell and ``_`` for a blank."""
    values = ("" if value == "-" else value.replace("_", " ") for value in ROWS[key].split())
    return dict(zip(COLUMNS, values, strict=True))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif hasattr(value, "items"):
        yield from (text for item in value.values() for text in strings(item))
    elif isinstance(value, (tuple, frozenset)):
        yield from (text for item in value for text in strings(item))
    elif is_dataclass(value):
        yield from (text for field in fields(value) for text in strings(getattr(value, field.name)))


def scenes_of(code: str) -> Scenes:
    scenes = language(code).scenes
    if scenes is None:
        pytest.skip(f"{code} has no words for scenes yet")
    return scenes


def words(scenes: Scenes) -> set[str]:
    syllables = ["".join(pair) for pair in product(*scenes.syllables)]
    return set(syllables) | {first + second for first in syllables for second in syllables}


@pytest.mark.parametrize("code", CODES)
class TestEveryLanguage:
    def test_code_is_the_file_name(self, code: str) -> None:
        assert language(code).code == code

    def test_all_strings_are_composed_and_trimmed(self, code: str) -> None:
        for text in strings(language(code)):
            assert text == unicodedata.normalize("NFC", text)
            assert text == text.strip() and text

    def test_yes_and_no_share_no_word(self, code: str) -> None:
        spoken = language(code)
        assert not set(spoken.yes) & set(spoken.no)
        assert all(word == word.lower() for word in (*spoken.yes, *spoken.no))

    def test_no_form_is_listed_twice(self, code: str) -> None:
        spoken = language(code)
        for listed in (spoken.yes, spoken.no, spoken.options, spoken.answer_cues):
            assert len(set(listed)) == len(listed)

    def test_cues_are_lower_case_and_longer_ones_first(self, code: str) -> None:
        cues = language(code).answer_cues
        assert all(cue == cue.lower() for cue in cues)
        for index, cue in enumerate(cues):
            assert not any(later.startswith(cue) for later in cues[index + 1 :]), f"{cue!r} hides a longer cue"

    def test_articles_look_like_options(self, code: str) -> None:
        spoken = language(code)
        for word in spoken.articles:
            letter = unicodedata.normalize("NFD", word)[0].upper()
            assert len(word) == 1 and letter in string.ascii_uppercase

    def test_stopwords_are_many_and_lower_case(self, code: str) -> None:
        assert len(language(code).stopwords) >= 40
        assert all(word == word.lower() for word in language(code).stopwords)

    def test_same_roles_labels_and_system_texts_everywhere(self, code: str) -> None:
        """A language may hold more system texts: those that published models were trained with in it."""
        assert language(code).roles.keys() == language("en").roles.keys()
        assert language(code).labels.keys() == language("en").labels.keys() == {"image", "frame"}
        assert language(code).system.keys() >= language("en").system.keys()

    def test_no_two_labels_nor_system_texts_are_the_same(self, code: str) -> None:
        for named in (language(code).labels, language(code).system):
            assert len(set(named.values())) == len(named)

    def test_scenes_know_every_skill_and_only_slots_that_are_filled(self, code: str) -> None:
        scenes = scenes_of(code)
        assert set(scenes.questions) == SKILLS
        noun = set(scenes.inflect(row("cat")))
        allowed = {skill: set[str]() for skill in SKILLS} | {
            "has": noun,
            "where": noun,
            "countk": noun,
            "rel": {"relation"},
            "relyn": noun | {"relation"},
            "col": {"shape", "the_shape", "of_the_shape"},
            "shape": {"colour"},
        }
        for skill, forms in scenes.questions.items():
            for form in forms:
                slots = {name for _, name, _, _ in string.Formatter().parse(form) if name}
                assert slots <= allowed[skill], (skill, form)
        for phrase in scenes.relations.values():
            assert {name for _, name, _, _ in string.Formatter().parse(phrase) if name} <= noun

    def test_closed_lists_hold_different_words(self, code: str) -> None:
        scenes = scenes_of(code)
        shapes = [shape["name"] for shape in scenes.shapes.values()]
        directions, colours = list(scenes.directions.values()), list(scenes.colours.values())
        for listed in (scenes.quadrants, scenes.numbers, shapes, directions, colours, list(scenes.relations.values())):
            assert len(set(listed)) == len(listed)

    def test_blocked_words_can_be_spelled_and_leave_plenty(self, code: str) -> None:
        scenes = scenes_of(code)
        spellable = words(scenes)
        assert scenes.never_spell <= spellable
        assert len(spellable - scenes.never_spell) > 10_000

    def test_lettering_uses_only_letters_of_the_font(self, code: str) -> None:
        assert {letter for group in scenes_of(code).syllables for part in group for letter in part} <= FONT_LETTERS


def test_no_two_languages_share_an_engine_code() -> None:
    engines = {engine for code in CODES for engine in language(code).engine_codes}
    for engine in engines:
        codes = [language(code).engine_codes[engine] for code in CODES if engine in language(code).engine_codes]
        assert len(set(codes)) == len(codes), engine


@pytest.mark.parametrize(
    ("code", "skill", "key", "sentence"),
    [
        ("pt", "has", "cat", "Há um gato na imagem?"),
        ("pt", "has", "house", "Há uma casa na imagem?"),
        ("pt", "countk", "cat", "quantos gatos há?"),
        ("pt", "countk", "house", "quantas casas há?"),
        ("pt", "where", "house", "Onde está a casa?"),
        ("vi", "has", "cat", "Trong ảnh có con mèo không?"),
        ("vi", "countk", "house", "có bao nhiêu ngôi nhà?"),
        ("vi", "where", "palm", "cây cọ ở đâu?"),
        ("vi", "has", "butter", "Trong ảnh có bơ không?"),
        ("en", "has", "umbrella", "Is there an umbrella in the image?"),
        ("en", "has", "butter", "Is there butter in the image?"),
        ("en", "countk", "cat", "how many cats are there?"),
    ],
)
def test_sentences_about_one_noun(code: str, skill: str, key: str, sentence: str) -> None:
    scenes = scenes_of(code)
    assert scenes.questions[skill][0].format(**scenes.inflect(row(key))) == sentence


@pytest.mark.parametrize(
    ("code", "side", "sentence"),
    [
        ("pt", "left", "o gato está à esquerda da casa?"),
        ("pt", "below", "o gato está abaixo da casa?"),
        ("vi", "left", "con mèo có ở bên trái ngôi nhà không?"),
        ("en", "left", "Is the cat to the left of the house?"),
        ("en", "above", "Is the cat above the house?"),
    ],
)
def test_sentences_about_two_nouns(code: str, side: str, sentence: str) -> None:
    scenes = scenes_of(code)
    relation = scenes.relations[side].format(**scenes.inflect(row("house")))
    assert scenes.questions["relyn"][0].format(relation=relation, **scenes.inflect(row("cat"))) == sentence
