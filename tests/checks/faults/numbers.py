"""Numbers that differ from the original's."""

from pathlib import Path

from tests.checks.planting import Fault, translated


def faults(folder: Path) -> list[Fault]:
    return [
        translated("missing", "warning", ("What year?", "In 1990."), ("Que ano?", "No ano.")),
        translated("added", "warning", ("What year?", "That one."), ("Que ano?", "Em 1990.")),
        translated("changed", "warning", ("How many?", "There are 3 cats."), ("Quantos?", "Há 4 gatos.")),
        translated("changed", "warning", ("How many?", "1,500.5 and 20"), ("Quantos?", "1.500,5 e 21")),
        translated("missing", "warning", ("How many?", "20 and 20"), ("Quantos?", "20")),
    ]
