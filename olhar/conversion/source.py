"""Opens what was published: a whole checkpoint, its parts in folders, an adapter over a base, a projector alone.

Only headers are read here. Every tensor stays in its file until it is wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from olhar.conversion._hub import located
from olhar.conversion._json import read_object
from olhar.conversion._lora import ADDED, Adapter
from olhar.conversion._weights import ADAPTER, BESIDE_ADAPTER, MODEL, PROJECTOR, named, read_weights, weight_file
from olhar.core.errors import UserError
from olhar.families._made import Made

ROLES = {  # folders of a checkpoint that was saved in parts, and where a single file has their tensors
    "language_model": "language_model.",
    "vision_tower": "vision_tower._vision_tower.",
    "connector": "connector.",
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
TOWER_KEYS = ("mm_vision_tower", "vision_model_name_or_path")  # of the configurations that name a tower


@dataclass(frozen=True)
class Opened:
    """A foreign checkpoint as ``olhar.families`` expects it (``Source``).

    base: the checkpoint that an adapter or a projector was trained on.
    named_tower: the tower that a person named.
    """

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Made]
    base: "Opened | None" = None
    named_tower: str | Path | None = None

    @cached_property
    def tower(self) -> "Opened | None":
        """The vision tower's own folder: the named one, else the configuration's where it is on this machine, else a
        folder ``vision_tower`` of the checkpoint that is no part of a split one."""
        if self.named_tower is not None:
            return opened_tower(located(self.named_tower))
        names = [name for key in TOWER_KEYS if isinstance(name := self.config.get(key), str) and name]
        for name in names:
            for path in (*(folder / name for folder in self.folders), Path(name)):
                if (path / "config.json").is_file():
                    return opened_tower(path)
        beside = (folder / "vision_tower" for folder in self.folders if not _is_split(folder))
        found = next((path for path in beside if (path / "config.json").is_file()), None)
        return opened_tower(found) if found else None

    @cached_property
    def tokenizer(self) -> Path:
        """The folder that holds tokenizer files: the checkpoint's, its ``tokenizer/``, or its base's."""
        for own in self.folders:
            for folder in (own, own / "tokenizer"):
                if any((folder / name).is_file() for name in TOKENIZER_FILES):
                    return folder
        raise UserError(
            "there is no tokenizer here",
            str(self.folder),
            f"put the files of the language model's tokenizer into this folder ({', '.join(TOKENIZER_FILES)})",
        )

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the checkpoint, else of its base; None where neither has it."""
        path = self._file(name)
        return read_object(path) if path else None

    def read_text(self, name: str) -> str | None:
        """A text file of the checkpoint, else of its base; None where neither has it."""
        path = self._file(name)
        return path.read_text(encoding="utf-8") if path else None

    def _file(self, name: str) -> Path | None:
        return next((folder / name for folder in self.folders if (folder / name).is_file()), None)

    @property
    def folders(self) -> list[Path]:
        """Its own folder, and those of what it was trained on."""
        return [self.folder, *(self.base.folders if self.base else ())]


def opened(path_or_hub_id: str | Path, tower: str | Path | None = None, base: str | Path | None = None) -> Opened:
    """The checkpoint at a path or on the hub.

    Args:
        tower: path or hub name of the vision tower's own folder, where it is not part of the checkpoint.
        base: path or hub name of what an adapter or a projector was trained on, where its own files do not say.

    Raises:
        UserError: nothing there, a file that is missing or damaged, a pickle with code in it, an adapter that does
            not fit, or a base for a checkpoint that needs none.
    """
    source = _opened(located(path_or_hub_id), tower, base)
    return replace(source, tensors=named(source.tensors))


def _opened(path: Path, tower: str | Path | None, base: str | Path | None) -> Opened:
    if path.is_file():
        return _projector(path, tower, base)
    if (path / "adapter_config.json").is_file():
        return _adapter(path, tower, base)
    parts, whole = _is_split(path), weight_file(path, MODEL)
    if not parts and not whole and (projector := weight_file(path, PROJECTOR)):
        return _projector(projector, tower, base)
    if base is not None:
        raise UserError("this checkpoint is whole, it takes no base", str(path), "leave --base out")
    if not parts and not whole:
        raise _no_weights(path)
    tensors = read_weights(whole) if whole else _split(path)
    return Opened(path, _config(path), _without_wrapping(tensors), named_tower=tower)


def opened_tower(path: Path) -> Opened:
    """A vision tower's own folder, of which a text tower beside it is left out; or its configuration file alone.

    ``config`` is the vision part's, ``tensors`` are ``vision_model.*``; none where the folder holds no weights.
    """
    if path.is_file() and path.suffix == ".json":
        return Opened(path.parent, _vision_part(read_object(path)), {})
    file = weight_file(path, MODEL)
    tensors = read_weights(file) if file else {}
    vision = {name: made for name, made in tensors.items() if name.startswith("vision_model.")}
    if not vision and any(name.startswith("embeddings.") for name in tensors):  # as transformers 5 writes a tower
        vision = {f"vision_model.{name}": made for name, made in tensors.items()}
    return Opened(path, _vision_part(_config(path)), named(vision))


