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
class Pointing:
    """How instruction data speak of marks drawn on an image (ViP-LLaVA, Cai et al. 2024, arXiv:2312.00784).

    Shapes and colours are those of ``core.marks``, "mask contour" among them. ``places`` says of an object that the
    mark is around it or at it, ``{mark}`` being the mark's name; its first form is the usual one. ``{place}`` is such a
    place. The questions are those of its data sets, but for their forms of answer, which are ``Translation``'s.
    """

    name: Callable[[str, str | None], str]  # shape, colour or None -> "red rectangle", "rectangle"
    places: Mapping[str, tuple[str, ...]]  # shape -> "within the {mark}", "within {mark}"
    region: tuple[str, ...]  # questions for a short phrase about the object, {place} or nothing in them
    relation: str  # question for the relation of {first} and {second}, two places
    unnamed: tuple[str, ...]  # an object without a name at its {place}
    named: str  # one with the {name} of its class, whatever its gender
    joined: str  # {first} and {second}
    exemplar: str  # says of an object at its {place} that it is the one like which others are looked for
    why: tuple[str, ...]  # asks for the reason of an answer
    rationale: str  # asks for the reason why {answer} is right for {question}
    caption: tuple[str, ...]  # asks to describe the image with the marked objects, the marks unsaid
    marked_caption: tuple[str, ...]  # the same, the marks said too
    listed: tuple[str, ...]  # tells the {marks}


@dataclass(frozen=True, slots=True)
class Checks:
    """What the checks ask of a text in this language."""

    letters: frozenset[str]  # lower-case letters that its own words hold beside a to z
    accented: float  # share of the words of running text that hold one of these letters
    never_bare: frozenset[str]  # frequent words that are none without their diacritics
    endings: tuple[str, ...]  # with diacritics, and without them the endings of no longer word
    length: float  # characters that say what 1 character of English says


@dataclass(frozen=True, slots=True)
class Translation:
    """What translating texts out of this language, or into it, must know of it (``olhar.translation``).

    An abbreviation stands in small letters, without its last stop. Keys of ``short_answers`` and ``instructions`` are
    the same in every language; their first form is the one to write, all are recognised.
    """

    stop: str  # ends a statement
    question: str  # ends a question
    quotes: tuple[tuple[str, str], ...]  # opening and closing mark of each kind of quotation
    elisions: frozenset[str]  # words whose leading apostrophe opens no quotation: 'em
    abbreviations: frozenset[str]  # a sentence never ends behind them: Mr.
    ending_abbreviations: frozenset[str]  # one may: etc.
    numbered: frozenset[str]  # abbreviations only where a number follows: No. 5
    labelled: tuple[str, ...]  # words that a single letter may follow as a name: option B
    joiners: tuple[str, ...]  # between two option letters: and, or
    capitals: frozenset[str]  # single capital letters that are words in the middle of a sentence: I
    short_answers: Mapping[str, tuple[str, ...]]  # closed answers that are not read from a picture
    instructions: Mapping[str, tuple[str, ...]]  # how instruction data ask for a form of answer; without a last stop


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
    translation: Translation
    checks: Checks
    pointing: Pointing | None  # None: nobody has said yet how it speaks of marks
    scenes: Scenes | None  # None: the embedded world does not speak it yet


@cache  # asked for once a sample
def language(code: str) -> Language:
    """The language whose file is ``languages/<code>.py``."""
    return cast(Language, choices.choose("languages", code).LANGUAGE)
