"""Conversations in LLaVA's JSON, as found in the wild: an array or one record a line, streamed.

A record holds ``id``, ``image`` (a path, or several; also ``images``, ``video``, ``videos``) and
``conversations`` of ``{"from": "human" | "gpt" | "system", "value": text}``; or OpenAI's shape, ``messages``
of ``{"role", "content"}``. ``<image>`` and ``<video>`` mark the places of the media (Liu et al. 2023,
arXiv:2304.08485). A mark becomes a part of its turn, and the one newline beside it goes: layout, not text.

What does not fit is said and kept, never repaired: media without a mark stand in ``meta["unplaced"]``, places
of marks without media in ``meta["marks_without_media"]``; the check ``placeholders`` tells both. A row that
cannot be a sample is a ``Finding`` of ``row N``: N counts the array's records, or the lines, from 1.
"""

from collections.abc import Iterator
from typing import cast

from olhar.core.types import Finding, Sample
from olhar.sources import Request, SourceOptions
from olhar.sources._llava_records import ADVICE, CUT_SHORT, Ids, Records, Repeated, file_of, folders_of

__all__ = ["ADVICE", "CUT_SHORT"]

NAME = "llava"
NEEDS_PATH = True


class Options(SourceOptions):
    """``images``, ``videos``: folders that relative media paths start from; without them, the folder of the
    JSON file. ``repeated_ids``: refuse the later rows of one id, or number them ``id#2``, ``id#3``."""

    images: str | None = None
    videos: str | None = None
    repeated_ids: Repeated = "reject"


def read(request: Request) -> Iterator[Sample | Finding]:
    """Samples and findings in the file's order. Raises ``UserError`` when there is no such file or folder,
    or when the file is not a list of records."""
    path, options = file_of(request.path, request.dataset, NAME), cast(Options, request.options)
    folders = folders_of(options.images, options.videos, path)
    return Records(path, NAME, request.language, request.dataset, folders, Ids(options.repeated_ids)).read()


def count(request: Request) -> int | None:
    """None: only reading the whole file would tell."""
    return None
