"""How one image or video is looked at: tiles through the tower, tokens in the sequence. No torch."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Budget:
    """What one image or video costs: tokens in the sequence, memory tokens outside it, tiles through the tower."""

    tokens: int
    memory: int
    tiles: int


@dataclass(frozen=True, slots=True)
class Medium:
    """What a family needs to know of an image or video: (width, height) of its picture, or of every frame."""

    kind: Literal["image", "video"]
    sizes: tuple[tuple[int, int], ...]


class View(Hashable, Protocol):
    """How a family looks at one medium: a frozen dataclass of its own, with at least its cost."""

    @property
    def budget(self) -> Budget: ...


def budget(family: Any, width: int, height: int, settings: Any) -> Budget:
    """The cost of an image of this size that is alone in its sample."""
    view: View = family.views([Medium("image", ((width, height),))], settings)[0]
    return view.budget
