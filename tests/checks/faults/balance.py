"""Pairs of brackets and quotation marks that lost one side."""

from pathlib import Path

from tests.checks.planting import Fault, translated


def faults(folder: Path) -> list[Fault]:
    pairs = [
        ('A "cat" sits.', 'Um "gato senta.'),
        ("A “cat” sits.", "Um “gato senta."),
        ('A "cat" sits.', 'Um “gato" senta.'),
        ("A cat (black) sits.", "Um gato (preto senta."),
        ("A cat {black} sits.", "Um gato preto} senta."),
    ]
    return [translated("unbalanced", "warning", ("What?", before), ("O quê?", after)) for before, after in pairs]
