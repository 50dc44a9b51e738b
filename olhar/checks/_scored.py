"""The checks that ask a model how good a translation is: which texts it sees, and how its answer is told."""

from collections.abc import Callable, Iterator, Sequence

from olhar.checks._check import Check, beside
from olhar.core.types import Finding, Sample
from olhar.languages import Language

Pair = tuple[str, str]  # original, translation


def scored(name: str, kind: str, score: Callable[[Sequence[Pair]], Sequence[float]], below: float) -> Check:
    """A check that tells each turn whose score, higher being better, is below a bound; one call a sample.

    Turns without a letter on either side are not scored.
    """

    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        turns = [(number, (original.text, turn.text)) for number, turn, original in beside(sample, parent)]
        turns = [(number, pair) for number, pair in turns if all(any(map(str.isalpha, text)) for text in pair)]
        scores = score([pair for _, pair in turns]) if turns else []
        for (number, _), value in zip(turns, scores, strict=True):
            if value < below:
                told = f"{kind}: turn {number} scores {value:.2f}, below {below:g}"
                yield Finding(sample.id, name, "warning", told)

    return check
