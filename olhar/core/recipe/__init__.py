"""What a person writes: one TOML file that says the whole way, read by frozen models.

A misspelt key, a wrong type or an impossible value is found here; names, paths, sizes and budgets that need
other folders to be looked at are bound by ``olhar plan``. ``--set train.stages.0.steps=10`` is the only override.
"""

from olhar.core.recipe._base import Part
from olhar.core.recipe.data import Checking, DataSet, Mixture, Taking, Translating
from olhar.core.recipe.model import (
    LanguageModelShape,
    Model,
    ModelParts,
    StartingPoint,
    TokenizerShape,
    TowerShape,
)
from olhar.core.recipe.reading import load, problems
from olhar.core.recipe.training import (
    Adapter,
    Best,
    Hardware,
    MarkPen,
    Overlong,
    ParameterRole,
    Training,
    TrainStage,
    Weighting,
)
from olhar.core.recipe.whole import Evaluation, Publishing, Recipe

__all__ = [
    "Adapter", "Best", "Checking", "DataSet", "Evaluation", "Hardware", "LanguageModelShape", "MarkPen", "Mixture",
    "Model", "ModelParts", "Overlong", "ParameterRole", "Part", "Publishing", "Recipe", "StartingPoint", "Taking",
    "TokenizerShape", "TowerShape", "TrainStage", "Training", "Translating", "Weighting", "load", "problems",
]  # fmt: skip
