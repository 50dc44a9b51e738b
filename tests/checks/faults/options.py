"""Answers that no longer mean what they meant."""

from pathlib import Path

from tests.checks.planting import Fault, sample, translated

QUESTION, PERGUNTA = "Which?\nA. a cat\nB. a dog\nC. a bird", "Qual?\nA. um gato\nB. um cachorro\nC. uma ave"
INLINE = "Which? (A) a cat (B) a dog"


def faults(folder: Path) -> list[Fault]:
    return [
        translated("letters differ", "error", (QUESTION, "B"), ("Qual?\nUn. gato\nB. um cachorro\nC. uma ave", "B")),
        translated("letters differ", "error", (INLINE, "B"), ("Qual? (A) um gato (C) um cachorro", "B")),
        translated("answer differs", "error", (QUESTION, "A"), (PERGUNTA, "Um")),
        translated("answer differs", "error", (QUESTION, "B"), (PERGUNTA, "C")),
        translated("answer differs", "error", (QUESTION, "The answer is B."), (PERGUNTA, "A resposta é C.")),
        translated("answer differs", "error", (QUESTION, "A dog"), (PERGUNTA, "Um cão")),
        translated("yes and no swapped", "error", ("Is it?", "No"), ("É?", "Sim")),
        translated("yes and no swapped", "error", ("Is it?", "Yes, it is."), ("É?", "Não, não é.")),
        translated("no yes or no", "warning", ("Is it?", "No."), ("É?", "Núm.")),
        Fault("no such option", "warning", [sample(f"user: {QUESTION}", "assistant: D")]),
    ]
