"""The noun table, the drawings and the lettering that the package carries."""

import unicodedata

import pytest
from PIL import Image, ImageDraw

from olhar.core import choices
from olhar.core.errors import UserError
from olhar.languages import language
from olhar.sources.world import art, nouns
from olhar.sources.world.splits import HELD_OUT_STYLE, TRAINING_STYLES

TABLE = nouns.table()
USABLE = [noun for noun in TABLE if noun.usable]
SPEAKING = [code for code in choices.names("languages") if language(code).scenes]
SOUNDED_OTHERWISE = {"hourglass", "unicorn"}  # the article follows the sound, not the letter


def test_every_row_is_complete_and_keyed_by_its_code_point():
    assert len({noun.cp for noun in TABLE}) == len(TABLE)
    for noun in TABLE:
        row = noun.row
        assert len(chr(int(noun.cp, 16))) == 1
        assert row["pt_gender"] in {"m", "f"}
        assert row["pt_number"] in {"s", "p", "mass"}
        assert row["vi_keep"] in {"0", "1"}
        assert all(row[column] in {"0", "1"} for column in nouns.CHECKED)
        assert all(row[column] for column in ("group", "pt", "pt_plural", "vi", "en", "en_plural")), noun.cp
        assert None not in row and None not in row.values()
        assert all(unicodedata.is_normalized("NFC", value) and value == value.strip() for value in row.values())


def test_there_are_enough_usable_nouns():
    assert len(USABLE) >= 300


@pytest.mark.parametrize("column", ["pt", "vi", "en"])
def test_names_are_unique(column):
    names = [noun.row[column] for noun in TABLE]
    assert len(set(names)) == len(names)


def test_articles_and_plurals_of_usable_nouns():
    for noun in USABLE:
        row = noun.row
        begins_with_vowel = row["en"][0].lower() in "aeiou"
        expected = "an" if begins_with_vowel != (row["en"] in SOUNDED_OTHERWISE) else "a"
        assert row["en_article"] == expected, row["en"]
        assert " " not in row["pt"] and len(row["vi"].split()) <= 3
        assert row["pt_plural"][-1] == "s", row["pt"]


def test_a_kept_classifier_is_part_of_the_vietnamese_name():
    for noun in TABLE:
        keeps = bool(noun.row["vi_classifier"]) and noun.row["vi"].startswith(noun.row["vi_classifier"] + " ")
        assert keeps == (noun.row["vi_keep"] == "1"), noun.row["vi"]


@pytest.mark.parametrize("code", SPEAKING)
def test_no_noun_is_also_a_colour_or_a_shape(code):
    scenes = language(code).scenes
    taken = set(scenes.colours.values()) | {shape["name"] for shape in scenes.shapes.values()}
    assert not taken & {noun.row[scenes.noun] for noun in USABLE}


def test_what_may_not_stand_together_is_said_on_both_sides():
    by_cp = {noun.cp: noun for noun in TABLE}
    for noun in TABLE:
        assert noun.cp not in noun.apart
        assert all(noun.cp in by_cp[other].apart for other in noun.apart)


def test_a_larger_subset_holds_the_smaller_one_and_only_usable_nouns():
    large, small = nouns.subset(150), nouns.subset(100)
    assert large[:100] == small
    assert all(noun.usable for noun in large)
    with pytest.raises(UserError, match="ask for"):
        nouns.subset(len(USABLE) + 1)


@pytest.mark.parametrize("style", art.STYLES)
def test_every_noun_is_drawn_in_every_style(style):
    drawn = {}
    for noun in TABLE:
        glyph = art.sprite(style, noun.place, 48)
        opaque = sum(alpha > 128 for alpha in glyph.getchannel("A").tobytes())
        assert opaque > 150, f"{noun.cp} is almost blank in {style}"
        assert glyph.tobytes() not in drawn, f"{noun.cp} looks like {drawn.get(glyph.tobytes())} in {style}"
        drawn[glyph.tobytes()] = noun.cp


def test_one_style_is_held_out():
    assert set(art.STYLES) == {*TRAINING_STYLES, HELD_OUT_STYLE}
    assert HELD_OUT_STYLE not in TRAINING_STYLES


def _letter(letter):
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((8, 4), letter, fill=255, font=art.font(16))
    return image.tobytes()


@pytest.mark.parametrize("code", SPEAKING)
def test_every_letter_of_the_words_is_in_the_font(code):
    letters = {letter for part in language(code).scenes.syllables for piece in part for letter in piece}
    missing = _letter("\uffff")
    shapes = {letter: _letter(letter) for letter in letters}
    assert any(missing), "the font has no drawing for a missing letter, so this test would see nothing"
    assert not [letter for letter, shape in shapes.items() if shape == missing or not any(shape)]
    assert len(set(shapes.values())) == len(letters)


def test_the_credits_name_every_part():
    text = (art.DATA / "CREDITS").read_text(encoding="utf-8")
    for path in art.DATA.rglob("*"):
        if path.is_file() and path.name != "CREDITS":
            assert path.relative_to(art.DATA).as_posix() in text
    assert "CC-BY 4.0" in text and "Bitstream Vera" in text
