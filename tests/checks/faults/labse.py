"""A turn that the stand-in for the model finds another meaning in."""

from pathlib import Path

from tests.checks.planting import Fault, translated


def faults(folder: Path) -> list[Fault]:
    return [translated("meaning differs", "warning", ("What?", "A cat."), ("O quê?", "WRONG"))]
