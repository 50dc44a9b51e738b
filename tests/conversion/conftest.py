"""Small published checkpoints to convert, and the same weights in other files."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from olhar.conversion.source import Opened

GOLDEN = Path(__file__).parents[1] / "golden"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[Any]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """A golden checkpoint in a folder of its own, its tokenizer beside its weights, its configuration changed."""

    def copy(name: str, **changes: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(
            GOLDEN / name, folder, ignore=shutil.ignore_patterns("*.png", "golden.*", "ids.json", "*masking*")
        )
        if (folder / "tokenizer").is_dir():
            shutil.copytree(folder / "tokenizer", folder, dirs_exist_ok=True)
            shutil.rmtree(folder / "tokenizer")
        edit(folder / "config.json", **changes)
        return folder

    return copy


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Change the weights of a folder."""
    path = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}, path)


def sharded(folder: Path, pickled: bool = False) -> None:
    """The same weights in two files and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    name, suffix = ("pytorch_model", ".bin") if pickled else ("model", ".safetensors")
    names, table = sorted(tensors), {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        file = f"{name}-{number:05d}-of-00002{suffix}"
        content = {key: tensors[key] for key in part}
        torch.save(content, folder / file) if pickled else save_file(content, folder / file)
        table |= dict.fromkeys(part, file)
    (folder / f"{name}{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))


def split(folder: Path, wrapped: str = "") -> None:
    """A TinyLLaVA checkpoint's weights in folders of its parts, as its trainer writes them."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    roles = {
        "language_model": "language_model.",
        "vision_tower": "vision_tower._vision_tower.",
        "connector": "connector.",
    }
    for role, prefix in roles.items():
        (folder / role).mkdir()
        inside = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        if wrapped and role == "language_model":
            inside = {name.replace("_proj.", f"_proj.{wrapped}."): value for name, value in inside.items()}
        torch.save(inside, folder / role / "pytorch_model.bin")


def loaded(source: Opened) -> Tensors:
    return {name: made.load() for name, made in source.tensors.items()}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def original(name: str) -> Tensors:
    return load_file(GOLDEN / name / "model.safetensors")
