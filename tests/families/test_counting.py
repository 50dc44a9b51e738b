"""Counts by arithmetic are the counts of transformers' own classes."""

from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models

from olhar.core.choices import choose, names
from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import _counting, part_config
from olhar.training.model import blocks

SIGLIP, CLIP = "google/siglip-so400m-patch14-384", "openai/clip-vit-large-patch14-336"
INTERNVIT = "OpenGVLab/InternViT-300M-448px-V2_5"


def tokenizer_of(family: Any) -> Tokenizer:
    words = Tokenizer(models.WordLevel({"?": 0} | {f"w{number}": number for number in range(1, 300)}, unk_token="?"))
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.SPECIAL_TOKENS])
    return words


@pytest.mark.parametrize("name", names("families"))
def test_a_composed_model_of_every_family_has_as_many_parameters_in_every_role(name: str) -> None:
    family = choose("families", name)
    tower = TowerShape(image_size=56, patch_size=14, hidden_size=32, layers=10, heads=2, intermediate_size=48)
    text = LanguageModelShape(hidden_size=24, layers=3, heads=2, intermediate_size=40)
    parts = ModelParts(family=name, tower=tower, language_model=text, tokenizer="unused")
    tokenizer = tokenizer_of(family)
    model = family.compose(parts, family.settings(parts), tokenizer)
    sizes = {parameter: tensor.numel() for parameter, tensor in model.named_parameters()}
    real = {role: sum(sizes[parameter] for parameter in held) for role, held in family.roles(model).items()}

    config = model.config
    found = _counting.counts(
        family, config.vision_config.to_dict(), config.text_config.to_dict(), tokenizer.get_vocab_size()
    )
    assert found.roles == real
    assert found.parameters == sum(sizes.values())
    layer = _counting.layer_read(family, config.vision_config.to_dict(), anew=True)
    idle = blocks.unread(model, family, family.roles(model)["vision"])
    assert found.tower.unread(layer) == sum(sizes[parameter] for parameter in idle)


TOWERS = [
    {"model_type": "siglip_vision_model", "vision_use_head": True},
    {"model_type": "siglip_vision_model", "vision_use_head": False},
    {"model_type": "clip_vision_model"},
    {"model_type": "internvl_vision", "attention_bias": True},
    {"model_type": "internvl_vision", "use_qk_norm": True, "norm_type": "rms_norm", "use_mean_pooling": False},
    {"model_type": "internvl_vision", "use_mask_token": True, "use_absolute_position_embeddings": False},
]
SIZES = {
    "image_size": 56,
    "patch_size": 14,
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize("config", TOWERS, ids=str)
def test_every_kind_of_tower(config: dict[str, Any]) -> None:
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(**config, **SIZES))
    found = _counting.tower_of({**config, **SIZES})
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    head = [tensor.numel() for name, tensor in model.named_parameters() if name.startswith("head.")]
    assert found.head == sum(head)


DECODERS = [
    {"model_type": "llama", "tie_word_embeddings": True},
    {"model_type": "llama", "num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True},
    {"model_type": "llama", "head_dim": 16},
    {"model_type": "mistral", "num_key_value_heads": 2},
    {"model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 16},
]
SPOKEN = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize("config", DECODERS, ids=str)
def test_every_kind_of_language_model(config: dict[str, Any]) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config, **SPOKEN))
    found = _counting.decoder({**config, **SPOKEN})
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    linear = [layer for layer in model.model.layers[0].modules() if isinstance(layer, torch.nn.Linear)]
    assert sorted(found.linears) == sorted((layer.in_features, layer.out_features) for layer in linear)
    assert _counting.decoder({**config, **SPOKEN}, tokens=130).parameters == found.parameters + 2 * found.row


def published(family: str, tower: str, language: str) -> _counting.Counts:
    seen, spoken = part_config(tower, "tower"), part_config(language, "language_model")
    assert seen and spoken
    return _counting.counts(choose("families", family), seen, spoken)


def test_vitucano_is_what_its_card_says_pooling_head_and_all() -> None:
    """Published: 1,534,831,680, which counts SigLIP's pooling head; no language model reads it."""
    found = published("llava", SIGLIP, "TucanoBR/Tucano-1b1")
    assert found.roles == {"vision": 428_225_600, "connector": 6_557_696, "language": 1_100_048_384}
    assert found.parameters == 1_534_831_680
    assert found.tower.head == 15_238_352  # probe, attention, norm and MLP


def test_published_models_by_arithmetic() -> None:
    """No weights at hand: what the shapes of the papers come to. Vicuna-13B alone is 13,015,864,320."""
    assert published("llava", CLIP, "lmsys/vicuna-13b-v1.5").parameters == 13_350_839_296
    assert published("llava", CLIP, "lmsys/vicuna-7b-v1.5").parameters == 7_062_902_784
    assert published("internvl", INTERNVIT, "Qwen/Qwen2.5-3B-Instruct").parameters == 3_402_546_176
    assert published("llava_onevision", SIGLIP, "Qwen/Qwen2-0.5B-Instruct").parameters == 924_096_064


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match="'mamba' are not counted"):
        _counting.decoder({"model_type": "mamba"})
    with pytest.raises(UserError, match="'dinov2' are not counted"):
        _counting.tower_of({"model_type": "dinov2"})


def test_a_part_is_looked_up_by_folder_then_name(tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 8}')
    assert part_config(str(tmp_path), "language_model") == {"model_type": "llama", "hidden_size": 8}
    assert part_config("nobody/no-such-model", "language_model") is None
    assert part_config("lmsys/vicuna-7b-v1.5", "tower") is None  # of another kind
    whole = part_config("liuhaotian/llava-v1.5-13b", "checkpoint")
    assert whole and part_config(whole["tower"], "tower") and part_config(whole["language_model"], "language_model")
