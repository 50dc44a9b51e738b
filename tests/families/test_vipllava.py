"""ViP-LLaVA: five layers of a deep enough CLIP side by side, as transformers reads them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import vipllava
from olhar.families.vipllava import SPECIAL_TOKENS

VISION = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}


def shape(layers: int) -> TowerShape:
    return TowerShape(image_size=32, patch_size=8, hidden_size=32, layers=layers, heads=2, intermediate_size=48)


def parts(tower: Any) -> ModelParts:
    text = LanguageModelShape(hidden_size=48, layers=1, heads=2, intermediate_size=48)
    return ModelParts(family="vipllava", tower=tower, language_model=text, tokenizer="unused")


def composed(tower: Any) -> Any:
    torch.manual_seed(0)
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    chosen = parts(tower)
    return vipllava.compose(chosen, vipllava.settings(chosen), words).eval()


def clip(folder: Path, layers: int) -> str:
    torch.manual_seed(3)
    CLIPVisionModel(CLIPVisionConfig(**VISION, num_hidden_layers=layers)).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("layers", [10, 13])
def test_features_are_those_of_transformers(layers: int, tmp_path: Path) -> None:
    model = composed(clip(tmp_path, layers))
    assert model.config.image_seq_length == 16 and model.config.text_config.hidden_size == 48
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features = vipllava.patch_features(model, pixels)
        states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        expected = torch.stack(list(model.model.get_image_features(pixel_values=pixels).pooler_output))
        assert torch.equal(vipllava.connected(model, features), expected)
    assert features.shape == (2, 16, 5 * 32)
    for place, layer in enumerate((layers - 1, layers - 4, layers - 7, layers - 10, 6)):
        assert torch.equal(features[..., 32 * place : 32 * (place + 1)], states[layer][:, 1:])


def test_a_tower_made_anew_has_a_class_token_to_leave_out() -> None:
    model = composed(shape(10))
    assert type(model.model.vision_tower).__name__ == vipllava.TOWER_CLASS
    with torch.no_grad():
        assert vipllava.patch_features(model, torch.rand(1, 3, 32, 32)).shape == (1, 16, 160)


def test_a_shallow_tower_is_refused(tmp_path: Path) -> None:
    for tower, where in ((shape(9), "model.tower"), (clip(tmp_path, 9), str(tmp_path))):
        with pytest.raises(UserError, match="the tower has 9 layers") as told:
            vipllava.settings(parts(tower))
        assert told.value.where == where


def test_a_tower_without_a_class_token_is_refused(tmp_path: Path) -> None:
    """Its first patch would be left out."""
    SiglipVisionModel(SiglipVisionConfig(**VISION, num_hidden_layers=10)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="'siglip_vision_model' does not fit"):
        vipllava.settings(parts(str(tmp_path)))
