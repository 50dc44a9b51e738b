"""The further layouts of TinyLLaVA and LLaVA, each told by the same weights coming out, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from tests.conversion.llava_goldens import (
    GOLDEN,
    TOWER,
    Converted,
    Weights,
    converted,
    source,
    stored,
    whole,
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Converted]:
    """The plain layouts converted."""
    folder = tmp_path_factory.mktemp("llava")
    names = ("vitucano", "llava15")
    return {name: converted(source(name, folder / name), folder / f"{name}-converted") for name in names}


def split(weights: Weights, folder: Path, wrapped: bool = False) -> None:
    """The checkpoint as its trainer leaves it, a pickle a part."""
    (folder / "model.safetensors").unlink()
    (folder / "preprocessor_config.json").unlink()
    roles = {
        "language_model": "language_model.",
        "vision_tower": "vision_tower._vision_tower.",
        "connector": "connector.",
    }
    for role, prefix in roles.items():
        (folder / role).mkdir()
        part = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if wrapped and role == "language_model":
            part = {name.replace("_proj.weight", "_proj.base_layer.weight"): value for name, value in part.items()}
        torch.save(part, folder / role / "pytorch_model.bin")


def test_a_checkpoint_in_parts_is_the_same(both: dict[str, Converted], tmp_path: Path) -> None:
    folder = source("vitucano", tmp_path / "parts", architectures=None)
    split(stored("vitucano", "model.safetensors"), folder)
    convert(folder, tmp_path / "whole")
    for file in ("model.safetensors", "preprocessor_config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (both["vitucano"].folder / file).read_bytes()


def test_a_lora_over_parts_is_merged(tmp_path: Path) -> None:
    folder = source("vitucano", tmp_path / "lora")
    weights = stored("vitucano", "model.safetensors")
    split(weights, folder, wrapped=True)
    module, random = "language_model.model.layers.0.self_attn.q_proj", torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 64, generator=random), torch.randn(64, 4, generator=random)
    factors = {f"base_model.model.{module}.lora_{side}.weight": value for side, value in (("A", a), ("B", b))}
    save_file(factors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    got = converted(folder, tmp_path / "merged")
    state = got.model.state_dict()
    before = weights[f"{module}.weight"]
    assert torch.allclose(state["model.language_model.layers.0.self_attn.q_proj.weight"], before + 2 * b @ a)
    kept = state["model.language_model.layers.1.self_attn.q_proj.weight"]
    assert torch.equal(kept, weights["language_model.model.layers.1.self_attn.q_proj.weight"])


def legacy(weights: Weights) -> Weights:
    rules = (
        ("vision_tower._vision_tower.", TOWER),
        ("connector._connector.", "model.mm_projector."),
        ("language_model.", ""),
    )
    named = {}
    for name, value in weights.items():
        before, after = next(rule for rule in rules if name.startswith(rule[0]))
        named[after + name.removeprefix(before)] = value
    return named


def test_older_names_are_the_same_checkpoint(both: dict[str, Converted], tmp_path: Path) -> None:
    convert(source("vitucano", tmp_path / "old", legacy), tmp_path / "new")
    expected = (both["vitucano"].folder / "model.safetensors").read_bytes()
    assert (tmp_path / "new" / "model.safetensors").read_bytes() == expected


def one_layer(kind: str) -> Callable[[Weights], Weights]:
    inner = "" if kind == "linear" else "0."

    def change(weights: Weights) -> Weights:
        kept = {name: value for name, value in weights.items() if not name.startswith("connector.")}
        for part in ("weight", "bias"):
            kept[f"connector._connector.{inner}{part}"] = weights[f"connector._connector.0.{part}"]
        return kept

    return change


@pytest.mark.parametrize("kind", ["linear", "mlp1x_gelu"])
def test_a_connector_of_one_layer_is_followed_by_the_identity(kind: str, tmp_path: Path) -> None:
    folder = source(
        "vitucano", tmp_path / "s", one_layer(kind), connector_type=kind, vision_feature_select_strategy="cls_patch"
    )
    got = converted(folder, tmp_path / "t")
    assert whole(got.loading) and got.settings.tokens == 16
    weights, pixels = stored("vitucano", "model.safetensors"), got.pixels("wide")
    with torch.no_grad():
        features = got.checkpoint.family.patch_features(got.model, pixels)
        expected = torch.nn.functional.linear(
            features, weights["connector._connector.0.weight"], weights["connector._connector.0.bias"]
        )
    assert features.shape == (1, 16, 48) and torch.equal(got.projected(pixels), expected)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("mlp3x_gelu", "3 layers"),
        ("identity", "unchanged"),
        ("resampler", "Perceiver"),
        ("qformer", "Q-Former"),
        ("mof_mlp", "two towers"),
        ("something", "not known"),
    ],
)
def test_other_connectors_are_refused(kind: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason) as told:
        convert(source("vitucano", tmp_path / "s", connector_type=kind), tmp_path / "t")
    assert kind in told.value.what and not (tmp_path / "t").exists()
    with pytest.raises(UserError, match=reason):
        convert(source("llava15", tmp_path / "l", mm_projector_type=kind), tmp_path / "t")


# LLaVA: where the tower comes from, what the flat configuration says


def other_tower(weights: Weights) -> Weights:
    """A tower in the checkpoint that is not the one in its folder."""
    return {name: value + 1 if name.startswith(TOWER) else value for name, value in weights.items()}


def bare(weights: Weights) -> Weights:
    return {name: value for name, value in weights.items() if not name.startswith(TOWER)}


def test_a_frozen_tower_is_read_from_its_own_folder(both: dict[str, Converted], tmp_path: Path) -> None:
    expected = (both["llava15"].folder / "model.safetensors").read_bytes()
    for number, change in enumerate((other_tower, bare)):
        report = convert(source("llava15", tmp_path / f"s{number}", change), tmp_path / f"t{number}")
        assert (tmp_path / f"t{number}" / "model.safetensors").read_bytes() == expected
        assert len(report.left_out) == (71 if change is other_tower else 0)
    assert any("vision_tower" in note for note in both["llava15"].report.notes)


def test_a_trained_tower_is_the_one_in_the_checkpoint(tmp_path: Path) -> None:
    folder = source("llava15", tmp_path / "s", other_tower, unfreeze_mm_vision_tower=True)
    state = converted(folder, tmp_path / "t").model.state_dict()
    name = "vision_model.embeddings.class_embedding"
    weights = stored("llava15", "model.safetensors")
    assert torch.equal(state["model.vision_tower.embeddings.class_embedding"], weights[TOWER + name] + 1)


def test_without_its_folder_the_tower_must_be_known(tmp_path: Path) -> None:
    folder = source("llava15", tmp_path / "s", bare, tower=False, mm_vision_tower="a/tower")
    with pytest.raises(UserError, match=r"holds no vision tower.*'a/tower'") as told:
        convert(folder, tmp_path / "t")
    assert "--tower" in told.value.fix
    known = source("llava15", tmp_path / "k", bare, tower=False, mm_vision_tower="openai/clip-vit-large-patch14")
    with pytest.raises(UserError, match="weights of 'openai/clip-vit-large-patch14' are not here"):
        convert(known, tmp_path / "t")
    inside = source("llava15", tmp_path / "i", tower=False, mm_vision_tower="a/tower")
    with pytest.raises(UserError, match="does not say how its vision tower is built"):
        convert(inside, tmp_path / "t")


def test_a_configuration_of_the_tower_is_enough_where_the_weights_are_inside(
    both: dict[str, Converted], tmp_path: Path
) -> None:
    folder = source("llava15", tmp_path / "s", tower=False)
    report = convert(folder, tmp_path / "t", tower=GOLDEN / "llava15" / "vision_tower" / "config.json")
    expected = (both["llava15"].folder / "model.safetensors").read_bytes()
    assert (tmp_path / "t" / "model.safetensors").read_bytes() == expected
    assert any("no folder holds the weights" in note for note in report.notes)


def test_the_selected_layer_is_honoured(tmp_path: Path) -> None:
    got = converted(source("llava15", tmp_path / "s", mm_vision_select_layer=-3), tmp_path / "t")
    pixels = got.pixels("wide")
    with torch.no_grad():
        states = got.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        expected = got.model.model.multi_modal_projector(states[2][:, 1:])  # of 5: -3 is the second layer's
    assert torch.equal(got.projected(pixels), expected)
    assert (expected - stored("llava15")["projected"]).abs().max() > 0.05
    with pytest.raises(UserError, match="the tower has 4 layers"):
        convert(source("llava15", tmp_path / "deep", mm_vision_select_layer=-6), tmp_path / "no")


def test_rope_heads_and_norm_are_honoured(tmp_path: Path) -> None:
    """Text alone is what the bare language model of the same configuration computes."""

    def grouped(weights: Weights) -> Weights:
        return {
            name: value[:16]
            if name.endswith(("k_proj.weight", "v_proj.weight")) and "layers" in name and "vision" not in name
            else value
            for name, value in weights.items()
        }

    changes = {"rope_theta": 20000.0, "num_key_value_heads": 2, "rms_norm_eps": 1e-3}
    folder = source("llava15", tmp_path / "s", grouped, **changes)
    got = converted(folder, tmp_path / "t")
    row = json.loads((folder / "config.json").read_text())
    known = {key: value for key, value in row.items() if hasattr(LlamaConfig(), key) or key in changes}
    bare_model = LlamaForCausalLM(
        LlamaConfig(**{k: v for k, v in known.items() if k not in ("model_type", "architectures")})
    )
    weights = load_file(folder / "model.safetensors")
    language = {name: value for name, value in weights.items() if "mm_" not in name and "vision" not in name}
    assert bare_model.load_state_dict(language)
    ids = [1, 5, 80, 33, 200, 7]
    with torch.no_grad():
        expected = bare_model.eval()(input_ids=torch.tensor([ids])).logits[0]
    assert (got.logits(ids, None) - expected).abs().max() <= 1e-5
    assert json.loads((got.folder / "config.json").read_text())["text_config"]["rope_theta"] == 20000


def test_a_projector_alone_lies_over_its_language_model(both: dict[str, Converted], tmp_path: Path) -> None:
    """What alignment writes: the projector, and a configuration that names its base."""
    weights = stored("llava15", "model.safetensors")
    language = {name: value for name, value in weights.items() if "mm_" not in name and "vision" not in name}
    base = source("llava15", tmp_path / "base", lambda _: language, tower=False, mm_vision_tower=None)
    row = json.loads((base / "config.json").read_text())
    bare_row = {key: value for key, value in row.items() if not key.startswith(("mm_", "image_", "tune_"))}
    (base / "config.json").write_text(
        json.dumps(bare_row | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    )
    folder = source("llava15", tmp_path / "aligned", architectures=["LlamaForCausalLM"], _name_or_path="../base")
    (folder / "model.safetensors").unlink()
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    torch.save({name: value for name, value in weights.items() if "mm_projector" in name}, folder / "mm_projector.bin")
    convert(folder, tmp_path / "t")
    expected = (both["llava15"].folder / "model.safetensors").read_bytes()
    assert (tmp_path / "t" / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end is true"),
        ({"mm_use_im_patch_token": True}, "mm_use_im_patch_token is true"),
        ({"mm_patch_merge_type": "spatial_unpad"}, "LLaVA-1.6"),
        ({"image_aspect_ratio": "anyres"}, "LLaVA-1.6"),
        ({"image_aspect_ratio": "stretched"}, "image_aspect_ratio is 'stretched'"),
        ({"mm_vision_select_feature": "cls"}, "features to select are 'cls'"),
        ({"architectures": ["LlavaMptForCausalLM"], "model_type": "llava_mpt"}, "LlavaMptForCausalLM"),
    ],
)
def test_what_the_class_cannot_carry_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        convert(source("llava15", tmp_path / "s", **changes), tmp_path / "t")


def test_line_breaks_of_a_clip_tower_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"LLaVA-1\.6"):
        convert(
            source("llava15", tmp_path / "s", lambda w: w | {"model.image_newline": torch.zeros(64)}), tmp_path / "t"
        )


def test_a_siglip_tower_in_the_flat_layout_is_refused(tmp_path: Path) -> None:
    folder = source("llava15", tmp_path / "s", bare)
    row = json.loads((folder / "vision_tower" / "config.json").read_text()) | {"model_type": "siglip_vision_model"}
    (folder / "vision_tower" / "config.json").write_text(json.dumps(row))
    with pytest.raises(UserError, match="disagree"):
        convert(folder, tmp_path / "t")


@pytest.mark.parametrize(
    "changes", [{"size": {"shortest_edge": 60}}, {"resample": 2}, {"do_normalize": False}, {"do_center_crop": False}]
)
def test_pictures_prepared_otherwise_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = source("llava15", tmp_path / "s")
    path = folder / "vision_tower" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match="prepared"):
        convert(folder, tmp_path / "t")
