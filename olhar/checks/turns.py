"""What is said: no empty turn, no answer without text, no question twice, no character that is debris."""

import re
from collections.abc import Iterator, Mapping

from olhar.core.types import Finding, Sample, Severity, Turn
from olhar.languages import Language

NAME = "turns"
ADVICE: Mapping[str, str] = {
    "empty turn": "write the missing text, or remove the turn and its answer",
    "empty answer": "nothing would be trained: write the answer, or remove the question with it",
    "lost characters": "the text was damaged by a wrong encoding: take it from an older copy",
    "control characters": "often text of another encoding: look at the row and write it again as UTF-8",
    "same question twice": "keep one of them unless the answers are meant to differ",
}

_LOST = re.compile("[\ufffd\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab, line feed, carriage return
_DEBRIS = re.compile(f"{_LOST.pattern}|{_CONTROL.pattern}")


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    """Findings turn by turn; a repeated question and control characters are warnings, all else errors."""
    asked: dict[tuple[str, int], int] = {}
    seen = 0  # media up to this turn: the same words about a further image are another question
    for number, turn in enumerate(sample.turns, start=1):
        text = turn.text
        seen += len(turn.media)
        for severity, message in _problems(turn, text, number):
            yield Finding(sample.id, NAME, severity, message)
        if turn.role == "user" and text.strip():
            first = asked.setdefault((text.strip(), seen), number)
            if first != number:
                message = f"same question twice: turn {number} asks what turn {first} asked"
                yield Finding(sample.id, NAME, "warning", message)


def _problems(turn: Turn, text: str, number: int) -> Iterator[tuple[Severity, str]]:
    if not text.strip() and not turn.media:
        kind = "empty answer" if turn.role == "assistant" else "empty turn"
        yield "error", f"{kind}: turn {number}, by the {turn.role}, holds {'only blanks' if text else 'nothing'}"
    elif not text.strip() and turn.role == "assistant":
        yield "error", f"empty answer: turn {number}, by the assistant, holds media but no text"
    if not _DEBRIS.search(text):
        return
    if lost := _LOST.findall(text):
        yield "error", f"lost characters: turn {number} holds {len(lost)} of U+{ord(lost[0]):04X}"
    if controls := _CONTROL.findall(text):
        codes = ", ".join(f"U+{ord(character):04X}" for character in sorted(set(controls))[:4])
        yield "warning", f"control characters: turn {number} holds {len(controls)} ({codes})"
