"""A checkpoint folder: what plain transformers loads, and ``olhar.json`` for what it has no place for."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.store import read_json
from olhar.core.types import USUAL_PEN, Pen
from olhar.families._loading import Loading, load_model
from olhar.families._made import Made, in_memory
from olhar.families._spoken import Spoken
from olhar.families._writing import SIDECAR, pad_token, write_folder, writing_folder


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model with all that is needed to ask it something.

    pen: how marks were drawn on the pictures it was trained on. origin: what it was converted from, if it was.
    """

    model: Any
    tokenizer: Tokenizer
    family_name: str
    settings: Any
    spoken: Spoken
    pen: Pen = USUAL_PEN
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> Any:
        return choose("families", self.family_name)

    def stop_ids(self) -> list[int]:
        """Ids that end an answer."""
        return self.spoken.stop_ids(self.tokenizer)

    def pad_id(self) -> int:
        """The padding token's id; masked positions are never read."""
        return int(self.tokenizer.token_to_id(pad_token(self.tokenizer, self.stop_ids())) or 0)

    def save(self, folder: Path) -> None:
        """Write the folder whole: beside its place first, then renamed into it."""
        with writing_folder(folder) as temporary:
            self._write(temporary)
            shutil.rmtree(folder, ignore_errors=True)

    def _write(self, folder: Path) -> None:
        described = sidecar(self.family_name, self.settings, self.spoken, self.pen, self.origin)
        config, tensors = self.model.config, weights(self.model)
        write_folder(folder, self.family, config, self.settings, tensors, self.tokenizer, self.spoken, described)


def weights(model: Any) -> dict[str, Made]:
    """All tensors of a live model by name; of tied ones only the first."""
    found: dict[str, Made] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found[name] = in_memory(tensor)
    return found


def sidecar(
    family_name: str,
    settings: Any,
    spoken: Spoken,
    pen: Pen = USUAL_PEN,
    origin: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The content of ``olhar.json``."""
    row = {"family": family_name, "settings": asdict(settings), **asdict(spoken), "pen": asdict(pen)}
    return row | ({"origin": dict(origin)} if origin else {})


@dataclass(frozen=True, slots=True)
class Described:
    """What ``olhar.json`` says of a checkpoint."""

    family_name: str
    settings: Any
    spoken: Spoken
    pen: Pen
    origin: Mapping[str, Any]


def read_sidecar(folder: Path) -> Described | None:
    """What olhar wrote beside the weights; None where it did not. Raises ``UserError`` where a part is missing."""
    path = folder / SIDECAR
    if not path.is_file():
        return None
    row = read_json(path)
    try:
        family = choose("families", row["family"])
        settings = family.Settings(**{key: _frozen(value) for key, value in row["settings"].items()})
        spoken = Spoken(row["prompt"], row["variant"], row["language"], row.get("system"))
        return Described(row["family"], settings, spoken, Pen(**row.get("pen", {})), row.get("origin", {}))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"this file does not say {error}", str(path), "publish or convert it again") from error


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def load(folder: Path, loading: Loading | None = None) -> Checkpoint:
    """The checkpoint in a folder that olhar wrote, in evaluation mode.

    Raises ``UserError`` where the folder is not one, or its weights are not exactly those of its model.
    """
    said = read_sidecar(folder)
    if said is None:
        raise UserError(
            "this is not a checkpoint of olhar",
            str(folder),
            f"name a folder that holds {SIDECAR}, or a finished run; `olhar convert` makes one of other checkpoints",
        )
    model, tokenizer = load_model(folder, loading or Loading()), read_tokenizer(folder)
    return Checkpoint(model, tokenizer, said.family_name, said.settings, said.spoken, said.pen, said.origin)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer exactly as ``tokenizer.json`` says; transformers' classes would rebuild parts of it."""
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing more precise
        raise UserError(
            f"the tokenizer cannot be loaded: {error}", str(folder), "name a folder that holds one"
        ) from error
