"""Adapters lie where the recipe says, in all families; merged, saved and gone on with, they compute the same."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, TrainStage
from olhar.families import Checkpoint, Loading, Spoken, load
from olhar.training.model import adapters
from olhar.training.model.adapters import pattern
from olhar.training.model.optimizers import freeze_all_but, groups, optimizers
from olhar.training.model.prepare import Prepared, prepare
from tests.training.small_models import FAMILIES, LAYERS, composed, difference, logits, tokenizer_of

MAKE = Callable[..., TrainStage]
CLOSE = 1e-5
RATES = {"language": 2e-4, "connector": 2e-5}
IN_LANGUAGE = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture
def asked(stage: MAKE) -> Callable[..., TrainStage]:
    def make(trains: dict[str, float] = RATES, **adapter: Any) -> TrainStage:
        return stage(trains=trains, adapter={"rank": 4, "alpha": 6, "dropout": 0.0} | adapter)

    return make


def learned(prepared: Prepared, seed: int = 1) -> None:
    """As if everything that learns had learned a lot."""
    generator = torch.Generator().manual_seed(seed)
    live = dict(prepared.model.named_parameters())
    with torch.no_grad():
        for name in (name for names in prepared.roles.values() for name in names):
            live[name].add_(0.2 * torch.randn(live[name].shape, generator=generator))


def answer(*model: Any) -> torch.Tensor:
    with torch.no_grad():
        return logits(*model)


@every_family
def test_the_default_is_every_linear_layer_of_the_language_model_and_none_of_the_tower(name: str, asked: MAKE) -> None:
    """A list of endings (``q_proj``, ...) would hit the tower too."""
    model, family, _ = composed(name)
    prepared = prepare(model, family, asked())
    assert prepared.adapter
    factors = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert len(factors) == 2 * 7 * LAYERS["language"] == len(prepared.roles["language"])
    assert not any("vision_tower" in name or "projector" in name or "lm_head" in name for name in factors)
    ends = {(target.split(".")[3], target.split(".")[-1]) for target in prepared.adapter.targets}
    assert ends == {(str(layer), end) for layer in range(LAYERS["language"]) for end in IN_LANGUAGE}
    assert prepared.roles["connector"] == family.roles(model)["connector"]


@every_family
def test_the_tower_gets_adapters_in_its_blocks_when_it_is_asked_for(name: str, asked: MAKE) -> None:
    model, family, _ = composed(name)
    inside = {n for n, m in model.model.vision_tower.encoder.named_modules() if isinstance(m, torch.nn.Linear)}
    prepared = prepare(model, family, asked({"vision": 1e-4}, roles=["vision"]))
    assert prepared.adapter and prepared.roles.keys() == {"vision"}
    read = LAYERS["vision"] - (name == "vipllava")
    assert len(inside) == 6 * LAYERS["vision"] and len(prepared.adapter.targets) == 6 * read
    assert {target.removeprefix("model.vision_tower.encoder.") for target in prepared.adapter.targets} <= inside


def test_only_the_last_layers_get_adapters_where_only_they_learn(stage: MAKE) -> None:
    model, family, _ = composed("llava")
    wanted = stage(trains={"language": 1e-3}, adapter={"rank": 4}, last_layers={"language": 1})
    prepared = prepare(model, family, wanted)
    assert prepared.adapter and len(prepared.adapter.targets) == 7
    assert {target.split(".")[3] for target in prepared.adapter.targets} == {"2"}
    assert len(prepared.roles["language"]) == 14


def test_a_step_moves_adapters_and_connector_and_nothing_else(asked: MAKE) -> None:
    model, family, settings = composed("vipllava")
    wanted = asked()
    prepared = prepare(model, family, wanted)
    found = groups(model, prepared.roles, wanted)
    freeze_all_but(model, found)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = optimizers(model, found, wanted.betas)
    for _ in range(2):
        logits(model, family, settings).pow(2).mean().backward()
        for optimizer in made.values():
            optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for names in prepared.roles.values() for name in names}


@every_family
def test_merged_it_computes_the_same_under_the_plain_names(name: str, asked: MAKE) -> None:
    model, family, settings = composed(name)
    plain = {n: (type(m), m.training) for n, m in model.named_modules()}
    keys, before, attributes = list(model.state_dict()), answer(model, family, settings), set(vars(model))
    prepared = prepare(model, family, asked())
    learned(prepared)
    unmerged = answer(model, family, settings)
    prepared.finish()
    assert difference(unmerged, before) > 0.1
    assert difference(answer(model, family, settings), unmerged) <= CLOSE
    assert list(model.state_dict()) == keys and set(vars(model)) == attributes
    assert {n: (type(m), m.training) for n, m in model.named_modules()} == plain


def saved_base(name: str, folder: Path) -> tuple[Any, Any, Any]:
    model, family, settings = composed(name)
    Checkpoint(model, tokenizer_of(family), name, settings, Spoken("compact", None, "pt")).save(folder)
    return model, family, settings


def by_peft(base: Path, adapter: Path) -> Any:
    """transformers' base with an adapter, as anyone loads it."""
    from peft import PeftModel

    return PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(adapter)).base_model.model


