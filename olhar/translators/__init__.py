"""Texts in, texts out: one engine a file, holding

``Options``
    frozen pydantic model of what a recipe or ``--set`` may say to it (``extra="forbid"``);
``open(options, source, target) -> Translator``
    for one direction, language codes of ``olhar.languages`` with an optional variety (``pt``, ``pt-BR``); raises
    ``UserError`` for an engine that is not there, cannot be reached or does not know the direction;
``FORMALITY``
    where it can be asked for one: what its option ``formality`` says for each that a policy may name.

An engine translates single sentences and knows nothing else: not where they come from, not what must survive. What
must come back as it is, a ``Kept`` span, stands apart from the text. Failures are values, never a shorter list.
Waiting, trying again, giving up, caching and counting money are done once, for all engines, by ``olhar.translation``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict


class EngineOptions(BaseModel):
    """Base of every engine's ``Options``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Kept:
    """A span that must come back as it is, in its place among its neighbours: a number, a tag, a quotation."""

    text: str


Segment = tuple[str | Kept, ...]
"""One sentence: text and kept spans in reading order, at least one letter in its text, no newline."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a segment was not translated.

    passing: whether the same request may succeed later (a limit, a timeout, a server error).
    wait: seconds that the engine asks to wait first, if it says so.
    """

    reason: str
    passing: bool = False
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What provenance says of an engine. ``version`` changes whenever the same text may be translated otherwise:
    it holds the versions of program and data, and every option that matters."""

    name: str
    version: str
    licence: str
    non_commercial: bool = False
    official: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may hold, and how fast calls may follow. None: no limit known.

    price: of a million characters, in ``currency``.
    """

    segments: int = 256
    characters: int | None = None
    calls_per_minute: float | None = None
    concurrent: int = 1
    price: float = 0.0
    currency: str = "USD"


class Translator(Protocol):
    """One engine, opened for one direction.

    keeps: whether it carries ``Kept`` spans inside a segment. Where it does not, segments are cut at them, and every
        segment it gets is one string.
    deterministic: whether a segment's translation depends on nothing but the segment.
    """

    @property
    def about(self) -> About: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def keeps(self) -> bool: ...

    @property
    def deterministic(self) -> bool: ...

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        """One result for each segment, in order; a kept span of the result is one of the segment's.

        Raises ``UserError`` only for what no later call can mend (a key that is refused, a model that vanished).
        """
        ...

    def close(self) -> None:
        """End processes and connections; may be called twice."""
        ...
