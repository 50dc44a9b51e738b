"""A folder's weight files: one, or several that an index names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from olhar.conversion._json import read_object
from olhar.conversion._pickles import read_pickle
from olhar.conversion._safetensors import read_safetensors
from olhar.core.errors import UserError
from olhar.families._made import Made

MODEL = ("model.safetensors", "pytorch_model.bin")
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
BESIDE_ADAPTER = ("non_lora_trainables.safetensors", "non_lora_trainables.bin")
POINTER = b"version https://git-lfs"
PROJECTOR = ("mm_projector.safetensors", "mm_projector.bin")


@dataclass(frozen=True, slots=True)
class Stored(Made):
    """A tensor of a source that keeps the source's name for it, also when it is changed or renamed."""

    name: str = ""


def named(tensors: Mapping[str, Made]) -> dict[str, Made]:
    """The tensors, each with its name."""
    return {
        name: Stored(made.shape, made.dtype, made.load, made.how, made.files, name) for name, made in tensors.items()
    }


def weight_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of these files, or the index of its shards, that the folder holds."""
    for name in names:
        for path in (folder / name, folder / f"{name}.index.json"):
            if path.is_file():
                return path
    return None


def read_weights(path: Path) -> dict[str, Made]:
    """Every tensor of a weight file, or of all files of an index, by name.

    Raises:
        UserError: a file is damaged or holds more than tensors, or a shard or a tensor of the index is missing.
    """
    if path.name.endswith(".index.json"):
        return _read_index(path)
    _refuse_pointer(path)
    return read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)


def _read_index(path: Path) -> dict[str, Made]:
    table = read_object(path).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
        raise UserError("this index does not say which file holds which tensor", str(path), "download it again")
    shards: dict[str, dict[str, Made]] = {}
    for name, file in table.items():
        if file not in shards:
            shards[file] = _read_shard(path, file, name)
        if name not in shards[file]:
            what = f"tensor {name} is not in the file that the index names for it"
            raise UserError(what, str(path.parent / file), "download the folder again: its files do not fit together")
    return {name: made for shard in shards.values() for name, made in shard.items()}


def _refuse_pointer(path: Path) -> None:
    """Git puts a few lines of text in place of large files until they are asked for."""
    with open(path, "rb") as handle:
        if handle.read(len(POINTER)) == POINTER:
            raise UserError("this is a pointer to a weight file, not the file itself", str(path), "run `git lfs pull`")


def _read_shard(index: Path, file: str, name: str) -> dict[str, Made]:
    path = index.parent / file
    if Path(file).name != file or not path.is_file():
        what = f"the weight file {file} is missing; it holds {name} and more"
        raise UserError(what, str(index.parent), "download or copy the file into this folder")
    return read_weights(path)
