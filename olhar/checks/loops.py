"""No turn says the same words over and over, as models do that got stuck.

In a translation, a loop is what comes round ``times`` times and more often than anything in the original. Without an
original it must also be ``words`` words long in all, to tell it from a manner of speaking ("no, no, no").
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from olhar.checks._check import Check, beside, shortened
from olhar.core.fragile import FRAGILE
from olhar.core.types import Finding, Sample
from olhar.languages import Language

NAME = "loops"
ADVICE: Mapping[str, str] = {
    "loop": "an engine or model got stuck: translate the turn again, or cut it where the loop begins",
    "repeated sentence": "keep the sentence once, or translate the turn again",
    "loop of letters": "cut the letters, or write the word as it is spelled",
}
LONGEST = 40  # words of one round
FEWEST = 4  # words of a sentence that is counted

# An ideograph or kana is a word of its own. A coordinate, number or tag is a word too: rounds that differ in it differ.
_WORD = re.compile(rf"{FRAGILE.pattern}|[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_]+", re.DOTALL)
_END = re.compile(r"[.!?\n\u3002\uff01\uff1f]+")
_LETTERS = re.compile(r"([^\W\d_]{1,6}?)\1{11,}")


@dataclass(frozen=True, slots=True)
class Loop:
    times: int
    words: tuple[str, ...]


def start(*, times: float = 3, words: float = 12) -> Check:
    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        originals = {number: original.text for number, _, original in beside(sample, parent)}
        for number, turn in enumerate(sample.turns, start=1):
            for message in _problems(turn.text, originals.get(number), times, words):
                yield Finding(sample.id, NAME, "warning", f"{message} in turn {number}")

    return check


def _problems(text: str, original: str | None, times: float, words: float) -> Iterator[str]:
    loop, usual = longest_loop(text), longest_loop(original or "").times
    said, sentence = _most_repeated(text)
    if loop.times >= max(times, usual + 1) and (original is not None or loop.times * len(loop.words) >= words):
        yield f"loop: {shortened(' '.join(loop.words))} {loop.times} times"
    elif said >= max(times, _most_repeated(original or "")[0] + 1):
        yield f"repeated sentence: {shortened(sentence)} {said} times"
    elif (found := _LETTERS.search(text)) and found.group() not in (original or ""):
        yield f"loop of letters: {shortened(found.group(), 24)}"


def longest_loop(text: str) -> Loop:
    """The words that come round most often without anything between; once, if none do. A round holds a letter."""
    said = [match.group().lower() for match in _WORD.finditer(text)]
    best = Loop(1, ())
    for size in range(1, min(LONGEST, len(said) // 2) + 1):
        same = 0  # words in a row that equal the one a round before
        for at in range(size, len(said)):
            same = same + 1 if said[at] == said[at - size] else 0
            if same // size + 1 > best.times and any(map(str.isalpha, said[at - size + 1 : at + 1])):
                best = Loop(same // size + 1, tuple(said[at - size + 1 : at + 1]))
    return best


def _most_repeated(text: str) -> tuple[int, str]:
    """The sentence that occurs most often, and how often."""
    sentences = (" ".join(sentence.lower().split()) for sentence in _END.split(text))
    counts = Counter(sentence for sentence in sentences if len(_WORD.findall(sentence)) >= FEWEST)
    sentence, times = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return times, sentence
