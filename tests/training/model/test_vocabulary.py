"""A learned tokenizer loses no letter of any script and is the same every time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from olhar.training.model.vocabulary import PAD, learn

TEXTS = ["O gato está à direita do avião. O gato dorme.", "Con mèo ở bên trái, con mèo.", "um dois três 123 123"] * 3
SPECIALS = ["<|user|>", "</s>"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return learn(TEXTS, 330, SPECIALS)


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_the_same_text_gives_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    assert learn(iter(TEXTS), 330, iter(SPECIALS)).to_str() == tokenizer.to_str()


def test_special_tokens_are_whole_and_come_first(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in (PAD, *SPECIALS)] == [0, 1, 2]
    encoded = tokenizer.encode("<|user|> gato</s>")
    assert encoded.ids[0] == 1 and encoded.ids[-1] == 2
    assert tokenizer.decode(encoded.ids, skip_special_tokens=True) == " gato"


def test_frequent_words_become_few_tokens_and_digits_stay_apart(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode(" gato").ids) < len(tokenizer.encode(" zwxq").ids)
    assert len(tokenizer.encode(" 123").ids) == 3 or len(tokenizer.encode("123").ids) == 3
    assert 0 < tokenizer.get_vocab_size() <= 330


def test_offsets_cover_the_text(tokenizer: Tokenizer) -> None:
    text = "O avião à direita?"
    covered = {index for start, end in tokenizer.encode(text).offsets for index in range(start, end)}
    assert covered == set(range(len(text)))
