"""An untrained assistant in a folder, as training would leave it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import Checkpoint, internvl
from olhar.languages import language
from olhar.prompts import prompt, special_tokens
from olhar.training import vocabulary

PARTS = ModelParts(
    family="internvl",
    tower=TowerShape(image_size=64, patch_size=16, hidden_size=32, layers=1, heads=2, intermediate_size=48),
    language_model=LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48, initial_std=0.4),
    tokenizer="unused",
)
TEXTS = ["Que coisa é esta? É um gato.", "Quantas coisas há? Três, duas, uma.", "Onde está o avião? À direita."] * 3


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an assistant whose answers depend on the picture (its connector is loud) and end at times."""
    specials = [*special_tokens(prompt("compact"), language("pt")), *internvl.SPECIAL_TOKENS]
    tokenizer = vocabulary.learn((f" {text}" for text in TEXTS), 340, specials)
    layout = internvl.settings(PARTS)
    torch.manual_seed(11)
    image_token = tokenizer.token_to_id(internvl.IMAGE_TOKEN)
    assert image_token is not None
    model = internvl.compose(PARTS, layout, tokenizer.get_vocab_size(), image_token)
    folder = tmp_path_factory.mktemp("assistant") / "model"
    Checkpoint(model, tokenizer, "internvl", layout, "compact", None, "pt").save(folder)
    return folder


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    """The path of a picture of noise, by its seed; sizes differ."""
    folder = tmp_path_factory.mktemp("pictures")

    def path(seed: int) -> str:
        file = folder / f"{seed}.png"
        pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        return str(file)

    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[Any]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
