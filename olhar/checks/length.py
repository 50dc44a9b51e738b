"""A translation is about as long as its original: much less lost something, much more made something up.

How long is usual follows from the lengths of both languages (``Language.checks.length``). Within ``spread`` times that,
and ``slack`` characters on either side for short texts, nothing is said.
"""

from collections.abc import Iterator, Mapping

from olhar.checks._check import Check, beside
from olhar.core.fragile import without
from olhar.core.types import Finding, Sample
from olhar.languages import Language
from olhar.languages import language as language_of

NAME = "length"
ADVICE: Mapping[str, str] = {
    "too short": "look for a sentence that was left out, and translate the turn again",
    "too long": "look for something made up or repeated, and translate the turn again",
}


def start(*, spread: float = 1.8, slack: float = 20) -> Check:
    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        if parent is None:
            return
        usual = language.checks.length / language_of(parent.language).checks.length
        for number, turn, original in beside(sample, parent):
            here, there = len(without(turn.text).strip()), len(without(original.text).strip())
            told = f"turn {number} has {here} characters, its original {there}"
            if here < there * usual / spread - slack:
                yield Finding(sample.id, NAME, "warning", f"too short: {told}")
            elif here > there * usual * spread + slack:
                yield Finding(sample.id, NAME, "warning", f"too long: {told}")

    return check
