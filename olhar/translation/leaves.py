"""Which strings of a record are natural language, and back into their places.

Known from the record's keys alone, never from what a string looks like. Shapes of records:

``sample``         a row of olhar: ``id``, ``language``, ``turns`` of ``role`` and ``parts``
``conversations``  LLaVA: turns of ``from`` and ``value`` (Liu et al. 2023, arXiv:2304.08485)
``messages``       OpenAI: turns of ``role`` and ``content``, a string or a list of typed parts
``question``       flat: one question with its answers and options, under the keys of ``FLAT``
``caption``        flat: an image and what is said of it
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from olhar.sources._llava_turns import ROLES

LeafRole = Literal["question", "answer", "option", "system", "caption"]
Path = tuple[str | int, ...]

TURN_LISTS: Mapping[str, str] = {"turns": "sample", "conversations": "conversations", "messages": "messages"}
KNOWN = (*TURN_LISTS, "question", "caption")  # a record is known by one of these keys
SPEAKERS = (("from", "value"), ("role", "content"))
FLAT: Mapping[str, LeafRole] = {
    "question": "question",
    "context": "question",
    "hint": "question",
    "instruction": "question",
    "answer": "answer",
    "answers": "answer",
    "direct_answers": "answer",
    "full_answer": "answer",
    "fullAnswer": "answer",
    "multiple_choice_answer": "answer",
    "explanation": "answer",
    "lecture": "answer",
    "rationale": "answer",
    "rationales": "answer",
    "solution": "answer",
    "choices": "option",
    "options": "option",
    "caption": "caption",
    "captions": "caption",
}
OPTION_COLUMNS = "ABCDEFGH"  # a column for each option, where there are at least A and B
IDS = ("id", "question_id", "questionId", "image_id")
_SPOKEN: Mapping[str, LeafRole] = {"user": "question", "assistant": "answer", "system": "system"}
_INNER = {"answers": "answer", "captions": "caption"}  # the text's key where the list holds objects


class BadRecord(ValueError):
    """A record whose texts cannot be told apart from the rest; the text is ``kind: detail``."""


class UnknownShape(BadRecord):
    """A record with none of the known sets of keys."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One natural-language string of a record, where it stands and what it is."""

    path: Path
    role: LeafRole
    text: str


@dataclass(frozen=True, slots=True)
class Leaves:
    """What a record has to translate. ``unread`` are places with text under a known key in an unknown form."""

    shape: str
    leaves: tuple[Leaf, ...]
    unread: tuple[Path, ...] = ()


def leaves_of(record: Any) -> Leaves:
    """The record's natural-language strings in reading order. Raises ``BadRecord``."""
    if not isinstance(record, dict):
        raise UnknownShape(f"not a record: {_short(record)} instead of an object")
    lists = [key for key in TURN_LISTS if key in record]
    if len(lists) == 1 and (lists[0] != "turns" or "language" in record):
        return _turns(record[lists[0]], lists[0])
    if not lists and "question" in record:
        return _flat(record, "question")
    if not lists and ("caption" in record or "captions" in record):
        return _flat(record, "caption")
    keys = ", ".join(list(record)[:12]) + (", ..." if len(record) > 12 else "")
    raise UnknownShape(f"unknown record: its keys are {keys or 'none'}")


def put_back(record: Any, texts: Mapping[Path, str]) -> None:
    """Change the record's strings at these paths; nothing else of it is touched."""
    for path, text in texts.items():
        node = record
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = text


def record_id(record: Any) -> str | int | None:
    """What the record calls itself, as it stands there."""
    if not isinstance(record, dict):
        return None
    return next((record[key] for key in IDS if isinstance(record.get(key), str | int)), None)


def _turns(turns: Any, key: str) -> Leaves:
    if not isinstance(turns, list):
        raise BadRecord(f"unfit turns: {key} is {_short(turns)}, not a list")
    leaves: list[Leaf] = []
    unread: list[Path] = []
    for number, turn in enumerate(turns):
        speaker, content = ("role", "parts") if key == "turns" else _keys_of(turn, number)
        role = _role(turn, speaker, number)
        path: Path = (key, number, content)
        for leaf in _content(turn.get(content), path, role):
            (leaves if isinstance(leaf, Leaf) else unread).append(leaf)  # type: ignore[arg-type]
    return Leaves(TURN_LISTS[key], tuple(leaves), tuple(unread))


def _keys_of(turn: Any, number: int) -> tuple[str, str]:
    for speaker, content in SPEAKERS:
        if isinstance(turn, dict) and speaker in turn and content in turn:
            return speaker, content
    raise BadRecord(f"unfit turn: turn {number + 1} has neither from and value nor role and content")


def _role(turn: Any, speaker: str, number: int) -> LeafRole:
    name = turn.get(speaker) if isinstance(turn, dict) else None
    role = ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise BadRecord(f"unknown role: {_short(name)} in turn {number + 1}; known are {', '.join(ROLES)}")
    return _SPOKEN[role]


def _content(content: Any, path: Path, role: LeafRole) -> Iterator[Leaf | Path]:
    """A turn's text, or the texts among its parts; a path for what may be text but has an unknown form."""
    if isinstance(content, str):
        yield Leaf(path, role, content)
    elif isinstance(content, list):
        for index, part in enumerate(content):
            if isinstance(part, str):
                yield Leaf((*path, index), role, part)
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                yield Leaf((*path, index, "text"), role, part["text"])
            elif not isinstance(part, dict):
                yield (*path, index)
    elif content is not None:
        yield path


def _flat(record: Mapping[str, Any], shape: str) -> Leaves:
    leaves: list[Leaf] = []
    unread: list[Path] = []
    columns = OPTION_COLUMNS if "A" in record and "B" in record else ""
    for key, value in record.items():  # in the record's own order
        role = "option" if key in columns and len(key) == 1 else FLAT.get(key)
        if role is not None:
            for leaf in _values(value, key, role):
                (leaves if isinstance(leaf, Leaf) else unread).append(leaf)  # type: ignore[arg-type]
    return Leaves(shape, tuple(leaves), tuple(unread))


def _values(value: Any, key: str, role: LeafRole) -> Iterator[Leaf | Path]:
    """The texts under a key of ``FLAT``: a string, a list of strings or of objects, options by their letter."""
    if isinstance(value, str):
        # one string may hold a printed list of options: translated as prose it would fall apart
        yield (key,) if key in ("choices", "options") else Leaf((key,), role, value)
    elif isinstance(value, list):
        inner = _INNER.get(key)
        for index, entry in enumerate(value):
            if isinstance(entry, str):
                yield Leaf((key, index), role, entry)
            elif isinstance(entry, dict) and inner and isinstance(entry.get(inner), str):
                yield Leaf((key, index, inner), role, entry[inner])
            elif isinstance(entry, dict | list):
                yield (key, index)
    elif isinstance(value, dict):
        for letter, entry in value.items():
            if isinstance(entry, str) and role == "option":
                yield Leaf((key, letter), role, entry)
            elif isinstance(entry, str | dict | list):
                yield (key, letter)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
