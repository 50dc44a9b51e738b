"""What needs no engine."""

import pytest

from olhar.core import choices
from olhar.languages import language
from olhar.translation.tables import YES_NO, instructions, joined_letters, short_answer, terms

EN, PT, VI, ZH = map(language, ("en", "pt", "vi", "zh"))
CODES = choices.names("languages")


@pytest.mark.parametrize(
    ("text", "pt", "vi", "zh"),
    [
        ("Yes", "Sim", "Có", "是"),
        ("yes.", "sim.", "có.", "是。"),
        ("NO", "NÃO", "KHÔNG", "不是"),
        ("No.", "Não.", "Không.", "不是。"),
        ("No!", "Não!", "Không!", "不是!"),
        ("Red", "Vermelho", "Đỏ", "红色"),
        ("two", "dois", "hai", "二"),
        ("unanswerable", "irrespondível", "không thể trả lời", "无法回答"),
        ("left", "esquerda", "bên trái", "左边"),
    ],
)
def test_closed_answers_keep_case_and_stop(text: str, pt: str, vi: str, zh: str) -> None:
    assert [short_answer(text, EN, target) for target in (PT, VI, ZH)] == [pt, vi, zh]


@pytest.mark.parametrize("text", ["", ".", "Yes, it is", "yes?", "dog", "B", "no no", "Não"])
def test_all_else_is_for_the_engine(text: str) -> None:
    assert short_answer(text, EN, PT) is None


def test_a_sentence_of_more_text_is_looked_up_only_where_it_means_one_thing() -> None:
    assert short_answer("Right.", EN, PT, only=YES_NO) is None
    assert short_answer("No.", EN, PT, only=YES_NO) == "Não."


@pytest.mark.parametrize("code", CODES)
def test_every_closed_answer_has_a_way_into_every_language(code: str) -> None:
    for key, forms in EN.translation.short_answers.items():
        for form in forms:
            assert short_answer(form, EN, language(code)) in (None, language(code).translation.short_answers[key][0])
    assert short_answer("yes", EN, language(code)) == (None if code == "en" else language(code).yes[0])


def test_from_other_languages_too() -> None:
    assert short_answer("Sim.", PT, EN) == "Yes."
    assert short_answer("是的", ZH, PT) == "sim"
    assert short_answer("Không", VI, EN) == "No"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("A and C", "A e C"), ("A, B or D.", "A, B ou D."), ("A, B", "A, B"), ("A and Bob", None), ("A", None)],
)
def test_joined_letters(text: str, expected: str | None) -> None:
    assert joined_letters(text, EN, PT) == expected


@pytest.mark.parametrize("code", [code for code in CODES if code != "en"])
def test_instructions_are_found_in_all_their_forms(code: str) -> None:
    target = language(code)
    for key, forms in EN.translation.instructions.items():
        for form in forms:
            text = f"What is it? {form}."
            (span,) = instructions(text, EN, target)
            assert text[: span.start] == "What is it? " and span.end == len(text)
            assert span.text == target.translation.instructions[key][0] + target.translation.stop


def test_an_instruction_is_a_sentence_of_its_own() -> None:
    said = "answer with the option's letter from the given choices directly"
    assert not list(instructions(f"They were told to {said}.", EN, PT))
    assert not list(instructions("Please answer yes or nothing", EN, PT))
    (span,) = instructions("Hint: " + said.replace("'", "’").capitalize(), EN, PT)
    assert span.text == PT.translation.instructions["option_letter"][0]


def test_text_of_the_image_behind_an_instruction_stays() -> None:
    text = "Which?\nReference OCR token: BIG, Mac\nAnswer the question using a single word or phrase."
    tokens, single = instructions(text, EN, PT)
    assert tokens.text == "Tokens de OCR de referência: BIG, Mac"
    assert text[tokens.end :].startswith("\nAnswer") and single.text.startswith("Responda")


def test_terms_are_whole_words_longest_first_in_their_case() -> None:
    glossary = {"fire hydrant": "hidrante", "fire": "fogo", "TV": "tevê"}
    text = "A Fire hydrant, FIRE, fires, TV and tv."
    assert [span.text for span in terms(text, glossary)] == ["Hidrante", "FOGO", "tevê", "tevê"]
    assert not list(terms(text, {}))
