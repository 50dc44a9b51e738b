"""No sentence of the original stands in the translation as it was.

Found are sentences of at least ``words`` words with a stopword that the original's language has and the sample's has
not: names, codes and what reads the same in both languages pass. So do quotations, and answers kept by a policy.
"""

import re
from collections.abc import Iterator, Mapping

from olhar.checks._check import Check, beside, prose, shortened
from olhar.core.types import Finding, Sample
from olhar.languages import Language
from olhar.languages import language as language_of

NAME = "untranslated"
ADVICE: Mapping[str, str] = {
    "untranslated": "translate what is quoted; what shall stay as it is, is kept by a policy of the translation"
}
_END = re.compile(r"[.!?\n\u3002\uff01\uff1f]+")  # of a sentence; the last three are the full-width . ! ?
_WORD = re.compile(r"[^\W\d_]+")


def start(*, words: float = 4) -> Check:
    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        if parent is None or parent.language == sample.language:
            return
        spoken = language_of(parent.language)
        telling = spoken.stopwords - language.stopwords
        for number, turn, original in beside(sample, parent):
            if turn.role == "assistant" and _keeps_answers(sample):
                continue
            there = {said for said, _ in _sentences(original.text, spoken)}
            for said, sentence in _sentences(turn.text, spoken):
                if len(said) >= words and said in there and not telling.isdisjoint(said):
                    yield Finding(sample.id, NAME, "warning", f"untranslated: {shortened(sentence)} in turn {number}")

    return check


def _sentences(text: str, language: Language) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each sentence as its words in small letters and as it stands."""
    for sentence in _END.split(prose(text, language)):
        yield tuple(_WORD.findall(sentence.lower())), sentence


def _keeps_answers(sample: Sample) -> bool:
    policy = sample.meta.get("translation")
    return isinstance(policy, Mapping) and policy.get("answers") == "keep"
