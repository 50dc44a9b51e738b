"""Numbered sentences in JSON, as a language model is asked for translations, and what it answers.

A number is drawn from the sentence's text, not counted: a model that merges two sentences and goes on counting would
answer with numbers nobody asked for, instead of shifting every sentence that follows.
"""

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from olhar.translators import Failure, Kept, Segment
from olhar.translators._http_marks import put_back, tagged

FIRST, LAST = 100, 999  # numbers: three digits, one token in most vocabularies
SHOWN = 80  # characters of a kept span that are shown
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "translations",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "translations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}, "text": {"type": "string"}},
                        "required": ["n", "text"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["translations"],
            "additionalProperties": False,
        },
    },
}
_TAG = re.compile(r"<k(\d{1,6})\s*/?>")
_OURS = re.compile(r"</?\s*k\d", re.IGNORECASE)  # what looks like a tag of ours, also where it is none
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


def collides(segment: Segment) -> bool:
    """Whether its own text holds what looks like our tags."""
    return any(_OURS.search(part) for part in segment if isinstance(part, str))


def numbers_of(segments: Sequence[Segment]) -> list[int]:
    """A number for each, all different; at most ``LAST - FIRST + 1`` segments."""
    taken: dict[int, None] = {}
    for segment in segments:
        spoken = sha256(tagged(segment, str, lambda number, _: f"<k{number}/>").encode()).digest()
        number = FIRST + int.from_bytes(spoken[:8], "big") % (LAST - FIRST + 1)
        while number in taken:
            number = number + 1 if number < LAST else FIRST
        taken[number] = None
    return list(taken)


def request_text(numbers: Sequence[int], segments: Sequence[Segment]) -> str:
    """``{"sentences": [{"n": 417, "text": "There are <k1/> dogs.", "kept": {"k1": "3"}}]}``"""
    sentences = []
    for number, segment in zip(numbers, segments, strict=True):
        sentence: dict[str, Any] = {"n": number, "text": tagged(segment, str, lambda place, _: f"<k{place}/>")}
        kept = [part.text for part in segment if isinstance(part, Kept)]
        if kept:
            sentence["kept"] = {f"k{place}": _shown(text) for place, text in enumerate(kept, 1)}
        sentences.append(sentence)
    return json.dumps({"sentences": sentences}, ensure_ascii=False)


def read_answer(content: str, numbers: Sequence[int], segments: Sequence[Segment]) -> list[Segment | Failure]:
    """What a model answered, by number; each sentence that is missing, doubled or broken fails for itself."""
    entries = _entries(content)
    if isinstance(entries, Failure):
        return [entries] * len(segments)
    texts: dict[int, list[Any]] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("n"), int):
            texts.setdefault(entry["n"], []).append(entry.get("text"))
    return [_read(texts.get(number, []), segment) for number, segment in zip(numbers, segments, strict=True)]


def _read(texts: list[Any], segment: Segment) -> Segment | Failure:
    if len(texts) != 1 or not isinstance(texts[0], str):
        return Failure(f"{len(texts)} answers to this sentence" if len(texts) != 1 else "no text came back", True)
    if _OURS.search(_TAG.sub("", texts[0])):
        return Failure("a tag came back broken", passing=True)
    return put_back(segment, _pieces(texts[0]), passing=True)


def _pieces(text: str) -> Iterable[str | int]:
    """Texts and numbers in turn, as ``split`` yields them with one group."""
    for place, piece in enumerate(_TAG.split(text)):
        yield int(piece) if place % 2 else piece


def _entries(content: str) -> list[Any] | Failure:
    """The list inside the answer, which without a schema may stand in a fence or after thoughts."""
    content = _THOUGHT.sub("", content)
    start, end = content.find("{"), content.rfind("}")
    try:
        value = json.loads(content[start : end + 1])
    except (ValueError, RecursionError):
        return Failure("the answer is not JSON", passing=True)
    entries = value.get("translations") if isinstance(value, dict) else None
    return entries if isinstance(entries, list) else Failure("the answer holds no translations", passing=True)


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
