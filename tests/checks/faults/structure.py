"""Conversations out of order."""

from pathlib import Path

from tests.checks.planting import Fault, sample

GOOD = sample("user: Q", "assistant: A")


def faults(folder: Path) -> list[Fault]:
    return [
        Fault("no turns", "error", [sample()]),
        Fault("no user turn", "error", [sample("assistant: A")]),
        Fault("no assistant turn", "error", [sample("system: S", "user: Q")]),
        Fault("assistant first", "error", [sample("assistant: A", "user: Q", "assistant: A")]),
        Fault("same speaker twice", "error", [sample("user: Q", "user: Q", "assistant: A")]),
        Fault("no last answer", "error", [sample("user: Q", "assistant: A", "user: Q")]),
        Fault(
            "system turn inside", "error", [sample("user: Q", "assistant: A", "system: S", "user: Q", "assistant: A")]
        ),
        Fault("turns differ", "error", [sample("user: Q", "assistant: A", "user: Q", "assistant: A")], parent=GOOD),
    ]
