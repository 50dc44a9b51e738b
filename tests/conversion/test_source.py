"""Opening what was published: every file layout gives the same tensors, and nothing is read before it is wanted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from olhar.conversion import _hub
from olhar.conversion.source import Opened, opened
from olhar.core.errors import UserError
from tests.conversion.conftest import GOLDEN, Tensors, edit, sharded, split

COPIED = Callable[..., Path]


def loaded(source: Opened) -> Tensors:
    return {name: made.load() for name, made in source.tensors.items()}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def original(name: str) -> Tensors:
    return load_file(GOLDEN / name / "model.safetensors")


def test_a_single_file(copied: COPIED) -> None:
    source = opened(copied("vitucano"))
    assert same(loaded(source), original("vitucano"))
    assert source.config["model_type"] == "tinyllava" and source.read_json("no.json") is None


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickles"])
def test_shards(copied: COPIED, pickled: bool) -> None:
    folder = copied("vitucano")
    sharded(folder, pickled)
    assert same(loaded(opened(folder)), original("vitucano"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_pickle(copied: COPIED, zipped: bool) -> None:
    folder = copied("vitucano")
    torch.save(original("vitucano"), folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (folder / "model.safetensors").unlink()
    assert same(loaded(opened(folder)), original("vitucano"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_every_type_and_shape_is_read_as_it_is(copied: COPIED, dtype: torch.dtype) -> None:
    folder = copied("vitucano")
    tensors = {
        "a": torch.arange(6).reshape(2, 3).to(dtype),
        "scalar": torch.ones((), dtype=dtype),
        "none": torch.zeros(0, 4).to(dtype),
    }
    save_file(tensors, folder / "model.safetensors")
    source = opened(folder)
    assert same(loaded(source), tensors)
    assert {name: (made.shape, f"torch.{made.dtype}") for name, made in source.tensors.items()} == {
        name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()
    }


def test_nothing_is_read_before_it_is_wanted(copied: COPIED) -> None:
    folder = copied("vitucano")
    source = opened(folder)
    (folder / "model.safetensors").unlink()
    made = next(iter(source.tensors.values()))
    assert made.shape
    with pytest.raises(UserError, match="cannot read"):
        made.load()


def test_a_checkpoint_in_parts_has_the_names_of_a_single_file(copied: COPIED) -> None:
    folder = copied("vitucano")
    split(folder)
    assert same(loaded(opened(folder)), original("vitucano"))


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


def projector_of(tmp_path: Path, file: str) -> Path:
    """A projector that an alignment stage wrote, over a language model in a folder of its own."""
    tensors = original("llava15")
    base, run = tmp_path / "vicuna", tmp_path / "run"
    base.mkdir()
    kept = ("model.embed", "model.layers", "model.norm", "lm_head")
    save_file({name: value for name, value in tensors.items() if name.startswith(kept)}, base / "model.safetensors")
    (base / "config.json").write_text('{"model_type": "llama"}')
    path = run / file
    path.parent.mkdir(parents=True)
    torch.save({name: value for name, value in tensors.items() if "mm_projector" in name}, path)
    described = run / "checkpoint-7" if "checkpoint" in file else run
    described.mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "llava15" / "config.json", described)
    edit(described / "config.json", _name_or_path=str(base))
    return path


@pytest.mark.parametrize("file", ["mm_projector.bin", "mm_projector/checkpoint-7.bin"])
@pytest.mark.parametrize("named", ["file", "folder"])
def test_a_projector_is_laid_over_its_language_model(tmp_path: Path, file: str, named: str) -> None:
    path = projector_of(tmp_path, file)
    if named == "folder" and "checkpoint" in file:
        pytest.skip("a folder of several projectors is no checkpoint")
    source = opened(path if named == "file" else path.parent)
    expected = {name: value for name, value in original("llava15").items() if "vision_tower" not in name}
    assert same(loaded(source), expected) and source.config["mm_projector_type"] == "mlp2x_gelu"


def test_a_projector_needs_a_configuration_and_nothing_beside_it(tmp_path: Path) -> None:
    path = projector_of(tmp_path, "mm_projector.bin")
    torch.save(torch.load(path) | {"model.embed_tokens.weight": torch.zeros(502, 64)}, path)
    with pytest.raises(UserError, match="embed_tokens"):
        opened(path)
    (path.parent / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        opened(path)


def test_a_base_for_a_whole_checkpoint_is_refused(copied: COPIED) -> None:
    with pytest.raises(UserError, match="base"):
        opened(copied("vitucano"), base=GOLDEN / "llava15")


def tower(folder: Path, prefix: str = "vision_model.", nested: bool = True) -> Path:
    folder.mkdir()
    vision = {"hidden_size": 8, "num_attention_heads": 2}
    config = {"model_type": "siglip", "vision_config": vision, "text_config": {}} if nested else vision
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {f"{prefix}embeddings.x": torch.ones(2), f"{prefix}encoder.y": torch.ones(3)}
    if nested:
        tensors |= {"text_model.z": torch.ones(1), "logit_scale": torch.ones(())}
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_tower_of_its_own_leaves_out_the_text_tower(copied: COPIED, tmp_path: Path) -> None:
    found = opened(copied("vitucano"), tower=tower(tmp_path / "siglip")).tower
    assert found is not None and found.tensors.keys() == {"vision_model.embeddings.x", "vision_model.encoder.y"}
    assert found.config["model_type"] == "siglip_vision_model" and found.config["num_attention_heads"] == 2


def test_a_tower_as_transformers_5_writes_it_has_the_same_names(copied: COPIED, tmp_path: Path) -> None:
    found = opened(copied("vitucano"), tower=tower(tmp_path / "t", prefix="", nested=False)).tower
    assert found is not None and found.tensors.keys() == {"vision_model.embeddings.x", "vision_model.encoder.y"}


def test_a_tower_is_the_one_that_the_configuration_names_if_it_is_there(copied: COPIED, tmp_path: Path) -> None:
    folder = copied("llava15", mm_vision_tower="siglip")
    assert opened(folder).tower is None
    tower(folder / "siglip")
    found, named = opened(folder).tower, opened(folder, tower=tower(tmp_path / "other")).tower
    assert found is not None and found.folder == folder / "siglip"
    assert named is not None and named.folder == tmp_path / "other"


def test_a_tower_may_be_its_configuration_alone(copied: COPIED, tmp_path: Path) -> None:
    (tmp_path / "tower.json").write_text('{"num_attention_heads": 4}')
    found = opened(copied("vitucano"), tower=tmp_path / "tower.json").tower
    assert found is not None and found.config == {"num_attention_heads": 4} and not found.tensors


def test_a_tokenizer_must_be_there(copied: COPIED) -> None:
    folder = copied("vitucano")
    assert opened(folder).tokenizer == folder
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="tokenizer"):
        _ = opened(folder).tokenizer


def test_a_hub_name_is_fetched_without_code(copied: COPIED, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder, asked = copied("vitucano"), []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert same(loaded(opened("some-one/some.thing")), original("vitucano"))
    ((name, patterns),) = asked
    assert name == "some-one/some.thing" and not any(pattern.endswith("py") or pattern == "*" for pattern in patterns)


def test_a_hub_name_that_cannot_be_fetched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="no-such/model-of-ours") as caught:
        opened("no-such/model-of-ours")
    assert "cannot be fetched" in caught.value.what and "download" in caught.value.fix


@pytest.mark.parametrize(("kind", "told"), [("GatedRepoError", "let you in"), ("RepositoryNotFoundError", "no model")])
def test_a_closed_or_unknown_hub_name_is_told(monkeypatch: pytest.MonkeyPatch, kind: str, told: str) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(name: str, allow_patterns: list[str]) -> str:
        raise getattr(errors, kind).__new__(getattr(errors, kind))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=told):
        opened("some-one/some-thing")


@pytest.mark.parametrize("name", ["no/such/folder", "./nothing", "/nothing/here", "nothing"])
def test_a_path_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(UserError, match="no such file or folder") as caught:
        _hub.located(name)
    assert caught.value.where == name
