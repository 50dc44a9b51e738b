"""Pieces of text from ids: joined they are the answer, and none is ever taken back."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from olhar.inference.stream import Answer, Ending, Stream

TEXT = "Há um avião à direita, e três gatos. Một con mèo. 你好"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Bytes, so that every letter with an accent is two tokens or more."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([], trainers.BpeTrainer(special_tokens=["</s>"], initial_alphabet=alphabet))
    return made


def ending(tokenizer: Tokenizer, *texts: str) -> Ending:
    return Ending(tokenizer, frozenset({tokenizer.token_to_id("</s>")}), texts)


def streamed(tokenizer: Tokenizer, text: str, *texts: str, most: int = 1000) -> tuple[list[str], Answer]:
    """A stream of the ids of a text as a model would say them that heeds its criteria."""
    ids = tokenizer.encode(text).ids
    how = ending(tokenizer, *texts)

    def generate(streamer: Any, stopping: Any) -> list[int]:
        said: list[int] = []
        for token in ids[:most]:
            said.append(token)
            streamer.put(torch.tensor([token]))
            if token in how.ids or bool(stopping(torch.tensor([said]), None)[0]):
                break
        return said

    stream = Stream(generate, how, 3, 0.0)
    pieces = list(stream)
    return pieces, stream.result


def test_pieces_joined_are_the_answer(tokenizer: Tokenizer) -> None:
    pieces, answer = streamed(tokenizer, f"  {TEXT} \n</s>and padding")
    assert "".join(pieces) == answer.text == TEXT and answer.stopped == "end"
    assert len(pieces) > 20 and all(pieces) and not any("\ufffd" in piece for piece in pieces)
    assert answer.tokens_in == 3 and answer.ids[-1] == tokenizer.token_to_id("</s>")
    assert 0 < answer.seconds_to_first_token <= answer.seconds


def test_an_answer_cut_by_its_length_says_so(tokenizer: Tokenizer) -> None:
    pieces, answer = streamed(tokenizer, TEXT, most=2)
    assert answer.stopped == "length" and len(answer.ids) == 2
    assert "".join(pieces) == answer.text == "H\ufffd", "the half letter is told at the end, as decoding has it"


def test_a_stop_text_ends_an_answer_and_is_never_said(tokenizer: Tokenizer) -> None:
    pieces, answer = streamed(tokenizer, "Um gato # ##a####Human: e", "###")
    assert "".join(pieces) == answer.text == "Um gato # ##a" and answer.stopped == "end"
    pieces, answer = streamed(tokenizer, "Um gato #", "###")
    assert "".join(pieces) == answer.text == "Um gato #" and answer.stopped == "length"


def test_an_empty_answer_is_one(tokenizer: Tokenizer) -> None:
    pieces, answer = streamed(tokenizer, "</s>")
    assert pieces == [] and answer.text == "" and answer.stopped == "end" and len(answer.ids) == 1


def test_who_leaves_has_heard_what_they_heard(tokenizer: Tokenizer) -> None:
    heard: list[Answer] = []

    def generate(streamer: Any, stopping: Any) -> list[int]:
        said: list[int] = []
        while not (said and stopping(torch.tensor([said]), None)[0]):
            said.append(tokenizer.token_to_id("a"))
            streamer.put(torch.tensor([said[-1]]))
        return said

    stream = Stream(generate, ending(tokenizer), 0, 0.0, heard.append)
    assert next(stream) == "a"
    stream.close()
    assert heard == [stream.result] and heard[0].text == "a" and heard[0].stopped == "left"
    assert list(stream) == []


def test_an_answer_is_there_when_it_is_finished(tokenizer: Tokenizer) -> None:
    stream = Stream(lambda streamer, stopping: tokenizer.encode("Há").ids, ending(tokenizer), 0, 0.0)
    with pytest.raises(RuntimeError, match="not finished"):
        stream.result  # noqa: B018
    assert stream.text() == "Há", "ids that were not streamed arrive at the end"


def test_a_failure_is_told_to_the_listener_only(tokenizer: Tokenizer) -> None:
    finished: list[Answer] = []

    def fails(streamer: Any, stopping: Any) -> list[int]:
        streamer.put(torch.tensor([tokenizer.token_to_id("a")]))
        raise RuntimeError("out of memory")

    def heard(stream: Iterator[str]) -> list[str]:
        return list(stream)

    stream = Stream(fails, ending(tokenizer), 0, 0.0, finished.append)
    with pytest.raises(RuntimeError, match="out of memory"):
        heard(stream)
    assert not finished and stream.answer is None
