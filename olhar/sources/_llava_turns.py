"""The turns of one LLaVA record: texts cut at their marks, media paths put where the marks stood."""

import os
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from olhar.core.types import ImageRef, Part, Role, Turn, VideoRef

Kind = Literal["image", "video"]

TURN_LISTS = ("conversations", "messages")
MEDIA_KEYS = ("image", "images", "video", "videos")
ROLES: Mapping[str, Role] = {  # words of the file formats
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# a mark with the newline behind it, or else with the one before it
_MARK = re.compile(r"<(image|video)>\r?\n|(?:\r?\n)?<(image|video)>(?!\r?\n)")


class BadRow(ValueError):
    """A row that cannot become a sample; the text is ``kind: detail``."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where relative paths start, by kind of media; absolute paths of folders."""

    image: str
    video: str

    def ref(self, kind: Kind, name: Any) -> ImageRef | VideoRef:
        """The file called ``name``; whether it exists is for a check to say. Raises ``BadRow``."""
        if not isinstance(name, str) or not name.strip():
            raise BadRow(f"unfit {kind}: {_short(name)} is not a path")
        if name.startswith("data:") or "://" in name:
            raise BadRow(f"{kind} is not a file: {_short(name)}")
        folder = self.image if kind == "image" else self.video
        path = os.path.normpath(os.path.join(folder, name))
        return ImageRef(path) if kind == "image" else VideoRef(path)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A mark, before it is known which file belongs there."""

    kind: Kind


_Piece = str | ImageRef | VideoRef | _Slot


def turns_of(record: Mapping[str, Any], folders: Folders, meta: dict[str, Any]) -> tuple[Turn, ...]:
    """The record's turns with media in place; what does not fit goes into ``meta``. Raises ``BadRow``.

    Media go to the marks of their kind in reading order. In a record with videos and no images,
    ``<image>`` stands for the videos, as LLaVA-NeXT's video data have it.
    """
    waiting = {kind: deque(_media(record, kind, folders)) for kind in ("image", "video")}
    if waiting["video"] and not waiting["image"]:
        waiting["image"] = waiting["video"]
    turns: list[Turn] = []
    homeless: list[list[int]] = []
    unknown: dict[str, Any] = {}
    for number, given in enumerate(_turn_list(record)):
        role, content, rest = _turn(given, number)
        parts: list[Part] = []
        for piece in _pieces(content, number, folders):
            if not isinstance(piece, _Slot):
                parts.append(piece)
            elif waiting[piece.kind]:
                parts.append(waiting[piece.kind].popleft())
            else:
                homeless.append([number, len(parts)])
        turns.append(Turn(role, tuple(parts)))
        if rest:
            unknown[str(number)] = rest
    _note(meta, "unplaced", [ref.path for ref in _left(waiting.values())])
    _note(meta, "marks_without_media", homeless)  # [turn, the part it would stand before]
    _note(meta, "extra_of_turns", unknown)
    return tuple(turns)


def _left(queues: Iterable[deque[ImageRef | VideoRef]]) -> list[ImageRef | VideoRef]:
    distinct = {id(queue): queue for queue in queues}  # both kinds may share one queue
    return [ref for queue in distinct.values() for ref in queue]


def _note(meta: dict[str, Any], key: str, value: Any) -> None:
    if value:
        meta[key] = value


def _media(record: Mapping[str, Any], kind: Kind, folders: Folders) -> list[ImageRef | VideoRef]:
    given = [record[key] for key in (kind, f"{kind}s") if record.get(key) is not None]
    if len(given) > 1 and given[0] != given[1]:
        raise BadRow(f"{kind} given twice: both {kind!r} and '{kind}s' are there and differ")
    names = given[0] if given else []
    return [folders.ref(kind, name) for name in (names if isinstance(names, list) else [names])]


def _turn_list(record: Mapping[str, Any]) -> list[Any]:
    there = [key for key in TURN_LISTS if key in record]
    if len(there) != 1:
        keys = ", ".join(list(record)[:6]) + (", ..." if len(record) > 6 else "")
        which = "both" if there else "neither"
        raise BadRow(f"not a record: it has {which} of conversations and messages; its keys are {keys or 'none'}")
    turns = record[there[0]]
    if not isinstance(turns, list):
        raise BadRow(f"not a record: {there[0]} is {_short(turns)}, not a list of turns")
    return turns


def _turn(given: Any, number: int) -> tuple[Role, Any, dict[str, Any]]:
    """Who speaks, the content, and the turn's other keys."""
    if not isinstance(given, dict):
        raise BadRow(f"unfit turn: turn {number + 1} is {_short(given)}, not an object")
    for speaker, content in (("from", "value"), ("role", "content")):
        if speaker in given and content in given:
            name = given[speaker]
            role = ROLES.get(name) if isinstance(name, str) else None
            if role is None:
                raise BadRow(f"unknown role: {_short(name)} in turn {number + 1}; known are {', '.join(ROLES)}")
            rest = {key: value for key, value in given.items() if key not in (speaker, content)}
            return role, given[content], rest
    raise BadRow(f"unfit turn: turn {number + 1} has neither from and value nor role and content")


def _pieces(content: Any, number: int, folders: Folders) -> list[_Piece]:
    if isinstance(content, str):
        return _cut(content, number)
    if not isinstance(content, list):
        raise BadRow(f"unfit turn: turn {number + 1} holds {_short(content)}, not text")
    return [piece for part in content for piece in _part(part, number, folders)]


def _part(part: Any, number: int, folders: Folders) -> list[_Piece]:
    """One part of an OpenAI content list: text, or an image or video with or without its path."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return _cut(part["text"], number)
    if kind in ("image", "video"):
        name = part.get(kind, part.get("path"))
        return [_Slot(kind) if name is None else folders.ref(kind, name)]
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        return [folders.ref("image", part["image_url"].get("url"))]
    raise BadRow(f"unfit turn: turn {number + 1} has a part that is neither text nor media: {_short(part)}")


def _cut(text: str, number: int) -> list[_Piece]:
    """The text cut at its marks, each without the newline behind it, or else the one before it."""
    if REPLACEMENT in text:
        raise BadRow(f"broken text: U+FFFD in turn {number + 1} stands for characters that were lost earlier")
    if "<" not in text:
        return [text] if text else []
    pieces: list[_Piece] = []
    at = 0
    for mark in _MARK.finditer(text):
        pieces += [text[at : mark.start()], _Slot(cast(Kind, mark[1] or mark[2]))]
        at = mark.end()
    return [piece for piece in (*pieces, text[at:]) if piece != ""]


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
