"""Variants of InternVL's layout: small models of transformers whose names are taken back, and what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import InternVLConfig, InternVLForConditionalGeneration

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Turn
from olhar.families._checkpoint import SIDECAR
from tests.conversion.internvl_opened import BASE, GOLDEN, LAYOUT, Converted

BACKWARDS = (
    ("model.multi_modal_projector.layer_norm.", "mlp1.0."),
    ("model.multi_modal_projector.linear_1.", "mlp1.1."),
    ("model.multi_modal_projector.linear_2.", "mlp1.3."),
    ("model.vision_tower.embeddings.cls_token", "vision_model.embeddings.class_embedding"),
    ("model.vision_tower.embeddings.position_embeddings", "vision_model.embeddings.position_embedding"),
    ("model.vision_tower.embeddings.patch_embeddings.projection.", "vision_model.embeddings.patch_embedding."),
    ("model.vision_tower.encoder.layer.", "vision_model.encoder.layers."),
    (".attention.projection_layer.", ".attn.proj."),
    (".attention.q_norm.", ".attn.q_norm."),
    (".attention.k_norm.", ".attn.k_norm."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".lambda_1", ".ls1"),
    (".lambda_2", ".ls2"),
    ("lm_head.", "language_model.lm_head."),
    ("model.language_model.", "language_model.model."),
)
Variant = Callable[..., tuple[Path, dict[str, torch.Tensor]]]


@pytest.fixture
def original(tmp_path: Path) -> Variant:
    """Writes a folder in the original layout: the golden configuration with changes, random weights to fit."""

    def make(vision: Any = None, text: Any = None, **changes: Any) -> tuple[Path, dict[str, torch.Tensor]]:
        folder = tmp_path / "original"
        folder.mkdir()
        row = json.loads((GOLDEN / BASE / "config.json").read_text(encoding="utf-8"))
        row["vision_config"] |= vision or {}
        row["llm_config"] |= text or {}
        row |= changes
        (folder / "config.json").write_text(json.dumps(row), encoding="utf-8")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(GOLDEN / BASE / name, folder / name)
        state = tiny(row["vision_config"], row["llm_config"])
        save_file(backwards(state), folder / "model.safetensors")
        return folder, state

    return make


def tiny(vision: dict[str, Any], text: dict[str, Any]) -> dict[str, torch.Tensor]:
    """All weights of a small model of transformers, none of them as a class would start it."""
    same = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = InternVLConfig(
        vision_config={
            **{key: vision[key] for key in (*same, "norm_type", "image_size", "patch_size")},
            "model_type": "internvl_vision",
            "attention_bias": vision["qkv_bias"],
            "use_qk_norm": vision["qk_normalization"],
        },
        text_config={
            **{key: text[key] for key in (*same, "num_key_value_heads", "vocab_size", "model_type")},
            "attention_bias": text.get("attention_bias", False),
        },
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    state = InternVLForConditionalGeneration(config).state_dict()
    return {name: torch.randn(value.shape) for name, value in state.items()}


def backwards(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    stored: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if ".vision_tower." in name and any(f".attention.{part}_proj." in name for part in "kv"):
            continue
        if ".vision_tower." in name and ".attention.q_proj." in name:
            value = torch.cat([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
        name = name.replace("vision_tower.encoder", "VISION").replace(".attention.q_proj.", ".attn.qkv.")
        name = name.replace("VISION", "vision_tower.encoder")
        for new, old in BACKWARDS:
            name = name.replace(new, old, 1)
        stored[name] = value.contiguous()
    return stored


QK_NORM = {"qk_normalization": True, "qkv_bias": False, "norm_type": "rms_norm"}  # as in InternViT-6B
VARIANTS: dict[str, dict[str, Any]] = {
    "no qkv bias": {"vision": {"qkv_bias": False}},
    "qk-norm over the whole width": {"vision": {"qk_normalization": True}},
    "rms norm": {"vision": {"norm_type": "rms_norm"}},
    "all of the largest tower": {"vision": QK_NORM},
    "another hidden state": {"select_layer": -2},
    "Llama": {"text": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}},
    "stretched positions": {"text": {"rope_scaling": {"type": "dynamic", "factor": 2.0}}},
    "padded vocabulary": {"text": {"vocab_size": 448}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_restored_exactly(original: Variant, tmp_path: Path, name: str) -> None:
    folder, state = original(**VARIANTS[name])
    convert(folder, tmp_path / "converted")
    found = Converted.open(tmp_path / "converted")
    assert not found.report["missing_keys"] and not found.report["unexpected_keys"]
    written = found.model.state_dict()
    assert written.keys() == state.keys()
    assert all(torch.equal(written[key], value) for key, value in state.items())
    config, row = found.model.config, json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config.vision_feature_layer == row["select_layer"]
    assert config.vision_config.norm_type == row["vision_config"]["norm_type"]
    assert config.text_config.model_type == row["llm_config"]["model_type"]
    text = json.loads((tmp_path / "converted" / "config.json").read_text(encoding="utf-8"))["text_config"]
    assert text["rope_theta"] == config.text_config.rope_parameters["rope_theta"] == 1e6
    stretched = row["llm_config"].get("rope_scaling") or {"type": "default"}
    assert config.text_config.rope_parameters["rope_type"] == stretched["type"]
    assert (text.get("rope_scaling") or {}).get("factor") == stretched.get("factor")
    logits = found.logits(found.inputs([Turn("user", (ImageRef(str(GOLDEN / BASE / "c.png")), "?"))]))
    assert logits.isfinite().all() and logits.shape[-1] == row["llm_config"]["vocab_size"]


def layout(folder: Path) -> dict[str, Any]:
    return json.loads((folder / SIDECAR).read_text(encoding="utf-8"))["settings"]


def test_one_tile_where_pictures_are_not_cut(original: Variant, tmp_path: Path) -> None:
    folder, _ = original(dynamic_image_size=False)
    convert(folder, tmp_path / "converted")
    found = layout(tmp_path / "converted")
    assert (found["max_tiles"], found["min_tiles"], found["thumbnail"]) == (1, 1, False)


def test_a_forced_image_size_is_that_of_the_tiles(original: Variant, tmp_path: Path) -> None:
    """The tower keeps its table of positions and interpolates it, as the original does."""
    folder, _ = original(force_image_size=112, min_dynamic_patch=2, max_dynamic_patch=4)
    convert(folder, tmp_path / "converted")
    found = Converted.open(tmp_path / "converted")
    assert found.encoder.settings == replace(LAYOUT, side=112, min_tiles=2, max_tiles=4)
    assert found.model.config.image_seq_length == 16
    assert list(found.model.config.vision_config.image_size) == [56, 56]
    logits = found.logits(found.inputs([Turn("user", (ImageRef(str(GOLDEN / BASE / "c.png")), "?"))]))
    assert logits.isfinite().all()


@pytest.mark.parametrize("template", ["Hermes-2", "internlm2-chat"])
def test_the_checkpoints_own_system_text_goes_first(original: Variant, tmp_path: Path, template: str) -> None:
    folder, _ = original(template=template, system_message="Responda.")
    convert(folder, tmp_path / "converted")
    row = json.loads((tmp_path / "converted" / SIDECAR).read_text(encoding="utf-8"))
    assert (row["variant"], row["system"]) == ("hermes", "Responda.")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "tokens in another order": ({"ps_version": "v1"}, "ps_version"),
    "an unknown version": ({"ps_version": None}, "ps_version"),
    "another shuffle": ({"downsample_ratio": 0.25}, "downsample_ratio"),
    "padding": ({"pad2square": True}, "pad2square"),
    "no thumbnail": ({"use_thumbnail": False}, "thumbnail"),
    "an unknown prompt": ({"template": "phi3-chat"}, "phi3-chat"),
    "no prompt": ({"template": None}, "template"),
    "code of its own": ({"text": {"architectures": ["InternLM2ForCausalLM"]}}, "InternLM2ForCausalLM"),
    "a norm that is not known": ({"vision": {"norm_type": "layer_norm_2"}}, "norm_type"),
    "a layer that is not there": ({"select_layer": 4}, "select_layer"),
    "a tower that is not described": ({"vision": {"qkv_bias": None}}, "qkv_bias"),
    "an update that is not there": ({"use_llm_lora": 8}, "use_llm_lora"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_computed_is_refused(original: Variant, tmp_path: Path, name: str) -> None:
    changes, told = REFUSED[name]
    vision = changes.get("vision", {})
    folder, _ = original()
    row = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    row["vision_config"] |= vision
    row["llm_config"] |= changes.get("text", {})
    row |= {key: value for key, value in changes.items() if key not in ("vision", "text")}
    (folder / "config.json").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=told):
        convert(folder, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_a_half_converted_file_is_refused(original: Variant, tmp_path: Path) -> None:
    """Many names of the two layouts are the same, so such a file would load almost."""
    folder, _ = original()
    stored = load_file(folder / "model.safetensors")
    halfway = {name.replace("mlp1.", "multi_modal_projector."): value for name, value in stored.items()}
    save_file(halfway, folder / "model.safetensors")
    with pytest.raises(UserError, match="multi_modal_projector"):
        convert(folder, tmp_path / "converted")


def test_low_rank_updates_are_merged(original: Variant, tmp_path: Path) -> None:
    folder, _ = original(use_llm_lora=4, use_backbone_lora=2)
    stored = load_file(folder / "model.safetensors")
    updated: dict[str, torch.Tensor] = {}
    for name, value in stored.items():
        inside = next((part for part in ("vision_model", "language_model") if name.startswith(f"{part}.")), None)
        wrapped = f"{inside}.base_model.model{name.removeprefix(str(inside))}" if inside else name
        module = wrapped.removesuffix(".weight")
        if name.endswith((".self_attn.q_proj.weight", ".mlp.fc1.weight", ".attn.qkv.weight")):
            rank = 4 if inside == "language_model" else 2
            down, up = torch.randn(rank, value.shape[1]), torch.randn(value.shape[0], rank)
            updated |= {f"{module}.lora_A.default.weight": down, f"{module}.lora_B.default.weight": up}
            wrapped = f"{module}.base_layer.weight"
            stored[name] = value + 2 * up @ down
        updated[wrapped] = value
    save_file(updated, folder / "model.safetensors")
    convert(folder, tmp_path / "converted")
    found = backwards(Converted.open(tmp_path / "converted").model.state_dict())
    assert found.keys() == stored.keys() and len(updated) == len(stored) + 2 * (2 + 3 + 3)
    assert all(torch.allclose(found[name], value, atol=1e-5) for name, value in stored.items())
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(described | {"use_llm_lora": 8}), encoding="utf-8")
    with pytest.raises(UserError, match="not of rank 8"):
        convert(folder, tmp_path / "again")
