"""Segments as JSON text: ``["He has ",["12"]," dogs"]``, a kept span being a list of its own."""

import json
from typing import Any

from olhar.translators import Kept, Segment

_WRITER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # once: this is done for every sentence


def segment_to_json(segment: Segment) -> str:
    """The one JSON text of a segment: what keys are made of."""
    return _WRITER.encode([[part.text] if isinstance(part, Kept) else part for part in segment])


def segment_from_json(text: str) -> Segment:
    return segment_from_value(json.loads(text))


def segment_from_value(value: Any) -> Segment:
    """A segment from decoded JSON; a bare string is one without kept spans. Raises ``ValueError``."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(map(_is_part, value)):
        raise ValueError("a segment is a string, or a list of strings and of one-string lists (kept spans)")
    return tuple(Kept(part[0]) if isinstance(part, list) else part for part in value)


def characters(segment: Segment) -> int:
    """How long the segment is, kept spans included: what engines count and charge."""
    return sum(len(part.text) if isinstance(part, Kept) else len(part) for part in segment)


def _is_part(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, list) and len(part) == 1 and isinstance(part[0], str))
