"""Turns that got stuck."""

from pathlib import Path

from tests.checks.planting import Fault, sample, translated


def faults(folder: Path) -> list[Fault]:
    alone = "the cat sits on the mat and " * 4
    sentences = "The cat sits here. It is black. The cat sits here. It is white. The cat sits here. It is red."
    return [
        Fault("loop", "warning", [sample("user: Q", f"assistant: I see {alone}")]),
        Fault("loop", "warning", [sample("user: Q", "assistant: " + "猫坐在" * 5)]),
        translated(
            "loop", "warning", ("Q", "They are enrolled."), ("Q", "Estão matriculados matriculados matriculados.")
        ),
        translated("loop", "warning", ("Q", "no, no, no"), ("Q", "não, não, não, não")),
        Fault("repeated sentence", "warning", [sample("user: Q", f"assistant: {sentences}")]),
        Fault("loop of letters", "warning", [sample("user: Q", "assistant: A ca" + "t" * 20)]),
        Fault("loop of letters", "warning", [sample("user: Q", "assistant: " + "ha" * 15)]),
    ]
