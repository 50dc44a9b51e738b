"""A foreign data set becomes ``Sample`` objects. One file (or package) a source, holding

``Options``
    frozen pydantic model of what a recipe may say to it (``extra="forbid"``);
``read(request) -> Iterator[Sample | Finding]``
    streams; a row that cannot be read becomes a ``Finding`` naming its row, never an exception half-way;
``count(request) -> int | None``
    how many rows there are, for the progress bar; None where counting would mean reading everything;
``files(path, options) -> list[Path]`` (may be left out)
    of a source whose file names others that it reads: when they change, so does what is read.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class SourceOptions(BaseModel):
    """Base of every source's ``Options``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Request:
    """What a source is asked for. ``media`` is the folder for pictures that the source itself makes."""

    path: Path | None
    options: SourceOptions
    language: str
    dataset: str  # becomes Sample.source
    media: Path
