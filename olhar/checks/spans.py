"""Code, math, tags, addresses and coordinates of the original stand in the translation, letter by letter.

A lost tag or box is an error, as it teaches a form that nothing can read; the rest are warnings.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from olhar.checks._check import beside, shortened
from olhar.core.fragile import Kind, spans
from olhar.core.types import Finding, Sample, Severity
from olhar.languages import Language

NAME = "spans"
ADVICE: Mapping[str, str] = {
    "lost": "put what is quoted back into the translation, exactly as in the original",
    "invented": "take what is quoted out of the translation, or write it as in the original",
}
READ_BY_PROGRAMS: frozenset[Kind] = frozenset({"tag", "coordinates"})


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    """Compares how often each span occurs, not where: another language has another order of words."""
    for number, turn, original in beside(sample, parent):
        here, there = _counted(turn.text), _counted(original.text)
        for kind, different in (("lost", there - here), ("invented", here - there)):
            for (of, text), times in different.items():
                severity: Severity = "error" if of in READ_BY_PROGRAMS else "warning"
                count = f" {times} times" if times > 1 else ""
                yield Finding(sample.id, NAME, severity, f"{kind}: {of} {shortened(text)}{count} in turn {number}")


def _counted(text: str) -> Counter[tuple[Kind, str]]:
    return Counter((span.kind, span.text) for span in spans(text))