@every_family
def test_plain_peft_loads_what_is_saved_with_the_connector(name: str, asked: MAKE, tmp_path: Path) -> None:
    model, family, settings = saved_base(name, tmp_path / "base")
    prepared = prepare(model, family, asked())
    learned(prepared)
    prepared.save_adapter(tmp_path / "adapter", str(tmp_path / "base"))
    found = answer(by_peft(tmp_path / "base", tmp_path / "adapter").eval(), family, settings)
    assert difference(found, answer(model, family, settings)) <= CLOSE
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["model.multi_modal_projector"] and config["r"] == 4
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    modules = [n for n, _ in AutoModelForImageTextToText.from_pretrained(tmp_path / "base").named_modules()]
    assert sum(bool(re.fullmatch(config["target_modules"], n)) for n in modules) == 7 * LAYERS["language"]


def test_our_own_conversion_merges_what_is_saved(asked: MAKE, tmp_path: Path) -> None:
    model, family, settings = saved_base("llava", tmp_path / "base")
    prepared = prepare(model, family, asked())
    learned(prepared)
    prepared.save_adapter(tmp_path / "adapter", str(tmp_path / "base"))
    convert(tmp_path / "adapter", tmp_path / "merged")
    prepared.finish()
    merged = load(tmp_path / "merged", Loading(device="cpu")).model
    assert difference(answer(merged, family, settings), answer(model, family, settings)) <= CLOSE


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_saved_with_the_adapter(tied: bool, stage: MAKE, tmp_path: Path) -> None:
    model, family, settings = composed("internvl")
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = tied
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.5)
    Checkpoint(model, tokenizer_of(family), "internvl", settings, Spoken("compact", None, "pt")).save(tmp_path / "base")
    wanted = stage(trains=RATES, adapter={"rank": 4, "dropout": 0}, new_tokens=1e-3)
    prepared = prepare(model, family, wanted, [3, 41])
    learned(prepared)
    prepared.save_adapter(tmp_path / "adapter", str(tmp_path / "base"))
    found = answer(by_peft(tmp_path / "base", tmp_path / "adapter").eval(), family, settings)
    assert difference(found, answer(model, family, settings)) <= CLOSE


def test_it_goes_on_with_an_adapter_of_ours(asked: MAKE, tmp_path: Path) -> None:
    """Also where the connector that came with it does not learn any more: it is saved with it again."""
    model, family, settings = composed("llava_onevision")
    prepared = prepare(model, family, asked())
    learned(prepared)
    prepared.save_adapter(tmp_path / "one", "base")
    later, _, _ = composed("llava_onevision")
    again = prepare(later, family, asked({"language": 1e-4}))
    again.load_adapter(tmp_path / "one")
    assert difference(answer(later, family, settings), answer(model, family, settings)) == 0.0
    again.save_adapter(tmp_path / "two", "base")
    one, two = (load_file(tmp_path / folder / adapters.WEIGHTS) for folder in ("one", "two"))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.fixture
def by_another(tmp_path: Path) -> Path:
    """An adapter that plain PEFT made and saved over a small LLaVA."""
    from peft import LoraConfig, get_peft_model

    model, _, _ = saved_base("llava", tmp_path / "base")
    places = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.[a-z]+_proj"
    config = LoraConfig(r=4, lora_alpha=6, target_modules=places, modules_to_save=["multi_modal_projector"])
    wrapped = get_peft_model(model, config)
    torch.manual_seed(2)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_it_goes_on_with_an_adapter_of_plain_peft(by_another: Path, asked: MAKE) -> None:
    model, family, settings = composed("llava")
    before = answer(model, family, settings)
    prepared = prepare(model, family, asked())
    prepared.load_adapter(by_another)
    theirs = answer(by_peft(by_another.parent / "base", by_another).eval(), family, settings)
    assert difference(answer(model, family, settings), theirs) <= CLOSE < difference(theirs, before)


