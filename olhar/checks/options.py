"""Multiple choice and yes or no survive translation: the answer means what it meant.

The question keeps its options under their letters; an answer that is a letter stays that letter; one that is the text
of an option is the text of that option; yes stays yes. What breaks this is an error, as it teaches a wrong answer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from olhar.checks._check import beside, shortened
from olhar.core.types import Finding, Sample, Severity
from olhar.languages import Language
from olhar.languages import language as language_of

NAME = "options"
ADVICE: Mapping[str, str] = {
    "letters differ": "write the options under the letters of the original",
    "answer differs": "give the answer the letter, or the words, of the option that it was",
    "yes and no swapped": "say yes or no as the original does",
    "no yes or no": "write the language's own word, if the answer shall be one word",
    "no such option": "correct the answer, or the options of the question",
}
_AROUND = " \t\r\n.,;:!?()[]*\"'\u201c\u201d\u3002\uff0c"  # what may stand at either end of an answer or option
_Told = tuple[Severity, str]


@dataclass(frozen=True, slots=True)
class _Question:
    """A language, and the options of the question last asked: letter -> text in small letters."""

    language: Language
    options: Mapping[str, str]


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    asked = _Question(language, {})
    for number, turn in enumerate(sample.turns, start=1):
        letter = _letter(turn.text, language)
        if turn.role == "user":
            asked = _asked(turn.text, language)
        elif asked.options and letter and letter not in asked.options:
            told = f"no such option: {letter!r} in turn {number} is none of {', '.join(asked.options)}"
            yield Finding(sample.id, NAME, "warning", told)
    if parent is not None:
        for severity, told in _against(sample, parent, language, language_of(parent.language)):
            yield Finding(sample.id, NAME, severity, told)


def _against(sample: Sample, parent: Sample, language: Language, spoken: Language) -> Iterator[_Told]:
    here, there = _Question(language, {}), _Question(spoken, {})
    for number, turn, original in beside(sample, parent):
        if turn.role == "user":
            here, there = _asked(turn.text, language), _asked(original.text, spoken)
            if list(here.options) != list(there.options):
                letters = [", ".join(each.options) or "none" for each in (here, there)]
                yield "error", f"letters differ: {letters[0]} in turn {number}; in the original {letters[1]}"
        elif turn.role == "assistant":
            for severity, told in _of_answer(turn.text, original.text, here, there):
                yield severity, f"{told} in turn {number}"


def _of_answer(answer: str, original: str, here: _Question, there: _Question) -> Iterator[_Told]:
    became = f"{shortened(original, 30)} became {shortened(answer, 30)}"
    letter = _letter(original, there.language)
    if letter in there.options:
        if _letter(answer, here.language) != letter:
            yield "error", f"answer differs: {became}"
        return
    chosen = [each for each, text in there.options.items() if text == _plain(original)]
    if chosen:
        if _plain(answer) not in {here.options.get(each) for each in chosen}:
            yield "error", f"answer differs: {became}"
        return
    was, now = _side(original, there.language), _side(answer, here.language)
    if was and now and was != now:
        yield "error", f"yes and no swapped: {became}"
    elif was and not now and "," not in original:
        yield "warning", f"no yes or no: {became}"


def _asked(text: str, language: Language) -> _Question:
    """The options of a question: letters in order from the first, at a line's beginning or behind a blank."""
    letters = "".join(map(re.escape, language.options))
    ordered: list[re.Match[str]] = []
    for label in re.finditer(rf"(?<!\S)\(?([{letters}])[.):\uff0e]\s+", text):
        if len(ordered) < len(language.options) and label[1] == language.options[len(ordered)]:
            ordered.append(label)
    if len(ordered) < 2:
        return _Question(language, {})
    ends = [following.start() for _, following in pairwise(ordered)] + [len(text)]
    texts = (text[label.end() : end].strip().split("\n")[0] for label, end in zip(ordered, ends, strict=True))
    return _Question(language, {label[1]: _plain(each) for label, each in zip(ordered, texts, strict=True)})


def _letter(answer: str, language: Language) -> str | None:
    """The option letter that an answer consists of, or begins with as a label; behind a cue or not."""
    said = answer.strip(_AROUND)
    cue = next((cue for cue in language.answer_cues if said.lower().startswith(cue)), "")
    said = said[len(cue) :].strip(_AROUND)
    if said in language.options:
        return said
    label = re.match(r"(\w)[.):]\s", said)
    return label[1] if label and label[1] in language.options else None


def _side(answer: str, language: Language) -> Literal["yes", "no"] | None:
    """Whether an answer is a yes or a no, or begins with one before a comma."""
    said = _plain(answer.split(",")[0])
    return "yes" if said in language.yes else "no" if said in language.no else None


def _plain(text: str) -> str:
    return " ".join(text.strip(_AROUND).lower().split())
