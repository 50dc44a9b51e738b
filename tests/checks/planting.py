"""What a file of ``faults/`` plants: samples of which the last must be found, and under which name."""

from dataclasses import dataclass

from olhar.core.types import Sample, Severity, Turn


@dataclass(frozen=True)
class Fault:
    kind: str
    severity: Severity
    samples: list[Sample]
    parent: Sample | None = None


def sample(*turns: str, language: str = "en") -> Sample:
    """``sample("user: Q", "assistant: A")``."""
    said = (turn.partition(":") for turn in turns)
    return Sample("s", language, tuple(Turn(role, (text.removeprefix(" "),) if text else ()) for role, _, text in said))


def translated(kind: str, severity: Severity, original: tuple[str, ...], turns: tuple[str, ...]) -> Fault:
    """A fault of a Portuguese sample against its English original, both as question, answer, question, answer."""
    parent, child = (
        sample(
            *(f"{role}: {text}" for role, text in zip(("user", "assistant") * 9, texts, strict=False)),
            language=language,
        )
        for language, texts in (("en", original), ("pt", turns))
    )
    return Fault(kind, severity, [child], parent)
