"""Translations that say much less or much more than the original."""

from pathlib import Path

from tests.checks.planting import Fault, translated

LONG = "The cat sits on the mat, and a dog runs through the garden behind it. "
LONG_TOO = "O gato está sentado no tapete, e um cachorro corre pelo jardim atrás dele. "


def faults(folder: Path) -> list[Fault]:
    return [
        translated("too short", "warning", ("What?", LONG), ("O quê?", "O gato.")),
        translated("too short", "warning", ("What?", 5 * LONG), ("O quê?", 2 * LONG_TOO)),
        translated("too long", "warning", ("What?", LONG), ("O quê?", 3 * LONG_TOO)),
        translated("too long", "warning", ("What?", "A cat."), ("O quê?", LONG_TOO)),
    ]
