"""Data: what is read, translated, checked and mixed."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from olhar.core.recipe._base import Name, Part, PositiveInt, Share


class DataSet(Part):
    """One data set to ingest: which source reads it, from where, with which options of that source."""

    name: Name
    source: str
    path: Path | None = None
    language: str | None = None  # default: the recipe's
    license: str | None = None  # for the model card; default: what the source itself knows
    attribution: str = ""
    options: dict[str, Any] = {}
    expect: PositiveInt | None = None  # samples it is known to hold: what `olhar plan` counts with before it is there


class Checking(Part):
    """Which checks every ingested sample must pass. ``stop_above``: share of rejected samples that stops the run.
    ``thresholds``: check -> its thresholds by name, where they shall differ from the check's own."""

    checks: tuple[str, ...] = ("structure", "turns", "placeholders", "images")
    thresholds: dict[str, dict[str, float]] = {}
    stop_above: Share = 0.05

    @model_validator(mode="after")
    def _of_its_checks(self) -> "Checking":
        for name in self.thresholds:
            if name not in self.checks:
                raise ValueError(f"thresholds are given for {name!r}, which is not among checks")
        return self


class Translating(Part):
    """How data sets in other languages become the recipe's. ``options``: of the engine; ``policies``: quotes, answers
    and so on, see ``olhar.translation.policies``; ``max_cost``: in the engine's currency, for all runs together."""

    engine: str
    options: dict[str, Any] = {}
    to: str | None = None  # a variety of the recipe's language: "pt-PT"
    policies: dict[str, Any] = {}
    batch: PositiveInt | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None


class Taking(Part):
    """A share of one data set. ``where`` keeps samples whose meta holds one of the listed values."""

    data: Name
    where: dict[str, tuple[str | int | bool, ...]] = {}
    repeat: Annotated[float, Field(gt=0)] = 1.0  # 0.5: a seeded half; 3: three times


class Mixture(Part):
    """A training set made of shares of data sets, in a seeded order."""

    name: Name
    take: Annotated[tuple[Taking, ...], Field(min_length=1)]
