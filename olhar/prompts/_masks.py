"""Token ids and their training mask, from one tokenisation of the whole text.

A token is trained if the segment of the text that holds its *last* character is trained. Counting the tokens
of re-tokenised pieces, the older way, goes wrong as soon as a piece tokenises differently alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from tokenizers import AddedToken, Tokenizer

from olhar.core.errors import UserError
from olhar.core.types import Rendered
from olhar.prompts._form import PLACEHOLDER

_END = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The ids of the tokens; trained (tokens,) bool: whether each carries the loss; where the placeholders stand."""

    ids: list[int]
    trained: np.ndarray
    placeholders: list[int]


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
    ids = encoding.ids
    placeholders = _places(ids, tokenizer.token_to_id(PLACEHOLDER))
    if len(placeholders) != len(rendered.media):
        raise UserError(
            f"{len(placeholders)} placeholder tokens for {len(rendered.media)} images and videos",
            f"the tokens of {_excerpt(rendered.text)}",
            "pass the tokenizer through with_placeholder, and let a prompt render the text",
        )
    trained = _flags(rendered)[_last_characters(encoding.offsets)]
    trained[placeholders] = False
    if any(start < end for start, end in rendered.trained) and not trained.any():
        raise UserError(
            "no token of the answers is trained",
            f"the tokens of {_excerpt(rendered.text)}",
            "use a tokenizer that has tokens for the letters of the answers",
        )
    return Encoded(ids, trained, placeholders)


def _places(ids: list[int], wanted: int | None) -> list[int]:
    """Where the ids stand that are ``wanted``; found by the list itself, which is quicker than looking at each."""
    found = list[int]()
    if wanted is not None:
        for _ in range(ids.count(wanted)):
            found.append(ids.index(wanted, found[-1] + 1 if found else 0))
    return found


def _flags(rendered: Rendered) -> np.ndarray:
    """(characters + 1,) bool: whether each is trained. The last stands for no character, and is not."""
    flags = np.zeros(len(rendered.text) + 1, dtype=bool)
    for start, end in rendered.trained:
        flags[start:end] = True
    return flags


def _last_characters(offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """(tokens,) int64: the index of the last character of every token, -1 for a token that stands for none.

    Some byte-level tokenizers trim blanks off their offsets, so that a token made of blanks looks as
    empty as one put in by the tokenizer. It is told apart by the characters that no token before it covers.
    """
    ends = np.fromiter(map(_END, offsets), dtype=np.int64, count=len(offsets))
    covered = np.maximum.accumulate(np.concatenate([[0], ends]))[:-1]  # by the tokens before
    last = ends - 1
    for token in np.flatnonzero(ends <= covered).tolist():
        start, end = offsets[token]
        if start >= end:
            last[token] = -1
    return last


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:40]} … {text[-40:]}")
