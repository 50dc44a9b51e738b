"""The same conversation about the same media under two ids: it would weigh twice in training."""

from collections.abc import Iterator, Mapping

from olhar.checks._check import Check
from olhar.core.types import Finding, Sample
from olhar.languages import Language

NAME = "duplicates"
ADVICE: Mapping[str, str] = {"seen before": "keep one of the two unless it shall weigh twice"}


def start() -> Check:
    """A check that remembers: one 64-bit hash and one id a sample (two of a million share a hash: p < 1e-7)."""
    first: dict[int, str] = {}

    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        known = first.setdefault(_key(sample), sample.id)
        if known != sample.id:
            yield Finding(sample.id, NAME, "warning", f"seen before: same media and text as {known!r}")

    return check


def _key(sample: Sample) -> int:
    return hash((sample.media, tuple((turn.role, turn.text.strip()) for turn in sample.turns)))
