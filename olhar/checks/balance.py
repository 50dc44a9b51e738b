"""Brackets and quotation marks that are in pairs in the original are in pairs in the translation."""

from collections.abc import Iterator, Mapping

from olhar.checks._check import Pairs, beside, quotes
from olhar.core.fragile import without
from olhar.core.types import Finding, Sample
from olhar.languages import Language
from olhar.languages import language as language_of

NAME = "balance"
ADVICE: Mapping[str, str] = {"unbalanced": "add the other one of the pair where the original has it, or remove both"}
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"))


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    if parent is None:
        return
    pairs, original_pairs = (BRACKETS + quotes(each) for each in (language, language_of(parent.language)))
    for number, turn, original in beside(sample, parent):
        if any(_unbalanced(without(original.text), original_pairs)):
            continue  # a list "a) b)", a size in inches: there is no telling what the translation should hold
        if lone := list(dict.fromkeys(mark for pair in _unbalanced(without(turn.text), pairs) for mark in pair)):
            yield Finding(sample.id, NAME, "warning", f"unbalanced: {' '.join(lone)} in turn {number}")


def _unbalanced(text: str, pairs: Pairs) -> Iterator[tuple[str, str]]:
    for opening, closing in pairs:
        odd = text.count(opening) % 2 if opening == closing else text.count(opening) != text.count(closing)
        if odd:
            yield opening, closing
