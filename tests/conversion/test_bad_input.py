"""Whatever is wrong with a source is told in three lines, and the target is not there."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from tests.conversion.conftest import GOLDEN, Tensors, edit, rewrite, sharded

COPIED = Callable[..., Path]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., UserError]:
    """Convert what must be refused; nothing may be left of it."""

    def refuse(source: Path, told: str, **options: Any) -> UserError:
        target = tmp_path / "made" / "target"
        with pytest.raises(UserError, match=told) as caught:
            convert(source, target, **options)
        assert not target.exists() and not target.with_name("target.partial").exists()
        assert caught.value.where and caught.value.fix
        return caught.value

    return refuse


REFUSED = Callable[..., UserError]


def test_an_unknown_layout_says_what_was_seen_and_what_is_known(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano", model_type="flamingo", architectures=["FlamingoModel"])
    error = refused(folder, "no family knows this layout")
    for seen in ("'flamingo'", "FlamingoModel", "connector._connector", "language_model.model"):
        assert seen in error.what
    for known in ("llava", "vipllava", "llava_onevision", "internvl"):
        assert known in error.fix


def test_a_language_model_alone_is_an_unknown_layout(tmp_path: Path, refused: REFUSED) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    tensors = load_file(GOLDEN / "llava15" / "model.safetensors")
    torch.save({name: value for name, value in tensors.items() if "mm_" not in name}, folder / "pytorch_model.bin")
    refused(folder, "no family knows")


@pytest.mark.parametrize("content", [None, "{", "[]"], ids=["missing", "cut off", "a list"])
def test_a_configuration_that_is_none(copied: COPIED, refused: REFUSED, content: str | None) -> None:
    folder = copied("vitucano")
    (folder / "config.json").unlink() if content is None else (folder / "config.json").write_text(content)
    error = refused(folder, "config.json|JSON")
    assert str(folder) in error.where and "stage" not in error.fix


def test_a_folder_without_weights(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    (folder / "model.safetensors").unlink()
    refused(folder, "no weights")


@pytest.mark.parametrize("pickled", [False, True])
def test_a_missing_shard_is_named_with_a_tensor_of_it(copied: COPIED, refused: REFUSED, pickled: bool) -> None:
    folder = copied("vitucano")
    sharded(folder, pickled)
    shard = next(folder.glob("*00002-of-00002*"))
    shard.unlink()
    error = refused(folder, "is missing")
    index = json.loads(next(folder.glob("*.index.json")).read_text())["weight_map"]
    assert shard.name in error.what and any(name in error.what for name, file in index.items() if file == shard.name)


def test_an_index_that_names_another_file_for_a_tensor(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    sharded(folder)
    path = folder / "model.safetensors.index.json"
    table = json.loads(path.read_text())["weight_map"]
    first = next(iter(table))
    path.write_text(json.dumps({"weight_map": table | {first: "model-00002-of-00002.safetensors"}}))
    assert first in refused(folder, "is not in the file").what
    path.write_text(json.dumps({"weight_map": table | {first: f"../{folder.name}/model-00001-of-00002.safetensors"}}))
    refused(folder, "is missing")
    path.write_text("{}")
    refused(folder, "does not say")
    path.unlink()
    refused(folder, "no index")


def damage(name: str, content: bytes) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    first = next(key for key in header if key != "__metadata__")

    def with_header(**changes: Any) -> bytes:
        header[first] |= changes
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    damaged = {
        "empty": b"",
        "only a length": content[:8],
        "cut off in the header": content[: 8 + length // 2],
        "cut off in the data": content[:-1000],
        "a length beyond the file": struct.pack("<Q", 2**60) + content[8:],
        "no header": struct.pack("<Q", 4) + b"junk",
        "a list": struct.pack("<Q", 2) + b"[]",
        "shape and bytes differ": with_header(shape=[3, 3]),
        "an unknown type": with_header(dtype="F3"),
        "a download page": b"<!doctype html><html>Entry not found</html>",
    }
    return damaged[name]


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "only a length",
        "cut off in the header",
        "cut off in the data",
        "a length beyond the file",
        "no header",
        "a list",
        "shape and bytes differ",
        "an unknown type",
        "a download page",
    ],
)
def test_damaged_safetensors(copied: COPIED, refused: REFUSED, name: str) -> None:
    folder = copied("vitucano")
    path = folder / "model.safetensors"
    path.write_bytes(damage(name, path.read_bytes()))
    assert str(path) in refused(folder, "damaged").where


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_in_place_of_a_weight_file(copied: COPIED, refused: REFUSED, name: str) -> None:
    folder = copied("vitucano")
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "git lfs pull" in refused(folder, "pointer").fix


class Malice:
    """What would create a file if it were ever unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_never_run(copied: COPIED, refused: REFUSED, tmp_path: Path, zipped: bool) -> None:
    folder, trace = copied("vitucano"), tmp_path / "it-ran"
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save({"x": torch.zeros(2), "y": Malice(trace)}, path, _use_new_zipfile_serialization=zipped)
    assert str(path) in refused(folder, "foreign code").where
    path.write_bytes(pickle.dumps(Malice(trace)))
    refused(folder, "foreign code|damaged")
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "or this proves nothing"


