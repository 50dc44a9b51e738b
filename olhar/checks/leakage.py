"""No turn holds what only a prompt writes: special tokens, or role words with a colon as if someone else spoke.

A special token inside a text is read as one: an answer with ``</s>`` in it teaches to stop there. That is an error;
a role word at the beginning of a line or sentence, in any language that is known, is a warning.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from olhar.checks._check import beside, shortened
from olhar.core import choices
from olhar.core.types import Finding, Sample
from olhar.languages import Language
from olhar.languages import language as language_of

NAME = "leakage"
ADVICE: Mapping[str, str] = {
    "special token": "remove it: it is no text, and a tokenizer reads it as a command",
    "role word": "cut the text there, or split it into turns: it seems to hold another speaker's words",
}

# What the prompts of this project and of models it starts from write between brackets.
_TOKENS = re.compile(
    r"<\|[\w. ]{1,40}\|>|</?s>|<(?:pad|unk|bos|eos|mask)>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_(?:turn|image)>"
    r"|</?(?:img|IMG_CONTEXT)>|\[(?:CLS|SEP|PAD|MASK)\]"
)


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    originals = {number: original.text for number, _, original in beside(sample, parent)}
    for number, turn in enumerate(sample.turns, start=1):
        if found := _TOKENS.search(turn.text):
            message = f"special token: {shortened(found.group())} in turn {number}"
            yield Finding(sample.id, NAME, "error", message)
        found = _role_word(turn.text)
        if found and not _role_word(originals.get(number, "")):
            yield Finding(sample.id, NAME, "warning", f"role word: {shortened(found.group())} in turn {number}")


def _role_word(text: str) -> re.Match[str] | None:
    """The first role word that begins a line or sentence. A word for "person" alone may begin a list of what is seen,
    so it counts only where an assistant's follows."""
    sides, people = _role_words()
    found = sides.search(text)
    return (people.search(text) or found) if found else None


@cache
def _role_words() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Role words of all languages as prompts write them: those for user and assistant, and those for a person."""
    known = [language_of(code).roles for code in choices.names("languages")]
    sides = {form for roles in known for role in ("user", "assistant") for form in _forms(roles[role])}
    people = {form for roles in known for form in _forms(roles["human"])}
    return _beginning_with(sides), _beginning_with(people)


def _forms(word: str) -> set[str]:
    return {word, word.capitalize(), word.upper()}


def _beginning_with(words: set[str]) -> re.Pattern[str]:
    """The words with a colon where a line or sentence begins or behind ``###``; in capitals, anywhere."""
    listed = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    capitals = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if word.isupper())
    return re.compile(
        rf"(?:^[ \t]*|#+ *|(?<=[.!?] ))(?:{listed}) ?[:\uff1a]|(?<!\w)(?:{capitals}) ?[:\uff1a]", re.MULTILINE
    )
