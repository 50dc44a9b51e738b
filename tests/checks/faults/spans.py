"""Spans that a translation lost, changed or made up."""

from pathlib import Path

from tests.checks.planting import Fault, translated


def faults(folder: Path) -> list[Fault]:
    question = "Where is it?"
    return [
        translated(
            "lost", "error", (question, "<ref>cat</ref><box>[[1, 2]]</box>"), ("Onde?", "<ref>gato</ref>[[1, 2]]")
        ),
        translated("lost", "error", (question, "cat: [0.1, 0.25]"), ("Onde?", "gato: 0.1, 0.25")),
        translated("lost", "warning", (question, "Run `print(x)`."), ("Onde?", "Rode imprima (x).")),
        translated("lost", "warning", (question, "$x^2$"), ("Onde?", "$ x 2 $")),
        translated("invented", "error", (question, "A cat."), ("Onde?", "Um <b>gato</b>.")),
        translated("invented", "error", (question, "<box>"), ("Onde?", "<box> <box>")),
        translated("invented", "warning", (question, "See a page."), ("Onde?", "Veja https://a.org/x.")),
    ]