@pytest.mark.parametrize(
    "content", [{"model": {"x": torch.zeros(1)}}, {"x": 3}, [torch.zeros(1)], torch.zeros(1), {1: torch.zeros(1)}]
)
def test_a_pickle_of_something_else_than_weights(copied: COPIED, refused: REFUSED, content: Any) -> None:
    folder = copied("vitucano")
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    refused(folder, "no table of tensors")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_is_cut_off(copied: COPIED, refused: REFUSED, zipped: bool) -> None:
    folder = copied("vitucano")
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path, _use_new_zipfile_serialization=zipped)
    (folder / "model.safetensors").unlink()
    path.write_bytes(path.read_bytes()[:-20000])
    assert str(path) in refused(folder, "damaged").where
    path.write_text("<html>")
    assert str(path) in refused(folder, "damaged").where


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("connector._connector.0.weight", (64, 40)),
        ("language_model.model.layers.1.mlp.up_proj.weight", (176, 63)),
        ("vision_tower._vision_tower.vision_model.post_layernorm.bias", (49,)),
        ("language_model.lm_head.weight", (500, 64)),
    ],
)
def test_a_wrong_shape(copied: COPIED, refused: REFUSED, name: str, shape: tuple[int, ...]) -> None:
    folder = copied("vitucano")
    rewrite(folder, lambda tensors: tensors | {name: torch.zeros(shape)})
    refused(folder, ".")


def test_a_vocabulary_that_the_configuration_does_not_know(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    name = "language_model.model.embed_tokens.weight"
    rewrite(folder, lambda tensors: tensors | {name: torch.zeros(510, 64)})
    refused(folder, "503 tokens, and .*embed_tokens.* has 510 rows")


@pytest.mark.parametrize(
    "name",
    [
        "connector._connector.2.bias",
        "language_model.model.norm.weight",
        "language_model.model.embed_tokens.weight",
        "vision_tower._vision_tower.vision_model.encoder.layers.2.mlp.fc1.weight",
    ],
)
def test_a_missing_tensor(copied: COPIED, refused: REFUSED, name: str) -> None:
    folder = copied("vitucano")

    def without(tensors: Tensors) -> Tensors:
        del tensors[name]
        return tensors

    rewrite(folder, without)
    refused(folder, ".")


def test_a_tensor_too_many(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    rewrite(folder, lambda tensors: tensors | {"language_model.model.extra.weight": torch.zeros(2)})
    refused(folder, "extra")
    rewrite(folder, lambda tensors: {("other.x" if "extra" in k else k): v for k, v in tensors.items()})
    refused(folder, "other")


def test_weights_of_a_type_that_is_none(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    name = "language_model.model.layers.0.mlp.up_proj.weight"
    rewrite(folder, lambda tensors: tensors | {name: tensors[name].to(torch.int8)})
    refused(folder, "int8")


def test_a_configuration_that_transformers_refuses(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit(folder / "config.json", text_config=text | {"hidden_size": "wide"})
    refused(folder, ".")


def endless(folder: Path, words: int) -> None:
    """Put a tokenizer there that knows so many words, and no sign at all."""
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(words)}, unk_token="w0"))
    tokenizer.save(str(folder / "tokenizer.json"))
    for name in ("tokenizer_config.json", "added_tokens.json"):
        (folder / name).unlink()


def test_a_tokenizer_of_another_model(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    endless(folder, 600)
    refused(folder, "not the checkpoint's")


def test_a_tokenizer_that_does_not_know_where_an_answer_ends(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    endless(folder, 500)
    refused(folder, "where an answer ends")


def test_no_tokenizer(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("vitucano")
    (folder / "tokenizer.json").unlink()
    refused(folder, "no tokenizer")


def test_pixel_shuffle_of_the_first_kind(copied: COPIED, refused: REFUSED) -> None:
    """Its order of tokens exists in no published class."""
    refused(copied("internvl_base", ps_version="v1"), "v1")


@pytest.mark.parametrize("kind", ["qformer", "resampler", "identity", "mof_mlp", "mlp3x_gelu"])
def test_connectors_that_no_published_class_has(copied: COPIED, refused: REFUSED, kind: str) -> None:
    refused(copied("vitucano", connector_type=kind), kind)
    refused(copied("llava15", mm_projector_type=kind), kind)


def test_a_tower_that_is_nowhere(copied: COPIED, refused: REFUSED) -> None:
    folder = copied("llava15", mm_vision_tower="someones/unknown-tower")
    rewrite(folder, lambda tensors: {name: value for name, value in tensors.items() if "vision_tower" not in name})
    refused(folder, "someones/unknown-tower|tower")
