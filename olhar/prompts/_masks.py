"""Token ids and their training mask, from one tokenisation of the whole text.

A token is trained if the segment of the text that holds its *last* character is trained. Counting the tokens
of re-tokenised pieces, the older way, goes wrong as soon as a piece tokenises differently alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer

from olhar.core.errors import UserError
from olhar.core.types import Rendered
from olhar.prompts._form import PLACEHOLDER


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids and, for each, whether it carries the loss; both of length (tokens,)."""

    ids: list[int]
    trained: list[bool]


def with_placeholder(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that knows ``PLACEHOLDER`` as a special token, and neither truncates nor pads."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.add_special_tokens([AddedToken(PLACEHOLDER, special=True, normalized=False)])
    copy.no_truncation()
    copy.no_padding()
    return copy


def encode(rendered: Rendered, tokenizer: Tokenizer) -> Encoded:
    """The ids of a rendered prompt, one placeholder id per image or video left in place, and their mask.

    Args:
        rendered: what a prompt's ``render`` gave.
        tokenizer: one that ``with_placeholder`` gave; it adds its beginning-of-sequence token if it has one.

    Raises:
        UserError: the ids hold fewer or more placeholders than there are media, or a text with trained
            spans has no trained token (which would teach nothing, in silence).
    """
    encoding = tokenizer.encode(rendered.text)
    placeholder = tokenizer.token_to_id(PLACEHOLDER)
    found = sum(id == placeholder for id in encoding.ids)
    if found != len(rendered.media):
        raise UserError(
            f"{found} placeholder tokens for {len(rendered.media)} images and videos",
            f"the tokens of {_excerpt(rendered.text)}",
            "pass the tokenizer through with_placeholder, and let a prompt render the text",
        )
    flags = _flags(rendered)
    trained = [
        last >= 0 and flags[last] == 1 and id != placeholder
        for id, last in zip(encoding.ids, _last_characters(encoding.offsets), strict=True)
    ]
    if any(start < end for start, end in rendered.trained) and not any(trained):
        raise UserError(
            "no token of the answers is trained",
            f"the tokens of {_excerpt(rendered.text)}",
            "use a tokenizer that has tokens for the letters of the answers",
        )
    return Encoded(encoding.ids, trained)


def _flags(rendered: Rendered) -> bytearray:
    """One byte per character of the text: 1 where it is trained."""
    flags = bytearray(len(rendered.text))
    for start, end in rendered.trained:
        flags[start:end] = b"\x01" * (end - start)
    return flags


def _last_characters(offsets: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The index of the last character of every token, -1 for a token that stands for none.

    Some byte-level tokenizers trim blanks off their offsets, so that a token made of blanks looks as
    empty as one put in by the tokenizer. It is told apart by the characters that no token before it covers.
    """
    covered = 0
    for start, end in offsets:
        yield end - 1 if start < end or covered < end else -1
        covered = max(covered, end)


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]} … {text[-40:]}")
