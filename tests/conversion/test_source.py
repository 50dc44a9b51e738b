"""Opening what was published: every file layout gives the same tensors, and nothing is read before it is wanted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from olhar.conversion import _hub
from olhar.conversion.source import opened
from olhar.core.errors import UserError
from tests.conversion.conftest import GOLDEN, edit, loaded, original, same, sharded, split

COPIED = Callable[..., Path]


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


@pytest.mark.parametrize(
    ("file", "named"),
    [("mm_projector.bin", "file"), ("mm_projector.bin", "folder"), ("mm_projector/checkpoint-7.bin", "file")],
)
def test_a_projector_is_laid_over_its_language_model(tmp_path: Path, file: str, named: str) -> None:
    path = projector_of(tmp_path, file)
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
    beside = opened(folder).tower
    assert beside is not None and beside.folder == folder / "vision_tower", "a tower lies in the checkpoint's folder"
    shutil.rmtree(folder / "vision_tower")
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
