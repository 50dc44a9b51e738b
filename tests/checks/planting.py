"""What a file of ``faults/`` plants: samples of which the last must be found, and under which name."""

from dataclasses import dataclass

from olhar.core.types import Sample, Severity, Turn


@dataclass(frozen=True)
class Fault:
    kind: str
    severity: Severity
    samples: list[Sample]
    parent: Sample | None = None


def sample(*turns: str) -> Sample:
    """``sample("user: Q", "assistant: A")``."""
    said = (turn.partition(":") for turn in turns)
    return Sample("s", "en", tuple(Turn(role, (text.removeprefix(" "),) if text else ()) for role, _, text in said))
