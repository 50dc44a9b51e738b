"""A turn that the stand-in for the model finds poor."""

from pathlib import Path

from tests.checks.planting import Fault, translated


def faults(folder: Path) -> list[Fault]:
    return [translated("poor translation", "warning", ("What?", "A cat."), ("O quê?", "WRONG"))]
