"""LLaVA-1.5's LoRA as its trainer leaves it: merged into its base, or kept as an adapter of the converted base."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from tests.conversion.llava_goldens import GOLDEN, Converted, converted, source, stored, whole

LAYERS = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.[a-z]+_proj"  # of a tower, the names end the same way
CLOSE = 1e-4


def lora(folder: Path) -> Path:
    """The adapter's folder beside its base, which it names by a relative path."""
    source("llava15", folder / "llava15")
    shutil.copytree(GOLDEN / "llava15_lora", folder / "lora", ignore=shutil.ignore_patterns("golden*"))
    return folder / "lora"


def asked(one: Converted, model: torch.nn.Module | None = None) -> torch.Tensor:
    ids = one.expanded(stored("llava15")["input_ids"][0].tolist())
    return one.logits(ids, one.pixels("wide"), model)


def test_merged_it_computes_what_the_original_did(tmp_path: Path) -> None:
    golden = stored("llava15_lora")["logits"][0]
    merged = converted(lora(tmp_path), tmp_path / "merged")
    assert whole(merged.loading)
    assert (asked(merged) - golden).abs().max() <= CLOSE
    base = converted(tmp_path / "llava15", tmp_path / "base")
    assert (asked(base) - golden).abs().max() > 1, "the adapter matters"


def test_without_its_projector_it_is_refused(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    (folder / "non_lora_trainables.safetensors").unlink()
    with pytest.raises(UserError, match="projector that was trained with this adapter is missing"):
        convert(folder, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_the_projector_matters(tmp_path: Path) -> None:
    """Merged over the base's own projector, which is what forgetting it would come to."""
    folder = lora(tmp_path)
    weights = stored("llava15", "model.safetensors")
    own = {f"base_model.model.{name}": value for name, value in weights.items() if "mm_projector" in name}
    save_file(own, folder / "non_lora_trainables.safetensors", {"format": "pt"})
    merged = converted(folder, tmp_path / "merged")
    assert (asked(merged) - stored("llava15_lora")["logits"][0]).abs().max() > 0.1


def test_it_also_works_as_an_adapter_of_the_converted_base(tmp_path: Path) -> None:
    """The adapter by its new names in plain PEFT, the projector beside it."""
    from peft import PeftModel

    folder = lora(tmp_path)
    base = converted(tmp_path / "llava15", tmp_path / "base")
    kept = tmp_path / "kept"
    kept.mkdir()
    factors = stored("llava15_lora", "adapter_model.safetensors")
    old, new = "base_model.model.model.layers.", "base_model.model.model.language_model.layers."
    save_file({name.replace(old, new): value for name, value in factors.items()}, kept / "adapter_model.safetensors")
    row = json.loads((folder / "adapter_config.json").read_text()) | {"target_modules": LAYERS}
    (kept / "adapter_config.json").write_text(json.dumps(row | {"base_model_name_or_path": str(base.folder)}))
    model = AutoModelForImageTextToText.from_pretrained(base.folder, dtype=torch.float32)
    projector = stored("llava15_lora", "non_lora_trainables.safetensors")
    layers = {"0": model.model.multi_modal_projector.linear_1, "2": model.model.multi_modal_projector.linear_2}
    for number, layer in layers.items():
        parts = {part: projector[f"base_model.model.model.mm_projector.{number}.{part}"] for part in ("weight", "bias")}
        layer.load_state_dict(parts)
    adapted = PeftModel.from_pretrained(model, str(kept)).eval()
    golden = stored("llava15_lora")["logits"][0]
    assert sum("lora_" in name for name in adapted.state_dict()) == len(factors)
    assert not any("lora_" in name and "vision_tower" in name for name in adapted.state_dict())
    assert (asked(base, adapted) - golden).abs().max() <= CLOSE
    assert (asked(base, adapted.merge_and_unload()) - golden).abs().max() <= CLOSE
