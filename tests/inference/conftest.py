"""An untrained assistant in a folder, as training would leave it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import Checkpoint, Spoken, internvl, load
from olhar.inference.assistant import Assistant
from olhar.languages import language
from olhar.prompts import prompt, special_tokens
from olhar.training.model import vocabulary

TOWER = TowerShape(image_size=64, patch_size=16, hidden_size=32, layers=1, heads=2, intermediate_size=48)
TEXTS = ["Que coisa é esta? É um gato.", "Quantas coisas há? Três, duas, uma.", "Onde está o avião? À direita."] * 3


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of an assistant whose answers depend on the picture (its connector is loud) and end at times."""
    spoken = [token for name in ("compact", "chatml") for token in special_tokens(prompt(name), language("pt"))]
    tokenizer = vocabulary.learn((f" {text}" for text in TEXTS), 340, [*spoken, *internvl.SPECIAL_TOKENS])

    def make(hidden_size: int, intermediate_size: int) -> Path:
        sizes: dict[str, Any] = {"hidden_size": hidden_size, "intermediate_size": intermediate_size, "layers": 2}
        text = LanguageModelShape(**sizes, heads=2, initial_std=0.4, max_tokens=2048)
        parts = ModelParts(family="internvl", tower=TOWER, language_model=text, tokenizer="unused")
        layout = internvl.settings(parts)
        torch.manual_seed(11)
        model = internvl.compose(parts, layout, tokenizer)
        folder = tmp_path_factory.mktemp("assistant") / "model"
        Checkpoint(model, tokenizer, "internvl", layout, Spoken("compact", None, "pt")).save(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def saved(made: Callable[..., Path]) -> Path:
    return made(hidden_size=32, intermediate_size=48)


@pytest.fixture(scope="session")
def spoken_as(saved: Path) -> Callable[..., Assistant]:
    """The same model under another prompt; ``settings`` change how it looks at pictures."""
    checkpoint = load(saved)

    def speak(name: str, variant: str | None = None, **settings: Any) -> Assistant:
        changed = replace(checkpoint.settings, **settings)
        return Assistant(replace(checkpoint, spoken=Spoken(name, variant, "pt"), settings=changed))

    return speak


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
