"""The numbers of the original and of the translation are the same, however either language writes them.

Compared are runs of digits: separators, signs and the order of a date are the language's. A number below
``spelled_below`` that only one side has may be a word on the other ("3 cats", "three cats").
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from olhar.checks._check import Check, beside
from olhar.core.fragile import without
from olhar.core.types import Finding, Sample
from olhar.languages import Language

NAME = "numbers"
ADVICE: Mapping[str, str] = {
    "missing": "look whether the translation lost a number, or only wrote it as a word",
    "added": "look whether the translation made a number up, or only wrote a word as digits",
    "changed": "write the number of the original, unless the translation says the same in another unit",
}
_THOUSANDS = re.compile(r"(?<=\d)[.,\u00a0\u202f](?=\d{3}(?!\d))")
_DIGITS = re.compile(r"\d+")


def start(*, spelled_below: float = 13) -> Check:
    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        for number, turn, original in beside(sample, parent):
            here, there = _numbers(turn.text), _numbers(original.text)
            missing, added = there - here, here - there
            if missing and added:
                told = f"changed: {_listed(missing)} became {_listed(added)}"
            else:
                told = next(
                    (
                        f"{kind}: {_listed(different)}"
                        for kind, different in (("missing", missing), ("added", added))
                        if any(len(digits) > 9 or int(digits) >= spelled_below for digits in different)
                    ),
                    "",
                )
            if told:
                yield Finding(sample.id, NAME, "warning", f"{told} in turn {number}")

    return check


def _numbers(text: str) -> Counter[str]:
    joined = _THOUSANDS.sub("", without(text))
    return Counter(digits.lstrip("0") or "0" for digits in _DIGITS.findall(joined))


def _listed(numbers: Counter[str]) -> str:
    return ", ".join(map(repr, list(numbers.elements())[:5]))
