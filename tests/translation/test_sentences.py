"""Sentences as a reader would cut them, in each language."""

import pytest

from olhar.languages import language
from olhar.translation.sentences import sentences
from olhar.translation.spans import find

CASES = [
    ("en", ["One dog.", "Two cats!", "Three?", "four"], False),
    ("en", ["One dog.", "Two cats!", "Three?", "Four"], True),
    ("en", ["Mr. Smith, Dr. Who and St. Louis met J. K. Rowling, e.g. at 3.5 p.m. on No. 5.", "Then he left."], True),
    ("en", ["It is big, heavy, etc.", "The dog is not."], True),
    ("en", ["The U.S. Army came from the U.S.", "It left."], True),
    ("en", ["Wait... I don't know.", "So... Then what?"], False),
    ("en", ["Is this No.", "The dog says no.", "A cat."], True),
    ("en", ['He said "Stop. Now."', "Then he left."], True),
    ("en", ["He said 'STOP!' and left (quickly).", "“Good.”", "It is 5 ft. tall vs. 6."], True),
    ("en", ["Steps: 1. First do this.", "2. Then that."], True),
    ("en", ["It was in 2019.", "3 dogs came."], True),
    ("en", ["See Fig. 3 for Apple Inc. shares.", "<b>Bold.</b>"], True),
    ("en", ["Really?!", "Yes."], True),
    ("pt", ["O Sr. Silva e a Dra. Lima, p.ex., moram na av. Paulista.", "É o séc. XX.", "Não?", "Água."], True),
    ("vi", ["TP. Hồ Chí Minh có chó, mèo v.v.", "Và đó là một con chó.", "Đúng."], True),
]


@pytest.mark.parametrize(("code", "expected", "exact"), CASES, ids=[f"{case[0]}: {case[1][0][:30]}" for case in CASES])
def test_cut_as_a_reader_would(code: str, expected: list[str], exact: bool) -> None:
    spoken = language(code)
    text = " ".join(expected)
    found = [text[start:end] for start, end in sentences(text, find(text, spoken), spoken)]
    assert (found == expected) is exact, found


def test_chinese_needs_no_blanks() -> None:
    spoken = language("zh")
    text = "这是一只狗。它在跑！“停。”真的吗？是 的"
    found = [text[start:end] for start, end in sentences(text, find(text, spoken), spoken)]
    assert found == ["这是一只狗。", "它在跑！", "“停。”", "真的吗？", "是 的"]


def test_only_blanks_lie_between_sentences() -> None:
    text = "  One.  Two!\u00a0Three?   "
    found = sentences(text, [], language("en"))
    assert [text[start:end] for start, end in found] == ["One.", "Two!", "Three?"]
    assert sentences("   ", [], language("en")) == []
