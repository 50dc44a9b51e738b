"""Every natural-language word the project knows. One file a language, holding ``LANGUAGE``.

A scorer, check, prompt or scene generator asks the language for its words and never spells one itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from olhar.core import choices


@dataclass(frozen=True, slots=True)
class Scenes:
    """The words of the embedded world (``sources/world``).

    ``questions`` maps each skill to its forms; ``{slots}`` are filled by ``inflect``, which turns one
    row of ``nouns.tsv`` into the noun's forms in this language (with article, plural, classifier).
    """

    noun: str  # the column of nouns.tsv that holds the bare noun
    questions: Mapping[str, tuple[str, ...]]
    inflect: Callable[[Mapping[str, str]], Mapping[str, str]]
    quadrants: tuple[str, str, str, str]  # top left, top right, bottom left, bottom right
    relations: Mapping[str, str]  # left, right, above, below -> phrase with {slots} of the second noun
    directions: Mapping[str, str]  # right, left, up, down
    shapes: Mapping[str, Mapping[str, str]]  # square, circle, triangle, diamond -> {"name": ..., further slots}
    colours: Mapping[str, str]  # red, blue, green, yellow, purple, orange, black, pink
    numbers: tuple[str, str, str, str]  # one to four
    syllables: tuple[tuple[str, ...], tuple[str, ...]]  # onsets, rhymes of the lettering scenes
    never_spell: frozenset[str]  # syllable strings that would be rude


@dataclass(frozen=True, slots=True)
class Language:
    """One language. All fields are required: a missing word must be a decision, not an accident."""

    code: str  # ISO 639-1
    name: str  # English name, for lists and cards
    own_name: str
    yes: tuple[str, ...]  # first form is the one to write; all are recognised
    no: tuple[str, ...]
    options: tuple[str, ...]  # letters of multiple-choice options, in order
    articles: frozenset[str]  # words that look like an option letter but are not
    answer_cues: tuple[str, ...]  # "the answer is"; lower case
    roles: Mapping[str, str]  # user, assistant: the words a prompt writes for who speaks
    system: Mapping[str, str]  # named system texts; "assistant" is the general one
    labels: Mapping[str, str]  # image, frame: the word before the number of one of several
    describe: str  # asks for a description of an image
    scripts: frozenset[str]  # Unicode script names this language is written in
    stopwords: frozenset[str]  # frequent short words, for recognising the language
    engine_codes: Mapping[str, str]  # translation engine -> the engine's code for this language
    scenes: Scenes | None  # None: the embedded world does not speak it yet


@cache  # asked for once a sample
def language(code: str) -> Language:
    """The language whose file is ``languages/<code>.py``."""
    return cast(Language, choices.choose("languages", code).LANGUAGE)
