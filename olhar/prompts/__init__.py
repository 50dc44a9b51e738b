"""Turns become text and the character spans that are trained. One published prompt form a file.

A prompt file holds ``VARIANTS``, ``render``, ``stop`` and ``chat_template`` (see ``Prompt``); and
``SINGLE_QUESTIONS = True`` where its models never saw a second question in one conversation. What it writes
around the turns is punctuation and special tokens only: role words and system texts are asked of the language.
That language is the template's and need not be the conversation's: a checkpoint trained with English role
words goes on using them when it answers in Portuguese.

Tokens are made once, from the whole text (``encode``), so a mask can never disagree with its prompt.
"""

import re
from collections.abc import Sequence
from typing import Protocol, cast

from olhar.core import choices
from olhar.core.types import ImageRef, Rendered, Turn
from olhar.languages import Language
from olhar.prompts._form import PLACEHOLDER
from olhar.prompts._masks import Encoded, encode, with_placeholder

__all__ = ["PLACEHOLDER", "Encoded", "Prompt", "encode", "prompt", "special_tokens", "with_placeholder"]


class Prompt(Protocol):
    """What a file of this folder offers. ``variant=None`` means the first of ``VARIANTS``."""

    @property
    def VARIANTS(self) -> tuple[str, ...]: ...

    def render(
        self,
        turns: Sequence[Turn],
        language: Language,
        *,
        variant: str | None = None,
        system: str | None = None,
        open: bool = False,
    ) -> Rendered:
        """The conversation as one string with one ``PLACEHOLDER`` per image or video, in order.

        Args:
            turns: an optional system turn, then user and assistant in alternation.
            language: whose role words and system texts are written.
            variant: one of ``VARIANTS``.
            system: replaces the language's system text; a system turn among ``turns`` replaces both.
            open: the last turn is the user's, and the text ends where the assistant begins to speak.

        Raises:
            UserError: turns out of order, media outside a user turn, a text that itself holds the
                placeholder, or a system text where the form has no place for one.
        """
        ...

    def stop(self, language: Language, variant: str | None = None) -> tuple[str, ...]:
        """The strings at which generation ends."""
        ...

    def chat_template(
        self,
        language: Language,
        variant: str | None,
        image_text: str,
        video_text: str | None = None,
        *,
        system: str | None = None,
    ) -> str:
        """A jinja2 template over transformers-style messages that writes what ``render`` writes.

        ``image_text`` and ``video_text`` stand where ``render`` has the placeholder. The beginning-of-sequence
        token is left to the tokenizer, here as there.
        """
        ...


def prompt(name: str) -> Prompt:
    """The prompt whose file is ``prompts/<name>.py``."""
    return cast(Prompt, choices.choose("prompts", name))


def special_tokens(prompt: Prompt, language: Language, variant: str | None = None) -> list[str]:
    """What a prompt writes between angle brackets, in order: a tokenizer learned for it keeps these whole."""
    turns = (Turn("user", (ImageRef(""), "?")), Turn("assistant", ("!",)))
    text = prompt.render(turns, language, variant=variant).text.replace(PLACEHOLDER, "")
    return list(dict.fromkeys(re.findall(r"<[|/]?\w+\|?>", text)))
