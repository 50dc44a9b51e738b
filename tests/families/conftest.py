"""A family's parts at their smallest."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import internvl

VOCABULARY = 320


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Words that name their ids; ``<img>``, ``</img>`` and ``<IMG_CONTEXT>`` are the last ones."""
    ordinary = VOCABULARY - len(internvl.SPECIAL_TOKENS)
    words = Tokenizer(models.WordLevel({"?": 0} | {f"w{id}": id for id in range(1, ordinary)}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in internvl.SPECIAL_TOKENS])
    return words


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
def composed(parts: Callable[..., ModelParts], tokenizer: Tokenizer) -> Callable[..., Any]:
    def make(seed: int = 0, **changes: Any) -> Any:
        torch.manual_seed(seed)
        chosen = parts(**changes)
        return internvl.compose(chosen, internvl.settings(chosen), tokenizer).eval()

    return make
