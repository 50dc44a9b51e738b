"""The model: parts to join, or a checkpoint to start from."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from olhar.core.recipe._base import Name, Part, PositiveInt


class TowerShape(Part):
    """A vision tower to make from nothing, in the shape its family uses."""

    image_size: PositiveInt = 64
    patch_size: PositiveInt = 8
    hidden_size: PositiveInt = 128
    layers: PositiveInt = 6
    heads: PositiveInt = 4
    intermediate_size: PositiveInt = 512


class LanguageModelShape(Part):
    """A language model to make from nothing (Llama architecture, tied embeddings)."""

    hidden_size: PositiveInt = 128
    layers: PositiveInt = 3
    heads: PositiveInt = 4
    intermediate_size: PositiveInt = 384
    max_tokens: PositiveInt = 512
    initial_std: Annotated[float, Field(gt=0)] = 0.08


class TokenizerShape(Part):
    """A byte-level BPE tokenizer to learn from a mixture's text."""

    vocabulary: Annotated[int, Field(ge=300)] = 1400
    mixture: Name


class ModelParts(Part):
    """The parts a family joins: each a path (or hub name) to a pretrained one, or a shape to make anew.

    ``image``: changes to how the family looks at pictures, by the names of its ``Settings``.
    """

    family: str
    tower: str | TowerShape
    language_model: str | LanguageModelShape
    tokenizer: str | TokenizerShape
    image: dict[str, Any] = {}


class StartingPoint(Part):
    """A whole checkpoint to start from: a folder of olhar's, or any that ``olhar convert`` reads, or its hub name.

    ``adapter``: a folder in PEFT's layout to go on training with. ``base``: what a checkpoint that is only an
    adapter or a projector belongs to. ``image``: as in ``ModelParts``; what is not named stays the checkpoint's.
    """

    family: str
    checkpoint: str
    base: str | None = None
    adapter: str | None = None
    image: dict[str, Any] = {}


def _kind(given: Any) -> str:
    """Which of the two a table of a recipe is."""
    started = "checkpoint" in given if isinstance(given, dict) else isinstance(given, StartingPoint)
    return "starting-point" if started else "parts"


Model = Annotated[
    Annotated[ModelParts, Tag("parts")] | Annotated[StartingPoint, Tag("starting-point")], Discriminator(_kind)
]
