"""What is known of a part before it is fetched: its ``config.json``, from a folder, from here, or from the hub's cache.

``_published/<organisation>--<name>.json`` hold the facts of public parts that recipes name; no weights. Each says its
``kind``, the ``config`` in the words of transformers' configurations, and of language models ``tokens``: the entries
of the tokenizer. A whole checkpoint's ``config`` names its parts.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from olhar.core.errors import UserError
from olhar.core.store import read_json

PartKind = Literal["tower", "language_model", "tokenizer", "checkpoint"]
FOLDER = Path(__file__).with_name("_published")
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
NEEDED = {"tokenizer": ("tokenizer.json", "tokenizer.model", "sentencepiece.bpe.model")}


def published(name: str) -> dict[str, Any] | None:
    """All that is written here of a public part: ``kind``, ``config``, perhaps ``tokens``."""
    return _rows().get(name)


@lru_cache(maxsize=1)
def _rows() -> dict[str, dict[str, Any]]:
    return {file.stem.replace("--", "/", 1): read_json(file) for file in sorted(FOLDER.glob("*.json"))}


def published_towers() -> dict[str, dict[str, Any]]:
    """Configurations of public vision towers by their hub names."""
    return {name: row["config"] for name, row in _rows().items() if row["kind"] == "tower"}


def local_folder(name: str, kind: PartKind) -> Path | None:
    """The folder on this disk that holds a part: the one named, or the one that the hub's client keeps it in."""
    files = NEEDED.get(kind, ("config.json",))
    folder = Path(name).expanduser()
    if any((folder / file).is_file() for file in files):
        return folder
    if folder.exists() or not HUB_ID.fullmatch(name):
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(name, file) for file in files]
    except HFValidationError:
        return None
    return next((Path(path).parent for path in found if isinstance(path, str)), None)


def part_config(name: str, kind: PartKind) -> dict[str, Any] | None:
    """The configuration of a part by folder or hub name, without its weights and without the network.

    A folder's own ``config.json`` comes first, then what is written here, then the hub's local cache. None: nothing
    is known, it must be fetched first. A checkpoint that is written here gives ``family``, ``tower``,
    ``language_model`` and ``tokenizer`` instead, the last three as names.

    Raises:
        UserError: the folder's file is no JSON object.
    """
    path = Path(name).expanduser() / "config.json"
    if not path.is_file():
        row = published(name)
        if row is not None and row["kind"] == kind:
            return dict(row["config"])
        folder = local_folder(name, kind)
        path = folder / "config.json" if folder else path
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError("this is no configuration of a model", str(path), "name the folder of a model")
    return found


def tokenizer_entries(name: str) -> int | None:
    """How many entries the tokenizer of a public language model has; None where that is not written here."""
    row = published(name)
    return row.get("tokens") if row else None
