"""One conversation under two ids."""

from dataclasses import replace
from pathlib import Path

from tests.checks.planting import Fault, sample


def faults(folder: Path) -> list[Fault]:
    first = sample("user: Q", "assistant: A")
    return [Fault("seen before", "warning", [first, replace(first, id="another")])]
