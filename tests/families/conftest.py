"""A family's parts at their smallest."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import internvl

VOCABULARY, IMAGE_ID = 320, 3


@pytest.fixture
def parts() -> Callable[..., ModelParts]:
    def make(tower: Any = None, language_model: Any = None) -> ModelParts:
        shape = TowerShape(image_size=32, patch_size=8, hidden_size=32, layers=1, heads=2, intermediate_size=48)
        text = LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48)
        return ModelParts(
            family="internvl", tower=tower or shape, language_model=language_model or text, tokenizer="unused"
        )

    return make


@pytest.fixture
def composed(parts: Callable[..., ModelParts]) -> Callable[..., Any]:
    def make(seed: int = 0, **changes: Any) -> Any:
        torch.manual_seed(seed)
        chosen = parts(**changes)
        return internvl.compose(chosen, internvl.settings(chosen), VOCABULARY, IMAGE_ID).eval()

    return make
