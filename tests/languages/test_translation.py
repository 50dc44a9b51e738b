"""What translating needs of every language file."""

import pytest

from olhar.core import choices
from olhar.languages import language

CODES = choices.names("languages")
ENGLISH = language("en").translation


@pytest.mark.parametrize("code", CODES)
class TestEveryLanguage:
    def test_the_same_answers_and_instructions_everywhere(self, code: str) -> None:
        words = language(code).translation
        assert list(words.short_answers) == list(ENGLISH.short_answers)
        assert list(words.instructions) == list(ENGLISH.instructions)
        assert len(words.joiners) == len(ENGLISH.joiners)

    def test_yes_and_no_are_those_that_scorers_know(self, code: str) -> None:
        spoken = language(code)
        answers = spoken.translation.short_answers
        assert (answers["yes"][0], answers["no"][0]) == (spoken.yes[0], spoken.no[0])
        assert set(answers["yes"]) <= set(spoken.yes) and set(answers["no"]) <= set(spoken.no)

    def test_answers_are_in_small_letters_and_say_different_things(self, code: str) -> None:
        answers = language(code).translation.short_answers
        first = [forms[0] for forms in answers.values()]
        assert all(form == form.lower() for forms in answers.values() for form in forms)
        assert len(set(first)) == len(first)

    def test_colours_are_those_of_the_scenes(self, code: str) -> None:
        scenes, answers = language(code).scenes, language(code).translation.short_answers
        if scenes is not None:
            assert scenes.colours.items() <= {key: forms[0] for key, forms in answers.items()}.items()
            assert scenes.numbers == tuple(answers[key][0] for key in ("one", "two", "three", "four"))

    def test_instructions_end_without_a_stop(self, code: str) -> None:
        words = language(code).translation
        for forms in words.instructions.values():
            assert all(form[-1] not in f".:!{words.stop}{words.question}" for form in forms)
            assert all(form[0] == form[0].upper() for form in forms)

    def test_letters_named_by_instructions_are_options(self, code: str) -> None:
        (form, *_) = language(code).translation.instructions["letter_at_end"]
        assert all(letter in form for letter in "ABCD")

    def test_abbreviations_have_no_last_stop_and_one_kind(self, code: str) -> None:
        words = language(code).translation
        kinds = (words.abbreviations, words.ending_abbreviations, words.numbered)
        listed = [short for kind in kinds for short in kind]
        assert len(set(listed)) == len(listed)
        assert all(short == short.lower().strip(".") for short in listed)

    def test_marks_of_quotation_come_in_pairs(self, code: str) -> None:
        quotes = language(code).translation.quotes
        assert len(set(quotes)) == len(quotes)
        assert all(len(opening) == len(closing) == 1 for opening, closing in quotes)

    def test_single_capital_words_are_option_letters(self, code: str) -> None:
        assert language(code).translation.capitals <= set(language(code).options)


def test_no_two_keys_share_a_form_but_where_a_language_has_one_word_for_both() -> None:
    for code in CODES:
        forms = [form for some in language(code).translation.short_answers.values() for form in some]
        assert len(set(forms)) == len(forms), code
