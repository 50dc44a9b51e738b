"""Turns that say nothing, the same again, or debris."""

from pathlib import Path

from olhar.core.types import ImageRef, Sample, Turn
from tests.checks.planting import Fault, sample

PICTURE_ANSWER = Sample("s", "en", (Turn("user", ("Q",)), Turn("assistant", (ImageRef("/a.jpg"),))))


def faults(folder: Path) -> list[Fault]:
    return [
        Fault("empty turn", "error", [sample("user:", "assistant: A")]),
        Fault("empty turn", "error", [sample("user: \n\t", "assistant: A")]),
        Fault("empty answer", "error", [sample("user: Q", "assistant:")]),
        Fault("empty answer", "error", [PICTURE_ANSWER]),
        Fault("lost characters", "error", [sample("user: Q", "assistant: caf\ufffd")]),
        Fault("lost characters", "error", [sample("user: Q", "assistant: caf\udce9")]),
        Fault("control characters", "warning", [sample("user: Q", "assistant: \x93A\x94")]),
        Fault("same question twice", "warning", [sample("user: Q", "assistant: A", "user: Q ", "assistant: B")]),
    ]