@pytest.mark.parametrize(
    ("recipe", "config", "told"),
    [
        ({"rank": 8}, {}, "r = 4, and the recipe's adapter 8"),
        ({"alpha": 8}, {}, r"lora_alpha = 6, and the recipe's adapter 8\.0"),
        ({}, {"use_dora": True}, "use_dora = True"),
        ({}, {"peft_type": "IA3"}, "IA3"),
        ({}, {"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"roles": ["vision"]}, {}, "only the recipe: model.vision_tower"),
        ({"roles": ["language", "vision"]}, {}, "21 adapted layers, and the recipe's adapter 93"),
    ],
)
def test_another_adapter_than_the_recipes_is_refused(
    by_another: Path, asked: MAKE, recipe: dict[str, Any], config: dict[str, Any], told: str
) -> None:
    path = by_another / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    model, family, _ = composed("llava")
    prepared = prepare(model, family, asked(RATES | {"vision": 1e-4}, **recipe))
    with pytest.raises(UserError, match=told):
        prepared.load_adapter(by_another)


def test_a_damaged_or_foreign_adapter_is_refused(by_another: Path, asked: MAKE) -> None:
    model, family, _ = composed("llava")
    prepared = prepare(model, family, asked())
    path = by_another / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"base_model.model.model.other.weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=r"no parameter model\.other\.weight"):
        prepared.load_adapter(by_another)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        prepared.load_adapter(by_another)
    path.unlink()
    with pytest.raises(UserError, match="save_pretrained"):
        prepared.load_adapter(by_another)
    shutil.rmtree(by_another)
    with pytest.raises(UserError, match="missing"):
        prepared.load_adapter(by_another)


def test_what_peft_cannot_store_is_told(asked: MAKE, tmp_path: Path) -> None:
    model, family, _ = composed("llava_onevision")
    prepared = prepare(model, family, asked())
    with pytest.raises(UserError, match=r"model\.image_newline was trained in full"):
        prepared.save_adapter(tmp_path / "adapter", "base", also=["model.image_newline"])


def test_without_peft_the_package_is_named(asked: MAKE, monkeypatch: pytest.MonkeyPatch) -> None:
    model, family, _ = composed("llava")
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "olhar\[lora\]"'):
        prepare(model, family, asked())


def test_a_pattern_names_layers_by_number_only_where_it_must() -> None:
    every = [f"a.layers.{n}.{end}" for n in range(12) for end in ("q", "k")] + ["b.layers.1.q", "a.layers.1.q.x"]
    assert pattern([f"a.layers.{n}.q" for n in range(12)], every) == r"a\.layers\.\d+\.(q)"
    some = pattern(["a.layers.1.q", "a.layers.11.k"], every)
    assert {name for name in every if re.fullmatch(some, name)} == {"a.layers.1.q", "a.layers.11.k"}
    with pytest.raises(RuntimeError):
        pattern(["a.layers.99.q"], every)


@pytest.mark.parametrize(("quantize", "bits", "limit"), [("4bit", 4, CLOSE), ("8bit", 8, 0.1)])
def test_over_quantised_weights_the_merged_model_is_what_was_trained(
    quantize: Any, bits: int, limit: float, asked: MAKE, tmp_path: Path
) -> None:
    """Of 8 bits the kernel rounds what goes in too (arXiv:2208.07339), which the merged model does not."""
    pytest.importorskip("bitsandbytes")
    wide = LanguageModelShape(hidden_size=64, layers=2, heads=2, intermediate_size=64, max_tokens=256)
    original, family, settings = composed("llava", language_model=wide)
    keys = list(original.state_dict())
    saved = Checkpoint(original, tokenizer_of(family), "llava", settings, Spoken("compact", None, "pt"))
    saved.save(tmp_path / "base")
    model = load(tmp_path / "base", Loading(dtype="float32", device="cpu", quantize=quantize)).model
    answer(model, family, settings)  # a processor packs 4-bit weights anew when it is asked
    prepared = prepare(model, family, asked(bits=bits))
    learned(prepared)
    unmerged = answer(model, family, settings)
    freeze_all_but(model, groups(model, prepared.roles, asked(bits=bits)))
    logits(model, family, settings).pow(2).mean().backward()
    learns = [name for names in prepared.roles.values() for name in names]
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if name in learns)
    prepared.finish()
    merged = answer(model.eval(), family, settings)
    assert difference(merged, unmerged) <= limit < difference(unmerged, answer(original, family, settings))
    assert list(model.state_dict()) == keys and adapters.quantised_bits(model) is None
    assert not hasattr(model.config, "quantization_config")
