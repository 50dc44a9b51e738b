"""ViP-LLaVA as it was published: converted, plain transformers computes what the original did."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from olhar.families import Spoken
from tests.conversion.llava_goldens import (
    PICTURES,
    TOWER,
    Converted,
    Weights,
    converted,
    facts,
    sft_loss,
    source,
    stored,
    whole,
)

NAME, CLOSE = "vipllava", 1e-4
NAMES = (
    (f"{TOWER}vision_model.", "model.vision_tower."),
    ("model.mm_projector.clip_layernorm.", "model.multi_modal_projector.projector_layernorm."),
    ("model.mm_projector.final_linear.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.final_linear.2.", "model.multi_modal_projector.linear_2."),
    ("model.", "model.language_model."),
    ("", ""),
)


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("vipllava")
    original = source(NAME, folder / "original")
    return converted(original, folder / "converted", tower=original / "vision_tower")


def test_every_weight_is_there_unchanged(vip: Converted) -> None:
    assert whole(vip.loading)
    state, weights = vip.model.state_dict(), stored(NAME, "model.safetensors")
    assert len(state) == len(weights)
    for old, value in weights.items():
        before, after = next(rule for rule in NAMES if old.startswith(rule[0]))
        assert torch.equal(state[after + old[len(before) :]][: len(value)], value), old


def test_it_says_how_it_is_spoken_to_and_how_it_sees(vip: Converted) -> None:
    assert vip.checkpoint.spoken == Spoken("vicuna", "human", "en")
    assert (vip.settings.fit, vip.settings.tokens) == ("pad", 16)
    config = vip.model.config
    assert type(vip.model).__name__ == "VipLlavaForConditionalGeneration"
    assert list(config.vision_feature_layer) == [-2, -5, -8, -11, 6] and config.projector_layernorm_eps == 1e-5


def test_pictures_ids_and_the_processor_are_right(vip: Converted) -> None:
    golden = stored(NAME)
    assert torch.equal(vip.pixels("wide"), golden["pixel_values_pad"])
    asked = vip.question("Descreva a imagem.")
    assert asked == vip.expanded(golden["input_ids"][0].tolist())
    processor = AutoProcessor.from_pretrained(vip.folder)
    content = [{"type": "image"}, {"type": "text", "text": "Descreva a imagem."}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    found = processor(images=[Image.open(PICTURES["wide"].path)], text=text, return_tensors="pt")
    assert found["input_ids"][0].tolist() == asked
    assert (found["pixel_values"] - vip.pixels("wide")).abs().max() <= 1e-6


def test_features_logits_and_answers_are_the_originals(vip: Converted) -> None:
    golden, pixels = stored(NAME), vip.pixels("wide")
    with torch.no_grad():
        features = vip.checkpoint.family.patch_features(vip.model, pixels)
    assert features.shape == (1, 16, 120)
    assert (features - golden["vision_features"]).abs().max() <= CLOSE
    assert (vip.projected(pixels) - golden["projected"]).abs().max() <= CLOSE
    ids = vip.expanded(golden["input_ids"][0].tolist())
    assert (vip.logits(ids, pixels) - golden["logits"][0]).abs().max() <= CLOSE
    answer = golden["generated_ids"][0].tolist()[1:]  # a BOS leads
    assert vip.generated(ids, pixels, len(answer)) == answer


def test_a_training_batch_has_the_originals_labels_logits_and_loss(vip: Converted) -> None:
    loss, differences = sft_loss(vip, NAME)
    assert max(differences) <= CLOSE
    assert loss == pytest.approx(facts(NAME)["sft_loss"], abs=1e-5)


def test_what_is_wrong_would_be_seen(vip: Converted) -> None:
    golden, pixels = stored(NAME), vip.pixels("wide")
    ids = vip.expanded(golden["input_ids"][0].tolist())
    vip.model.config.vision_feature_layer = [6, -2, -5, -8, -11]
    try:
        moved = vip.logits(ids, pixels)[-1] - golden["logits"][0, -1]
    finally:
        vip.model.config.vision_feature_layer = [-2, -5, -8, -11, 6]
    assert moved.abs().max() > 0.1
    square = vip.logits(ids, golden["pixel_values_square"])[-1] - golden["logits"][0, -1]
    assert square.abs().max() > 0.05


def test_converting_again_changes_no_byte(vip: Converted, tmp_path: Path) -> None:
    convert(vip.folder, tmp_path / "again")
    for file in ("model.safetensors", "olhar.json", "preprocessor_config.json", "processor_config.json", "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (vip.folder / file).read_bytes(), file


def test_what_transformers_saved_converts_back(vip: Converted, tmp_path: Path) -> None:
    """Such folders are asked with the prompt that their cards name."""
    vip.model.save_pretrained(tmp_path / "saved")
    AutoProcessor.from_pretrained(vip.folder).save_pretrained(tmp_path / "saved")
    again = converted(tmp_path / "saved", tmp_path / "again", prompt="vicuna/human")
    assert again.settings == vip.settings
    state = vip.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())


def test_it_is_told_by_its_keys_too(vip: Converted, tmp_path: Path) -> None:
    """A checkpoint whose configuration names its tower's folder instead."""
    convert(source(NAME, tmp_path / "s", mm_vision_tower="vision_tower"), tmp_path / "t")
    expected = (vip.folder / "model.safetensors").read_bytes()
    assert (tmp_path / "t" / "model.safetensors").read_bytes() == expected


def test_the_tower_must_be_found(tmp_path: Path) -> None:
    """Without its folder the published one is meant, to which these weights do not belong."""

    def bare(weights: Weights) -> Weights:
        return {name: value for name, value in weights.items() if not name.startswith(TOWER)}

    with pytest.raises(UserError, match="weights of 'openai/clip-vit-large-patch14-336' are not here"):
        convert(source(NAME, tmp_path / "bare", bare, tower=False), tmp_path / "t")
    with pytest.raises(UserError, match="tower in this checkpoint is not"):
        convert(source(NAME, tmp_path / "whole", tower=False), tmp_path / "t")


def test_a_shallow_tower_is_refused(tmp_path: Path) -> None:
    """Its states are read from the eleventh before the last on."""
    folder = source(NAME, tmp_path / "s")
    tower = folder / "vision_tower"
    weights = {
        name: value
        for name, value in load_file(tower / "model.safetensors").items()
        if not any(f"layers.{number}." in name for number in (9, 10, 11))
    }
    save_file(weights, tower / "model.safetensors", {"format": "pt"})
    row: dict[str, Any] = json.loads((tower / "config.json").read_text()) | {"num_hidden_layers": 9}
    (tower / "config.json").write_text(json.dumps(row))
    with pytest.raises(UserError, match="the tower has 9 layers"):
        convert(folder, tmp_path / "t", tower=tower)


def test_other_connectors_are_refused(tmp_path: Path) -> None:
    folder = source(NAME, tmp_path / "s", mm_projector_type="mlp3x_gelu")
    with pytest.raises(UserError, match="mlp3x_gelu"):
        convert(folder, tmp_path / "t", tower=folder / "vision_tower")
