"""The whole way, from foreign data to a published folder."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from olhar.core.recipe._base import Name, Part, PositiveInt, no_repeats
from olhar.core.recipe.data import Checking, DataSet, Mixture, Translating
from olhar.core.recipe.model import Model
from olhar.core.recipe.training import Training


class Evaluation(Part):
    """One benchmark on ingested data sets; the data set's name is the split it reports."""

    benchmark: str
    data: Annotated[tuple[Name, ...], Field(min_length=1)]
    controls: tuple[Literal["image", "blank"], ...] = ("image", "blank")
    batch: PositiveInt = 256


class Publishing(Part):
    """What the model card says beside the measured numbers."""

    title: str
    license: str
    limits: tuple[str, ...] = ()
    tower: bool = False  # write the vision tower as a folder of its own too, for other recipes to start from


class Recipe(Part):
    """The whole way, from foreign data to a published folder."""

    name: Name
    language: str
    seed: Annotated[int, Field(ge=0)] = 0
    ingest: Annotated[tuple[DataSet, ...], Field(min_length=1)]
    translate: Translating | None = None
    check: Checking = Checking()
    mix: tuple[Mixture, ...] = ()
    model: Model | None = None
    train: Training | None = None
    evaluate: tuple[Evaluation, ...] = ()
    publish: Publishing | None = None

    @model_validator(mode="after")
    def _names_bind(self) -> "Recipe":
        no_repeats([data.name for data in self.ingest], "data sets")
        no_repeats([mixture.name for mixture in self.mix], "mixtures")
        if self.train and not self.model:
            raise ValueError("[train] needs [model]")
        return self
