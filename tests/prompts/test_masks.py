"""Which token is trained, at the places where tokenizers differ."""

from collections.abc import Callable
from random import Random

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Rendered, Turn
from olhar.languages import language
from olhar.prompts import PLACEHOLDER, encode, prompt, with_placeholder
from olhar.prompts._masks import _last_characters

Published = Callable[[str], Tokenizer]


def spans(text: str, *trained: str) -> Rendered:
    """The text with the given pieces trained."""
    return Rendered(text, (), tuple((text.index(piece), text.index(piece) + len(piece)) for piece in trained))


def learnt(rendered: Rendered, tokenizer: Tokenizer) -> str:
    encoded = encode(rendered, tokenizer)
    ids = [id for id, trained in zip(encoded.ids, encoded.trained, strict=True) if trained]
    return tokenizer.decode(ids, skip_special_tokens=False)


def test_a_character_of_several_tokens_is_trained_whole(published: Published) -> None:
    assert learnt(spans("assistant\n象🦜!", "象🦜"), published("bytes")) == "象🦜"


@pytest.mark.parametrize("kind", ["bytes", "bytes-trimmed"])
def test_a_lone_blank_is_trained_although_its_offsets_are_trimmed(published: Published, kind: str) -> None:
    tokenizer = published(kind)
    tokenizer.add_special_tokens([AddedToken("</s>", special=True, normalized=False)])
    assert learnt(spans("q [/INST] azul </s>", " azul </s>"), tokenizer) == " azul </s>"


@pytest.mark.parametrize("kind", ["metaspace", "metaspace-legacy"])
def test_the_token_that_begins_the_sequence_is_not_trained(published: Published, kind: str) -> None:
    text = "azul"
    encoded = encode(Rendered(text, (), ((0, len(text)),)), published(kind))
    assert not encoded.trained[0] and all(encoded.trained[1:])


def test_a_token_is_trained_where_its_last_character_is_as_a_walk_over_the_offsets_says() -> None:
    """Offsets as tokenizers give them: empty, repeated, trimmed of blanks, going back at the end."""
    random = Random(0)
    for _ in range(300):
        offsets = []
        place = 0
        for _ in range(random.randint(1, 12)):
            start, end = place + random.choice((0, 0, 1)), place + random.randint(0, 3)
            offsets.append((start, max(start, end)) if random.random() < 0.9 else (0, 0))
            place = max(place, end - random.choice((0, 0, 1)))
        expected, covered = [], 0
        for start, end in offsets:
            expected.append(end - 1 if start < end or covered < end else -1)
            covered = max(covered, end)
        assert _last_characters(offsets).tolist() == expected, offsets


def test_a_placeholder_inside_a_trained_span_is_not_trained(published: Published) -> None:
    text = f"a{PLACEHOLDER}b"
    encoded = encode(Rendered(text, (ImageRef("a.png"),), ((0, len(text)),)), published("bytes"))
    assert encoded.trained.tolist() == [True, False, True] and encoded.placeholders == [1]


def test_a_tokenizer_without_the_placeholder_is_refused() -> None:
    bare = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    rendered = prompt("plain").render(
        [Turn("user", (ImageRef("a.png"),)), Turn("assistant", ("gato",))], language("pt")
    )
    with pytest.raises(UserError, match="0 placeholder tokens for 1 images"):
        encode(rendered, bare)


def test_more_placeholders_than_images_are_refused(published: Published) -> None:
    with pytest.raises(UserError, match="1 placeholder tokens for 0 images"):
        encode(Rendered(f"a {PLACEHOLDER}", (), ()), published("bytes"))


def test_answers_that_leave_no_token_are_refused() -> None:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))  # other letters vanish
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(UserError, match="no token of the answers is trained"):
        encode(spans("a a xyz", "xyz"), tokenizer)
    assert encode(Rendered("a a xyz", (), ()), tokenizer).trained.tolist() == [False, False]


def test_with_placeholder_copies_and_keeps_ids(published: Published) -> None:
    bare = published("bytes")
    again = with_placeholder(bare)
    assert again is not bare
    assert again.token_to_id(PLACEHOLDER) == bare.token_to_id(PLACEHOLDER)
    assert again.get_vocab() == bare.get_vocab()


def test_with_placeholder_never_truncates_nor_pads(published: Published) -> None:
    short = published("bytes")
    short.enable_truncation(4)
    short.enable_padding(length=50)
    text = "Descreva a imagem em detalhes."
    assert with_placeholder(short).encode(text).ids == published("bytes").encode(text).ids
    assert len(short.encode(text).ids) == 50
