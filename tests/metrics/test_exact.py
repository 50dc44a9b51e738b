"""Exact match: what is forgiven (spelling of the same letters) and what is not (anything else)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.metrics.exact import exact_match, normalise


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("gato", ("gato",)),
        ("  em cima\n à  esquerda ", ("em cima à esquerda",)),
        ("avia\u0303o", ("avi\u00e3o",)),
        ("tr\u01b0\u0309ng", ("tr\u1eedng",)),
        ("Sim", ("sim",)),
        ("ÁRVORE", ("árvore",)),
        ("dois", ("2", "dois")),
        ("gato\u00a0preto", ("gato preto",)),
    ],
)
def test_the_same_answer_matches(prediction: str, expected: tuple[str, ...]) -> None:
    assert exact_match(prediction, expected) == 1.0


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("aviao", ("avião",)),  # accents are letters
        ("sim.", ("sim",)),  # punctuation is part of the answer
        ("um gato", ("gato",)),
        ("ga to", ("gato",)),
        ("", ("gato",)),
        (" \n", ("",)),  # an empty prediction never matches
        ("hình", ("hinh", "hính")),
    ],
)
def test_another_answer_does_not(prediction: str, expected: tuple[str, ...]) -> None:
    assert exact_match(prediction, expected) == 0.0


def test_a_question_without_an_answer_is_a_defect() -> None:
    with pytest.raises(ValueError, match="expected"):
        exact_match("gato", ())


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(alphabet=st.characters(categories=("Ll", "Lu", "Mn", "Nd", "Zs"))))
def test_composed_and_decomposed_agree(text: str) -> None:
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))
