"""Segments as texts of a request: kept spans as numbered tags, whose spelling is each service's own."""

import re
from collections.abc import Callable, Iterable, Sequence

from olhar.translators import Failure, Kept, Segment

Result = Segment | Failure
_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, section 2.2


def tagged(segment: Segment, text: Callable[[str], str], tag: Callable[[int, str], str]) -> str:
    """The segment as one string: ``text`` spells its texts, ``tag`` the number (from 1) and text of a kept span."""
    number, spelt = 0, list[str]()
    for part in segment:
        if isinstance(part, Kept):
            number += 1
            spelt.append(tag(number, part.text))
        else:
            spelt.append(text(part))
    return "".join(spelt)


def put_back(segment: Segment, pieces: Iterable[str | int], passing: bool) -> Result:
    """The translated segment from the texts and numbers of tags that came back.

    A ``Failure`` where a tag is lost, comes twice or was never sent, where no text came back or it holds a line end.
    ``passing``: whether asking the same again may help.
    """
    kept = [part for part in segment if isinstance(part, Kept)]
    parts, numbers = list[str | Kept](), list[int]()
    for piece in pieces:
        if isinstance(piece, int):
            if not 1 <= piece <= len(kept):
                return Failure("a tag came back that was not sent", passing)
            numbers.append(piece)
            parts.append(kept[piece - 1])
        elif parts and isinstance(parts[-1], str):
            parts[-1] += piece
        elif piece:
            parts.append(piece)
    text = "".join(part for part in parts if isinstance(part, str))
    if len(set(numbers)) < len(numbers):
        return Failure("a tag came back twice", passing)
    if len(numbers) < len(kept):
        return Failure("a tag was lost", passing)
    if not text.strip():
        return Failure("no text came back", passing)
    if "\n" in text or "\r" in text:
        return Failure("a line end came back that was not sent", passing)
    return tuple(parts)


def in_requests(
    segments: Sequence[Segment], most: int, ask: Callable[[Sequence[Segment]], list[Result]]
) -> list[Result]:
    """Results of all segments, asked for by at most ``most`` at a time; what cannot be sent is a ``Failure``."""
    results: list[Result] = [Failure("the text holds control characters")] * len(segments)
    places = [place for place, segment in enumerate(segments) if is_sendable(segment)]
    for start in range(0, len(places), most):
        some = places[start : start + most]
        for place, result in zip(some, ask([segments[place] for place in some]), strict=True):
            results[place] = result
    return results


def is_sendable(segment: Segment) -> bool:
    """Whether JSON, XML and HTML can all hold its characters."""
    return not any(_UNSENDABLE.search(part.text if isinstance(part, Kept) else part) for part in segment)


def read_each(
    entries: object, segments: Sequence[Segment], name: str, read: Callable[[str, Segment], Result]
) -> list[Result]:
    """What ``read`` makes of the text called ``name`` in each entry, for as many segments in their order.

    A list of another length fails for all of them: nothing says which one is missing. An entry without a text fails
    for its segment alone.
    """
    if not isinstance(entries, list) or len(entries) != len(segments):
        count = len(entries) if isinstance(entries, list) else "no list of them"
        return [Failure(f"{len(segments)} texts went out, {count} came back", passing=True)] * len(segments)
    texts = [entry.get(name) if isinstance(entry, dict) else None for entry in entries]
    return [
        read(text, segment) if isinstance(text, str) else Failure("no text came back", passing=True)
        for text, segment in zip(texts, segments, strict=True)
    ]
