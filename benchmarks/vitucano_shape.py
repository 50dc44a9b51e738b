"""A model in the shape of ViTucano with random weights, and samples as long as those of its recipe.

In an environment without olhar it can be imported too.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SEED, ANSWERS = 0, 2 / 3  # of a sample's text
IMAGE = 3  # the image token's id

Sizes = dict[str, int]
TEXT = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32}
LARGE = (
    {**TEXT, "num_key_value_heads": 4, "vocab_size": 32_000, "max_position_embeddings": 8192},
    {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    | {"image_size": 384, "patch_size": 14},
)
TINY = (
    {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 4096},
    {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    | {"image_size": 28, "patch_size": 14},
)


@dataclass(frozen=True)
class Case:
    """What is trained on which samples: (image tokens, text tokens) each."""

    text: Sizes
    vision: Sizes
    samples: Sequence[tuple[int, int]]

    @property
    def patches(self) -> int:
        return (self.vision["image_size"] // self.vision["patch_size"]) ** 2

    @staticmethod
    def of(tiny: bool, count: int) -> "Case":
        text, vision = TINY if tiny else LARGE
        draw, patches = random.Random(SEED), (vision["image_size"] // vision["patch_size"]) ** 2
        rows = [
            (patches if draw.random() < 0.88 else 0, int(min(max(draw.lognormvariate(5.0, 0.8), 12), 1800)))
            for _ in range(count)
        ]
        return Case(text, vision, rows)

    def flops(self, image: int, text: int) -> float:
        """Useful work on one sample, see above."""
        t, v, tokens = self.text, self.vision, image + text
        width = t["hidden_size"] // t["num_attention_heads"]
        attention = 2 * t["hidden_size"] ** 2 + 2 * t["hidden_size"] * width * t["num_key_value_heads"]
        layer = attention + 3 * t["hidden_size"] * t["intermediate_size"]
        seen = 2 * t["hidden_size"] * tokens * (tokens + 1) / 2
        language = 6 * t["num_hidden_layers"] * (layer * tokens + seen)
        head = 6 * t["hidden_size"] * t["vocab_size"] * int(text * ANSWERS)
        matrices = 4 * v["hidden_size"] ** 2 + 2 * v["hidden_size"] * v["intermediate_size"]
        tower = v["num_hidden_layers"] * (2 * matrices * image + 4 * v["hidden_size"] * image**2)
        connector = 6 * image * (v["hidden_size"] * t["hidden_size"] + t["hidden_size"] ** 2)
        return language + head + tower + connector


def built(case: Case, device: str) -> Any:
    """transformers' class with random weights; the tower is frozen."""
    import torch
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    config = LlavaConfig(
        vision_config=SiglipVisionConfig(**case.vision, vision_use_head=False),
        text_config=LlamaConfig(**case.text, tie_word_embeddings=False),
        image_token_index=IMAGE,
        vision_feature_select_strategy="full",
        image_seq_length=case.patches,
    )
    torch.manual_seed(SEED)
    with torch.device(device):
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.requires_grad_(False)
    if device == "cuda":
        model.model.vision_tower.to(torch.bfloat16)
    return model


def ids_of(case: Case, sample: tuple[int, int]) -> list[int]:
    return [IMAGE] * sample[0] + [4 + number % (case.text["vocab_size"] - 4) for number in range(sample[1])]


def pixels_of(case: Case, images: int) -> Any:
    import torch

    side = case.vision["image_size"]
    return torch.randint(256, (images, 3, side, side), dtype=torch.uint8)
