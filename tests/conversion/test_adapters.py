"""LoRA adapters: merged to the bytes that their own library gives, or refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from olhar.conversion.source import opened
from olhar.core.errors import UserError
from tests.conversion.conftest import GOLDEN, Tensors, edit, loaded, original, same, split

COPIED = Callable[..., Path]


def adapter(folder: Path, tensors: Tensors, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "adapter_model.safetensors")
    row = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(row))
    return folder


def factors(module: str, out: int, width: int, rank: int = 4) -> Tensors:
    generator = torch.Generator().manual_seed(7)
    a, b = (torch.randn(shape, generator=generator) for shape in ((rank, width), (out, rank)))
    return {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b}


def test_an_adapter_of_tinyllava_is_merged_into_the_parts_beside_it(copied: COPIED) -> None:
    folder = copied("vitucano")
    split(folder, wrapped="base_layer")
    module = "language_model.model.layers.0.self_attn.q_proj"
    pair = factors(module, 64, 64)
    found, before = loaded(opened(adapter(folder, pair))), original("vitucano")
    a, b = pair.values()
    expected = before | {f"{module}.weight": before[f"{module}.weight"] + 2.0 * (b @ a)}
    assert same(found, expected)
    assert not torch.equal(found[f"{module}.weight"], before[f"{module}.weight"])


def test_an_adapter_of_llava_is_merged_with_its_projector() -> None:
    source, before = opened(GOLDEN / "llava15_lora"), original("llava15")
    found = loaded(source)
    changed = {name for name in before if not torch.equal(found[name], before[name])}
    projector = load_file(GOLDEN / "llava15_lora" / "non_lora_trainables.safetensors")
    pairs = load_file(GOLDEN / "llava15_lora" / "adapter_model.safetensors")
    assert found.keys() == before.keys() and len(changed) == len(pairs) // 2 + len(projector)
    for name, value in projector.items():
        assert torch.equal(found[name.removeprefix("base_model.model.")], value)
    for name in (name for name in pairs if ".lora_A." in name):
        weight = name.removeprefix("base_model.model.").replace(".lora_A", "")
        delta = pairs[name.replace("lora_A", "lora_B")] @ pairs[name]
        assert torch.equal(found[weight], before[weight] + 2.0 * delta), weight
    assert source.tokenizer == GOLDEN / "llava15" / "tokenizer", "the base's, as the adapter has none"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [{}, {"use_rslora": True}, {"rank_pattern": {"layers.1.self_attn.v_proj": 3}, "alpha_pattern": {"q_proj": 5}}],
    ids=["plain", "rslora", "patterns"],
)
def test_merging_gives_the_bytes_that_peft_gives(tmp_path: Path, options: dict[str, Any], dtype: torch.dtype) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).to(dtype)
    model.save_pretrained(tmp_path / "base")
    kind = LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], bias="none", **options)
    wrapped = get_peft_model(model, kind, autocast_adapter_dtype=False)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(tmp_path / "adapter")
    found = loaded(opened(tmp_path / "adapter", base=tmp_path / "base"))
    expected = wrapped.merge_and_unload().state_dict()
    limit = 0.0 if dtype == torch.float32 else 0.02  # peft rounds the sum's second term too
    for name, value in found.items():
        assert value.dtype == dtype and (value - expected[name]).abs().max() <= limit, name


def test_an_adapter_over_transformers_layout_finds_the_live_names(copied: COPIED, tmp_path: Path) -> None:
    base = copied("vitucano", model_type="llava")
    names = {name.replace("_vision_tower.", ""): value for name, value in original("vitucano").items()}
    save_file(names, base / "model.safetensors")
    pair = factors("model.language_model.layers.0.self_attn.q_proj", 64, 64)
    found = loaded(opened(adapter(tmp_path / "adapter", pair), base=base))
    a, b = pair.values()
    name = "language_model.model.layers.0.self_attn.q_proj.weight"
    assert found.keys() == names.keys() and torch.equal(found[name], names[name] + 2.0 * (b @ a))


LAYER = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("tensors", "config", "told"),
    [
        (factors(LAYER, 64, 64), {"use_dora": True}, "use_dora"),
        (factors(LAYER, 64, 64), {"peft_type": "IA3"}, "IA3"),
        (factors(LAYER, 64, 64), {"init_lora_weights": "pissa_niter_4"}, "pissa"),
        (factors(LAYER, 64, 64), {"modules_to_save": ["lm_head"]}, "lm_head"),
        (factors("model.layers.9.self_attn.q_proj", 64, 64), {}, "layers.9"),
        (factors(LAYER, 32, 64), {}, "do not fit"),
        (factors(LAYER, 64, 64), {"r": 8}, "rank 8"),
        (factors(LAYER, 64, 64), {"rank_pattern": {"q_proj": "x"}}, "'x'"),
        ({f"base_model.model.{LAYER}.lora_A.weight": torch.zeros(4, 64)}, {}, "lora_B"),
        ({f"base_model.model.{LAYER}.lora_magnitude_vector.weight": torch.zeros(64)}, {}, "magnitude"),
        ({"base_model.model.model.other.weight": torch.zeros(4)}, {}, "model.other"),
    ],
)
def test_an_adapter_that_cannot_be_merged_exactly_is_refused(
    tmp_path: Path, tensors: Tensors, config: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        opened(adapter(tmp_path / "adapter", tensors, **config), base=GOLDEN / "llava15")


def test_biases_that_were_trained_must_be_there(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    save_file({"q.weight": torch.zeros(6, 6), "q.bias": torch.zeros(6)}, base / "model.safetensors")
    pair = factors("q", 6, 6)
    with pytest.raises(UserError, match=r"q\.bias"):
        opened(adapter(tmp_path / "none", pair, bias="lora_only"), base=base)
    bias = {"base_model.model.q.base_layer.bias": torch.ones(6)}
    found = loaded(opened(adapter(tmp_path / "some", pair | bias, bias="lora_only"), base=base))
    assert torch.equal(found["q.bias"], torch.ones(6)) and found.keys() == {"q.weight", "q.bias"}


def test_a_transposed_weight_takes_a_transposed_adapter(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    save_file({"q.weight": torch.zeros(3, 5)}, base / "model.safetensors")
    pair = factors("q", 5, 3)
    found = loaded(opened(adapter(tmp_path / "a", pair, fan_in_fan_out=True), base=base))
    a, b = pair.values()
    assert torch.equal(found["q.weight"], 2.0 * (b @ a).T)


def test_an_adapter_without_its_projector_is_refused(tmp_path: Path) -> None:
    """The published tools would go on with a random projector."""
    folder = tmp_path / "llava15_lora"
    shutil.copytree(GOLDEN / "llava15_lora", folder)
    (folder / "non_lora_trainables.safetensors").unlink()
    with pytest.raises(UserError, match="projector"):
        opened(folder, base=GOLDEN / "llava15")


def test_an_adapter_says_where_its_base_is_or_a_person_does(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "llava15_lora"
    shutil.copytree(GOLDEN / "llava15_lora", folder)
    with pytest.raises(UserError, match="--base"):
        opened(folder)
    edit(folder / "adapter_config.json", base_model_name_or_path=str(GOLDEN / "llava15"))
    assert same(loaded(opened(folder)), loaded(opened(GOLDEN / "llava15_lora")))
    edit(folder / "adapter_config.json", base_model_name_or_path=".")
    with pytest.raises(UserError, match="itself"):
        opened(folder)
    edit(folder / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(UserError, match="trained on"):
        opened(folder)
