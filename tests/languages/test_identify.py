"""Which language a text is in; and the words that this and the checks go by."""

import unicodedata

import pytest

from olhar.checks.diacritics import _bare
from olhar.core import choices
from olhar.languages import language
from olhar.languages._identify import identify, main_script

CODES = choices.names("languages")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The cat is sitting on a table and looks at the birds outside.", "en"),
        ("What colour is the umbrella that she has?", "en"),
        ("O gato está sentado na mesa e olha para os pássaros lá fora.", "pt"),
        ("Qual é a cor do guarda-chuva dela?", "pt"),
        ("Con mèo đang ngồi ở trên bàn và nhìn những con chim.", "vi"),
        ("Cô ấy có chiếc ô màu gì?", "vi"),
        ("那只猫坐在桌子上看着外面的鸟。", "zh"),
        ("Na mesa ha\u0301 um gato, e o ca\u0303o na\u0303o o ve\u0302.", "pt"),  # decomposed
        ("O LIVRO É DE UM AUTOR QUE NÃO TEM NOME", "pt"),
    ],
)
def test_sentences(text: str, code: str) -> None:
    assert identify(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7, 8 and 9",
        "Wing Watchers.com",
        "Coca-Cola Zero Sugar Classic Original Taste",
        "a no do as",  # words of two languages
        "sofa cinema radio taxi hotel banana",  # spelled alike, and no stopword
        "Кошка сидит на столе и смотрит на птиц",  # a script that no language here is written in
        "kissa istuu pöydällä ja katsoo lintuja ulkona",
    ],
)
def test_left_undecided(text: str) -> None:
    assert identify(text) is None


def test_script_of_most_letters() -> None:
    assert main_script("Кошка cat") == "Cyrillic"
    assert main_script("a 猫坐 1") == "Han"
    assert main_script("12 + 7 !") is None


@pytest.mark.parametrize("code", CODES)
class TestWordsOfTheChecks:
    def test_letters_are_small_single_and_beyond_a_to_z(self, code: str) -> None:
        for letter in language(code).checks.letters:
            assert len(letter) == 1 and letter == unicodedata.normalize("NFC", letter.lower()) and not letter.isascii()

    def test_own_words_are_written_in_own_letters(self, code: str) -> None:
        spoken = language(code)
        if "Latin" not in spoken.scripts:
            pytest.skip("letters are asked for beside a to z only")
        words = [*spoken.stopwords, *spoken.yes, *spoken.no, *spoken.roles.values(), *spoken.checks.never_bare]
        foreign = {letter for word in words for letter in word.lower() if letter.isalpha() and not letter.isascii()}
        assert foreign <= spoken.checks.letters

    def test_words_that_are_never_bare_change_without_diacritics_and_become_no_word_known(self, code: str) -> None:
        checks = language(code).checks
        for text in (*checks.never_bare, *checks.endings):
            assert text == unicodedata.normalize("NFC", text.lower()) and _bare(text) != text
        known = language(code).stopwords | checks.never_bare
        assert not {_bare(word) for word in checks.never_bare} & known
        assert all(
            not word.endswith(_bare(end)) for end in checks.endings for word in known if len(word) > len(end) + 1
        )

    def test_shares_and_lengths_are_possible(self, code: str) -> None:
        checks = language(code).checks
        assert 0 <= checks.accented < 1 and 0.1 < checks.length < 3
        assert bool(checks.accented > 0.01) == bool(checks.letters)


def test_lengths_are_told_in_characters_of_english() -> None:
    assert language("en").checks.length == 1