def _vision_part(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the tower alone, where the file describes a text tower too."""
    inner = config.get("vision_config")
    if not isinstance(inner, dict):
        return config
    return {"model_type": f"{config.get('model_type')}_vision_model"} | inner


def _is_split(folder: Path) -> bool:
    return weight_file(folder / "language_model", MODEL) is not None


def _split(folder: Path) -> dict[str, Made]:
    """The tensors of a checkpoint saved in parts, by the names of a single file."""
    tensors: dict[str, Made] = {}
    for role, prefix in ROLES.items():
        if file := weight_file(folder / role, MODEL):
            tensors |= {prefix + name: made for name, made in read_weights(file).items()}
    return tensors


def _without_wrapping(tensors: Mapping[str, Made]) -> dict[str, Made]:
    """Names as they were before an adapter was laid over them."""
    return {name.replace(".base_layer.", "."): made for name, made in tensors.items()}


def _adapter(folder: Path, tower: str | Path | None, base: str | Path | None) -> Opened:
    path = folder / "adapter_config.json"
    config, file = read_object(path), weight_file(folder, ADAPTER)
    if file is None:
        raise UserError(f"the adapter has no weights ({' or '.join(ADAPTER)})", str(folder), "copy the file here")
    if weight_file(folder, MODEL):
        what = "this folder holds both whole weights and an adapter"
        raise UserError(what, str(folder), "move the files of one of them away")
    below = None if _is_split(folder) else _base(folder, base, config.get("base_model_name_or_path"))
    own = read_object(folder / "config.json") if (folder / "config.json").is_file() else None
    tensors = below.tensors if below else _without_wrapping(_split(folder))
    beside_file = weight_file(folder, BESIDE_ADAPTER)
    adapter = Adapter(path, config, read_weights(file), read_weights(beside_file) if beside_file else {})
    _projector_is_there(folder, own or {}, adapter)
    described = own or (below.config if below else _config(folder))
    return Opened(folder, described, adapter.merged(tensors), below, tower)


def _projector_is_there(folder: Path, config: Mapping[str, Any], adapter: Adapter) -> None:
    """An adapter of LLaVA's trainer is worth nothing without the projector that it trained in full."""
    if "mm_projector_type" not in config:
        return
    if not any("mm_projector." in name for name in (*adapter.beside, *adapter.tensors)):
        raise UserError(
            "the projector that was trained with this adapter is missing: it would see with a random one",
            str(folder),
            f"copy {' or '.join(reversed(BESIDE_ADAPTER))} of the same training into this folder",
        )


def _projector(path: Path, tower: str | Path | None, base: str | Path | None) -> Opened:
    """A projector file of an alignment stage, laid over its language model."""
    described = _projector_config(path)
    config = read_object(described)
    below = _base(described.parent, base, config.get("_name_or_path"))
    tensors = dict(below.tensors)
    for name, made in read_weights(path).items():
        _, found, rest = name.partition("mm_projector.")
        target = f"model.mm_projector.{rest}" if found else name
        if not target.startswith(ADDED):
            what = f"{name} was trained beside the projector, which cannot be told apart from its base"
            raise UserError(what, str(path), "convert the finished model of this training instead")
        tensors[target] = made
    return Opened(described.parent, config, tensors, below, tower)


def _projector_config(path: Path) -> Path:
    """The configuration of the training that wrote a projector: beside it, or in its checkpoint's folder."""
    places = [path.parent]
    if path.parent.name == "mm_projector":
        places += [path.parent.parent / path.stem, path.parent.parent]
    found = next((place / "config.json" for place in places if (place / "config.json").is_file()), None)
    if found is None:
        what = "a projector alone does not say which model it belongs to: there is no config.json"
        raise UserError(what, str(path), "copy the config.json that its training wrote beside it")
    return found


def _base(folder: Path, named: str | Path | None, recorded: Any) -> Opened:
    """The checkpoint that something was trained on: the named one, else the one that its own files record."""
    if named is None and not (isinstance(recorded, str) and recorded):
        raise UserError("this needs the model that it was trained on", str(folder), "name it: --base FOLDER")
    try:
        path = located(named) if named is not None else located(recorded, folder)
    except UserError as error:
        what = f"the model that this was trained on is not here: {error.what}"
        raise UserError(what, error.where, "name its folder: --base FOLDER") from error
    if path.resolve() == folder.resolve():
        raise UserError("this names itself as the model that it was trained on", str(folder), "name it: --base FOLDER")
    return opened(path)


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UserError("this folder has no config.json", str(folder), "name the folder of a whole checkpoint")
    return read_object(folder / "config.json")


def _no_weights(folder: Path) -> UserError:
    shards = sorted(file.name for file in folder.glob("*-of-*.safetensors")) + sorted(
        file.name for file in folder.glob("*-of-*.bin")
    )
    if shards:
        what = f"there are shards ({shards[0]}, ...) but no index that says what they hold"
        return UserError(what, str(folder), f"copy the index ({MODEL[0]}.index.json or {MODEL[1]}.index.json) here too")
    return UserError("there are no weights here", str(folder), f"name a folder that holds {' or '.join(MODEL)}")
