"""A conversation of several turns: what was read before is not read again, and the answers are the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Rendered, Turn
from olhar.families import load
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.inference.session import Chat

PICTURE = Callable[[int], str]
SHORT = Generation(max_new_tokens=9)
HOW = {
    "greedy": SHORT,
    "drawn": replace(SHORT, temperature=1.0, top_k=20, seed=4),
    "beams": replace(SHORT, beams=3),
    "punished": replace(SHORT, repetition_penalty=1.8),
}
QUESTIONS = ["Que coisa é esta?", "Onde está o avião?", "Quantas coisas há, e onde?"]


@pytest.fixture(scope="module")
def assistant(spoken_as: Callable[..., Assistant]) -> Assistant:
    return spoken_as("vicuna", "v1")


@contextmanager
def prompts_read(assistant: Assistant) -> Iterator[list[int]]:
    """How many tokens of each prompt the model read, over all rows."""
    model, lengths = assistant.checkpoint.model, list[int]()
    real = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("inputs_embeds") is not None:
            lengths.append(kwargs["inputs_embeds"].shape[1])
        return real(*args, **kwargs)

    model.forward = forward
    try:
        yield lengths
    finally:
        model.forward = real


Step = Callable[[Chat], Any]


def talked(assistant: Assistant, steps: Sequence[Step], reuse: bool, *images: str) -> tuple[list[Any], list[int]]:
    """Generated ids and the whole text after each step, and how many tokens of each prompt were read."""
    chat = assistant.chat(images, reuse=reuse, generation=SHORT)
    told = []
    with prompts_read(assistant) as lengths:
        for step in steps:
            step(chat)
            told.append((chat.answer.ids if chat.answer else None, tuple(chat.turns)))
    return told, lengths


def same(assistant: Assistant, steps: Sequence[Step], *images: str) -> tuple[list[int], list[int]]:
    """How many tokens were read with and without the cache, whose answers are found to be the same."""
    kept, fewer = talked(assistant, steps, True, *images)
    anew, all_of_them = talked(assistant, steps, False, *images)
    assert kept == anew
    assert fewer[0] == all_of_them[0] and len(fewer) == len(all_of_them)
    return fewer, all_of_them


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("form", [("vicuna", "v1"), ("chatml", "internvl2_5"), ("compact", None)])
def test_answers_are_the_same_with_and_without_the_cache(
    spoken_as: Callable[..., Assistant], picture: PICTURE, how: str, form: tuple[str, str | None]
) -> None:
    steps: list[Step] = [lambda chat, q=question: chat.say(q, generation=HOW[how]) for question in QUESTIONS]  # type: ignore[misc]
    fewer, whole = same(spoken_as(*form), steps, picture(1))
    assert all(part < all_ - 12 for part, all_ in zip(fewer[1:], whole[1:], strict=True)), (fewer, whole)


def test_ways_of_answering_share_one_cache(assistant: Assistant, picture: PICTURE) -> None:
    """Beams leave the prompt in the cache, whose rows they were; what follows is greedy or drawn."""
    order = ["beams", "greedy", "beams", "drawn", "beams"]
    steps: list[Step] = [lambda chat, h=how: chat.say("Há?", generation=HOW[h]) for how in order]  # type: ignore[misc]
    fewer, whole = same(assistant, steps, picture(1))
    assert all(part < 60 < all_ for part, all_ in zip(fewer[1:], whole[1:], strict=True)), (fewer, whole)


def test_generated_ids_that_encode_otherwise_are_read_again(assistant: Assistant, picture: PICTURE) -> None:
    """An untrained model says tokens that no tokenizer would choose for their text."""
    chat = assistant.chat([picture(1)], generation=SHORT)
    answer = chat.say(QUESTIONS[0])
    assert chat.answer is not None
    assert assistant.checkpoint.tokenizer.encode(f" {answer}").ids != list(chat.answer.ids)
    again = assistant.reply([*chat.turns, Turn("user", ("Há?",))], SHORT)
    assert chat.say("Há?") == again.text() and chat.answer.ids == again.result.ids


def test_a_picture_added_later_is_read(assistant: Assistant, picture: PICTURE) -> None:
    one, two = picture(1), picture(2)
    steps: list[Step] = [lambda c: c.say("Há?"), lambda c: c.say("E aqui?", two), lambda c: c.say("Há?")]
    fewer, whole = same(assistant, steps, one)
    assert fewer[2] < whole[2] / 4
    with_other = talked(assistant, [steps[0], lambda c: c.say("E aqui?", picture(3)), steps[2]], True, one)
    assert with_other[0][1:] != talked(assistant, steps, True, one)[0][1:], "the second picture is seen"


def test_pictures_before_every_turn_are_kept_too(spoken_as: Callable[..., Assistant], picture: PICTURE) -> None:
    steps: list[Step] = [lambda c: c.say("Há?"), lambda c: c.say("E aqui?", [picture(2), picture(3)])]
    fewer, whole = same(spoken_as("compact"), steps, picture(1))
    assert fewer[1] < whole[1]


def test_an_edited_history_is_read_from_where_it_changed(assistant: Assistant, picture: PICTURE) -> None:
    def edit(chat: Chat) -> None:
        chat.turns[1] = Turn("assistant", ("Três gatos.",))

    def other_picture(chat: Chat) -> None:
        chat.turns[0] = Turn("user", (ImageRef(picture(7)), *chat.turns[0].parts[1:]))

    ask: Step = lambda chat: chat.say("Há?")  # noqa: E731
    for change in (edit, other_picture):
        fewer, whole = same(assistant, [ask, ask, change, ask], picture(1))
        assert fewer[1] < fewer[2] < whole[2]
    before = talked(assistant, [ask, ask, ask], True, picture(1))[0]
    assert before[2] != talked(assistant, [ask, ask, other_picture, ask], True, picture(1))[0][3]


def test_a_shorter_history_is_still_known(assistant: Assistant, picture: PICTURE) -> None:
    def forget(chat: Chat) -> None:
        del chat.turns[2:]

    ask: Step = lambda chat: chat.say("Há?")  # noqa: E731
    fewer, whole = same(assistant, [ask, ask, forget, ask], picture(1))
    assert fewer[2] == 1, "the prompt is the one before: all but its last token is kept"
    assert whole[2] == whole[1]


def test_an_answer_that_was_stopped_goes_on(assistant: Assistant, picture: PICTURE) -> None:
    def interrupted(chat: Chat) -> None:
        stream = chat.stream(QUESTIONS[2], generation=Generation(40))
        heard = next(stream) + next(stream)
        stream.close()
        assert chat.turns[-1] == Turn("assistant", (heard.strip(),))
        assert chat.answer is not None and chat.answer.stopped == "left"

    ask: Step = lambda chat: chat.say("Há?")  # noqa: E731
    kept, fewer = talked(assistant, [interrupted, ask], True, picture(1))
    anew, whole = talked(assistant, [interrupted, ask], False, picture(1))
    assert kept[1] == anew[1] and fewer[1] < whole[1] / 4


def test_retry_asks_the_same_again(assistant: Assistant, picture: PICTURE) -> None:
    fresh = replace(SHORT, temperature=2.0)
    chat = assistant.chat([picture(1)], generation=fresh)
    answers = {chat.say("Há?")} | {chat.retry().text() for _ in range(5)}
    assert len(chat.turns) == 2 and chat.turns[0].media and len(answers) > 1
    chat.new()
    assert not chat.turns and chat.answer is None
    with pytest.raises(UserError, match="no answer"):
        chat.retry()


@dataclass(frozen=True)
class Counting:
    """A prompt that tells before everything else how many turns there are: nothing of it stays the same."""

    real: Any

    def render(self, turns: Sequence[Turn], *args: Any, **kwargs: Any) -> Rendered:
        rendered = self.real.render(turns, *args, **kwargs)
        return Rendered(f"{len(turns)} {rendered.text}", rendered.media, ())

    def stop(self, *args: Any) -> tuple[str, ...]:
        return tuple(self.real.stop(*args))


def test_a_template_that_changes_earlier_text_is_read_anew(
    spoken_as: Callable[..., Assistant], picture: PICTURE
) -> None:
    assistant = spoken_as("vicuna", "v1")
    assistant.encoder = replace(assistant.encoder, prompt=Counting(assistant.encoder.prompt))
    ask: Step = lambda chat: chat.say("Há?")  # noqa: E731
    fewer, whole = same(assistant, [ask, ask], picture(1))
    assert fewer[1] == whole[1]


def test_a_picture_that_changed_on_disk_is_looked_at_again(
    assistant: Assistant, picture: PICTURE, tmp_path: Path
) -> None:
    file = tmp_path / "desenho.png"
    answers, lengths = [], []
    for seed in (1, 2):
        Image.open(picture(seed)).resize((64, 41)).save(file)
        lengths.append(assistant.chat([file], generation=SHORT).say("Há?"))
    chat = assistant.chat([file], generation=SHORT)
    for seed in (1, 2):
        Image.open(picture(seed)).resize((64, 41)).save(file)
        answers.append(chat.say("Há?") if seed == 1 else chat.retry().text())
    assert answers == lengths and answers[0] != answers[1]


def test_after_a_failure_the_next_answer_is_right(assistant: Assistant, picture: PICTURE) -> None:
    chat = assistant.chat([picture(1)], generation=SHORT)
    chat.say("Há?")
    turns, model = list(chat.turns), assistant.checkpoint.model
    real = model.forward

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    model.forward = fails
    try:
        with pytest.raises(RuntimeError):
            chat.say("E?")
    finally:
        model.forward = real
    assert chat.turns == turns
    assert chat.say("E?") == assistant.reply([*turns, Turn("user", ("E?",))], SHORT).text()


def test_a_question_that_cannot_be_asked_changes_nothing(assistant: Assistant, picture: PICTURE) -> None:
    chat = assistant.chat([picture(1)], generation=SHORT)
    for bad in ({"images": "nowhere.png"}, {"marks": "box 0 0 1"}, {"video": "nowhere"}):
        with pytest.raises(UserError):
            chat.say("Há?", **bad)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="itself contains"):
        chat.say("<image>")
    assert not chat.turns and chat.shown == (ImageRef(picture(1)),)
    long = " ".join(["avião"] * 2100)
    with pytest.raises(UserError, match="tokens long, and the model reads 2048"):
        chat.say(long)


def test_an_answer_ends_where_the_model_does(spoken_as: Callable[..., Assistant], picture: PICTURE) -> None:
    assistant = spoken_as("compact")
    text = assistant.checkpoint.model.config.text_config
    asked, before = "Há? " * 20, text.max_position_embeddings
    length = assistant.reply([Turn("user", (asked,))], SHORT)
    length.text()
    text.max_position_embeddings = length.result.tokens_in + 4
    try:
        chat = assistant.chat(generation=SHORT)
        chat.say(asked)
        assert chat.answer is not None and len(chat.answer.ids) == 4 and chat.answer.stopped == "length"
        pair = [[Turn("user", (question,))] for question in ("Há?", asked)]
        assert assistant.answers(pair, generation=SHORT) == [assistant.reply(one, SHORT).text() for one in pair]
    finally:
        text.max_position_embeddings = before


def test_a_sliding_window_is_read_anew(saved: Path, picture: PICTURE) -> None:
    """A cache that forgets what left the window cannot be shortened."""
    from transformers import InternVLForConditionalGeneration, MistralConfig

    checkpoint = load(saved)
    config = checkpoint.model.config
    kept = {key: getattr(config.text_config, key) for key in ("vocab_size", "hidden_size", "intermediate_size")}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2, "initializer_range": 0.4}
    config.text_config = MistralConfig(**kept, **heads, sliding_window=24, max_position_embeddings=2048)
    torch.manual_seed(0)
    model = InternVLForConditionalGeneration._from_config(config).eval()
    spoken = replace(checkpoint.spoken, prompt="vicuna")
    assistant = Assistant(replace(checkpoint, model=model, spoken=spoken))
    steps: list[Step] = [lambda chat, q=question: chat.say(q) for question in QUESTIONS]  # type: ignore[misc]
    fewer, whole = same(assistant, steps, picture(1))
    assert fewer == whole


def test_one_cache_is_all_that_is_kept(assistant: Assistant, picture: PICTURE) -> None:
    chat = assistant.chat([picture(1)], generation=SHORT)
    cache = chat._cache
    assert cache is not None and cache.tokens == 0
    for question in QUESTIONS:
        chat.say(question, generation=HOW["beams"])
        chat.say(question)
        assert chat.answer is not None
        assert cache.tokens == chat.answer.tokens_in + len(chat.answer.ids) - 1
        assert cache._cache is not None and cache._cache.layers[0].keys.shape[0] == 1
    chat.new()
    assert cache.tokens == 0 and cache._cache is None
    assert assistant.chat(reuse=False)._cache is None
