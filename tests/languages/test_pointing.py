"""Words for marks: a name for every shape and colour, no two alike, one place in every phrase."""

import string
from itertools import product

import pytest

from olhar.core import choices
from olhar.core.marks import COLOURS, SHAPES
from olhar.languages import Pointing, language


def slots(form: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(form) if name]


def pointing(code: str) -> Pointing:
    words = language(code).pointing
    if words is None:
        pytest.skip(f"{code} has no words for marks yet")
    return words


@pytest.mark.parametrize("code", choices.names("languages"))
class TestEveryLanguage:
    def test_every_mark_has_a_name_of_its_own(self, code: str) -> None:
        words = pointing(code)
        names = [words.name(shape, colour) for shape, colour in product(SHAPES, (None, *COLOURS))]
        assert len(set(names)) == len(SHAPES) * (len(COLOURS) + 1) and all(names)

    def test_phrases_have_the_slots_that_are_filled(self, code: str) -> None:
        words = pointing(code)
        assert set(words.places) == set(SHAPES)
        assert all(forms and slots(form) == ["mark"] for forms in words.places.values() for form in forms)
        assert sorted(slots(words.relation)) == ["first", "second"]
        assert words.region and all(slots(form) in ([], ["place"]) for form in words.region)

    def test_questions_that_are_made_have_the_slots_that_are_filled(self, code: str) -> None:
        words = pointing(code)
        assert slots(words.named) == ["name", "place"] and slots(words.joined) == ["first", "second"]
        assert words.unnamed and all(slots(form) == ["place"] for form in words.unnamed)
        assert slots(words.exemplar) == ["place"] and slots(words.rationale) == ["question", "answer"]
        assert words.listed and all(slots(form) == ["marks"] for form in words.listed)
        for forms in (words.why, words.caption, words.marked_caption):
            assert len(forms) > 1 and len(set(forms)) == len(forms) and not any(map(slots, forms))
        assert not set(words.caption) & set(words.marked_caption)


@pytest.mark.parametrize(
    ("code", "shape", "colour", "said"),
    [
        ("en", "rectangle", "red", "within the red rectangle"),
        ("en", "arrow", None, "pointed to by the arrow"),
        ("en", "mask contour", "aqua", "with the aqua mask contour"),
        ("en", "point", "gold", "at the gold point"),
        ("pt", "rectangle", "red", "dentro do retângulo vermelho"),
        ("pt", "ellipse", "red", "dentro da elipse vermelha"),
        ("pt", "arrow", "blue", "para onde aponta a seta azul"),
        ("vi", "rectangle", "red", "trong hình chữ nhật màu đỏ"),
        ("vi", "arrow", None, "được mũi tên chỉ vào"),
    ],
)
def test_phrases(code: str, shape: str, colour: str | None, said: str) -> None:
    words = pointing(code)
    assert words.places[shape][0].format(mark=words.name(shape, colour)) == said


def test_english_may_leave_its_article_out() -> None:
    assert pointing("en").places["ellipse"][1] == "within {mark}"
