"""Who speaks when: system at most first, then user and assistant in turn, the assistant last.

Against the original, a translated sample has the same turns by the same speakers.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from olhar.core.types import Finding, Role, Sample
from olhar.languages import Language

NAME = "structure"
ADVICE: Mapping[str, str] = {
    "no turns": "remove the record, or give it a question and an answer",
    "no user turn": "an answer to nothing teaches nothing: add the question",
    "no assistant turn": "nothing would be trained: add the answer or remove the record",
    "assistant first": "add the question that is answered, or move the text into a system turn",
    "same speaker twice": "join the neighbouring turns, or add the one between them",
    "no last answer": "cut the last question off, or answer it",
    "system turn inside": "move the system text to the front",
    "turns differ": "the translation lost, added or swapped turns: translate the sample again",
}


def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
    """Findings of severity ``error`` on the order of speakers."""
    roles = [turn.role for turn in sample.turns]
    for message in _problems(roles, [turn.role for turn in parent.turns] if parent else None):
        yield Finding(sample.id, NAME, "error", message)


def _problems(roles: list[Role], original: list[Role] | None) -> Iterator[str]:
    if original is not None and roles != original:
        yield f"turns differ: {', '.join(roles) or 'none'}; in the original {', '.join(original) or 'none'}"
    if not roles:
        yield "no turns: the conversation is empty"
        return
    dialogue = roles[1:] if roles[0] == "system" else roles
    if "system" in dialogue:
        yield f"system turn inside: turn {roles.index('system', 1) + 1} is a system turn"
    missing = [role for role in ("user", "assistant") if role not in dialogue]
    for role in missing:
        yield f"no {role} turn: there are only {', '.join(sorted(set(roles)))} turns"
    if not missing:
        yield from _order(dialogue, first=len(roles) - len(dialogue) + 1)


def _order(dialogue: list[Role], first: int) -> Iterator[str]:
    """``first``: the number by which a person would call the dialogue's first turn."""
    if dialogue[0] == "assistant":
        yield f"assistant first: turn {first} is an answer without a question"
    for number, (role, after) in enumerate(pairwise(dialogue), start=first):
        if role == after != "system":
            yield f"same speaker twice: turns {number} and {number + 1} are both {role}"
    if dialogue[-1] == "user":
        yield f"no last answer: turn {first + len(dialogue) - 1}, the last, is by the user"
