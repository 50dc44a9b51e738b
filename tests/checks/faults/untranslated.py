"""Sentences that stayed in the original's language."""

from pathlib import Path

from tests.checks.planting import Fault, translated


def faults(folder: Path) -> list[Fault]:
    cat, two = "There is a cat on the table.", "There is a cat on the table. It looks at the birds."
    return [
        translated("untranslated", "warning", ("What?", cat), ("O quê?", cat)),
        translated("untranslated", "warning", ("What?", two), ("O quê?", "Há um gato na mesa. It looks at the birds.")),
        translated("untranslated", "warning", (two, "Yes"), (two.upper(), "Sim")),
    ]
