"""What all parts of a recipe share."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
PositiveInt = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a recipe: frozen, and no key beside those it names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def no_repeats(names: Sequence[str], what: str) -> None:
    """Raises ``ValueError`` where a name stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two {what} are called {', '.join(twice)}")
