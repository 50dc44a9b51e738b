"""What training starts from, brought to hand: hub names become folders, foreign checkpoints become ours, once.

Everything that can be wrong with a model's folders is told here, before anything is loaded.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.conversion import located
from olhar.core.choices import choose, names
from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts, StartingPoint
from olhar.core.recipe.model import Model
from olhar.core.store import digest, read_json, writing
from olhar.families import read_sidecar, read_tokenizer
from olhar.families._writing import SIDECAR

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PARTS = ("tower", "language_model", "tokenizer")  # of a model joined from parts; each may be a folder
WHOLE = ("checkpoint", "base", "adapter")  # of a model that starts from a checkpoint
FOLDERS = (*PARTS, *WHOLE)
PICKLED = (".bin", ".pt", ".pth")
SAMPLE = 4096  # bytes read at both ends of every tensor, and at every step through a pickle
STEPS = 1024


def at_hand(model: Model, folder: Path) -> ModelParts | Path:
    """The model with everything on this disk: its parts' folders, or the folder of a checkpoint of olhar's.

    Args:
        folder: where a foreign checkpoint, or a tokenizer in another format, is converted to (``train/start``), unless
            it is there already.

    Raises:
        UserError: something is missing or cannot be fetched, the checkpoint is of another family than the recipe's,
            or a tokenizer is not that of its model.
    """
    if isinstance(model, ModelParts):
        found = model.model_copy(update={part: str(path) for part, path in _folders(model, PARTS).items()})
        found = _with_read_tokenizer(found, folder)
        _check_parts(found)
        return found
    source = located(model.checkpoint)
    if not (source / SIDECAR).is_file():
        source = _converted(model, source, folder)
    elif model.base:
        raise UserError("this checkpoint is whole, it takes no base", "model.base", "leave it out")
    said = read_sidecar(source)
    _check_family(model.family, said.family_name if said else None, model.checkpoint)
    _check_checkpoint(source, choose("families", model.family))
    return source


def adapter_at_hand(model: Model) -> Path | None:
    """The folder of the adapter to go on with, if the recipe names one; raises ``UserError`` where it is none."""
    if isinstance(model, ModelParts) or model.adapter is None:
        return None
    folder = located(model.adapter)
    if not (folder / "adapter_config.json").is_file():
        what = "this is no adapter in PEFT's layout (no adapter_config.json)"
        raise UserError(what, model.adapter, "name the folder that save_pretrained of PEFT wrote")
    return folder


def digests(model: Model) -> dict[str, str]:
    """What the result depends on: {key of the recipe's model: a hash of the folder that it names}.

    Of the hub's models it is the commit. Of other folders it is everything small in full (configurations,
    tokenizers), and of weights their headers and both ends of every tensor: reading some megabytes instead of many
    gigabytes, it still differs for every checkpoint that went on learning, since a step moves whole tensors. Names,
    sizes and times alone would not: two fine-tunes of one model have the same, and a copy has other times.
    """
    keys = PARTS if isinstance(model, ModelParts) else WHOLE
    named = {key: getattr(model, key) for key in keys}
    return {
        key: _digest(path) if Path(named[key]).expanduser().exists() else path.name  # the hub's folders are commits
        for key, path in _folders(model, keys).items()
    }


def _folders(model: Model, keys: Iterable[str]) -> dict[str, Path]:
    return {key: located(name) for key in keys if isinstance(name := getattr(model, key), str)}


def _converted(model: StartingPoint, source: Path, folder: Path) -> Path:
    """The checkpoint in our own layout; written whole, so what is there is finished."""
    from olhar.conversion.convert import convert
    from olhar.conversion.source import opened

    if not (folder / SIDECAR).is_file():
        _check_family(model.family, _recognising(opened(source, base=model.base)), model.checkpoint)
        convert(model.checkpoint, folder, base=model.base)
    return folder


def _with_read_tokenizer(parts: ModelParts, folder: Path) -> ModelParts:
    """The parts with a ``tokenizer.json``; Vicuna and others are published with a SentencePiece file alone."""
    if not isinstance(parts.tokenizer, str) or (Path(parts.tokenizer) / "tokenizer.json").is_file():
        return parts
    if not (Path(parts.tokenizer) / "tokenizer.model").is_file():
        return parts
    from olhar.conversion.tokenizers import source_tokenizer

    if not (folder / "tokenizer.json").is_file():
        made = source_tokenizer(Path(parts.tokenizer)).to_str()
        with writing(folder / "tokenizer.json") as handle:
            handle.write(made)
    return parts.model_copy(update={"tokenizer": str(folder)})


def _recognising(source: Any) -> str | None:
    """The family that knows a foreign checkpoint; None where none does, which converting explains better."""
    return next((name for name in names("families") if choose("families", name).recognises(source)), None)


def _check_family(wanted: str, found: str | None, where: str) -> None:
    if found not in (wanted, None):
        what = f"this checkpoint is of the family {found}, and the recipe says {wanted}"
        raise UserError(what, where, f'write family = "{found}", or name another checkpoint')


def _check_checkpoint(folder: Path, family: Any) -> None:
    """The tokenizer of a whole checkpoint is its own: every token has a row, and the family's have the ids it says."""
    tokenizer, config = read_tokenizer(folder), read_json(folder / "config.json")
    rows = config.get("text_config", {}).get("vocab_size")
    unknown = [token for token in family.SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if unknown:
        raise _not_its_own(folder, f"it does not know {' '.join(unknown)}")
    for key, token in family.TOKEN_KEYS.items():
        found = config.get(key, config.get(key.replace("_index", "_id")))
        if found is not None and found != tokenizer.token_to_id(token):
            raise _not_its_own(folder, f"{token} is {tokenizer.token_to_id(token)}, and config.json says {found}")
    highest = max(tokenizer.get_vocab().values())
    if isinstance(rows, int) and highest >= rows:
        raise _not_its_own(folder, f"it has ids up to {highest}, and there are {rows} embeddings")
    _check_known_ids(tokenizer, config.get("text_config", {}), folder)


def _check_parts(parts: ModelParts) -> None:
    """A pretrained language model understands one tokenizer; tokens that it does not know yet may be added."""
    if not (isinstance(parts.language_model, str) and isinstance(parts.tokenizer, str)):
        return
    folder = Path(parts.language_model)
    if not (folder / "config.json").is_file():
        return  # told by the family, in its own words
    tokenizer, config = read_tokenizer(Path(parts.tokenizer)), read_json(folder / "config.json")
    own = max(tokenizer.get_vocab(with_added_tokens=False).values(), default=-1)
    if isinstance(rows := config.get("vocab_size"), int) and own >= rows:
        raise _not_its_own(Path(parts.tokenizer), f"it has ids up to {own}, and the model has {rows} embeddings")
    _check_known_ids(tokenizer, config, Path(parts.tokenizer))
    _check_same_words(tokenizer, folder, Path(parts.tokenizer))


def _check_same_words(tokenizer: "Tokenizer", folder: Path, where: Path) -> None:
    """Where a language model's folder holds a tokenizer, all its tokens have the same ids in the one that is used:
    a smaller vocabulary of another model would fit, and teach it from nothing."""
    if not (folder / "tokenizer.json").is_file():
        return
    for token, id in sorted(read_tokenizer(folder).get_vocab().items(), key=lambda entry: entry[1]):
        if (found := tokenizer.token_to_id(token)) != id:
            raise _not_its_own(where, f"{token!r} is {id} in the model's own, and {found} in this one")


def _check_known_ids(tokenizer: "Tokenizer", config: Mapping[str, Any], where: Path) -> None:
    """Ids by which a model begins and ends a text must be some token's."""
    for key in ("bos_token_id", "eos_token_id"):
        given = config.get(key)
        for id in given if isinstance(given, list) else [given]:
            if isinstance(id, int) and id >= 0 and tokenizer.id_to_token(id) is None:
                size = tokenizer.get_vocab_size()
                raise _not_its_own(where, f"the model's {key} is {id}, and it has {size} tokens")


def _not_its_own(where: Path, why: str) -> UserError:
    fix = "name the folder with the tokenizer that was published with this model"
    return UserError(f"this tokenizer is not the model's: {why}", str(where), fix)


def _digest(path: Path) -> str:
    if path.is_file():
        return _of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest({file.relative_to(path).as_posix(): _of_file(file) for file in files})


def _of_file(path: Path) -> str:
    found = sha256()
    for part in _telling(path):
        found.update(part)
    return found.hexdigest()[:16]


def _telling(path: Path) -> Iterator[bytes]:
    """The bytes of a file that tell it from another."""
    size = path.stat().st_size
    yield str(size).encode()
    with open(path, "rb") as handle:
        if path.suffix == ".safetensors":
            yield from _ends_of_tensors(handle, size)
        elif path.suffix in PICKLED:
            for place in range(0, size, max(SAMPLE, size // STEPS)):
                handle.seek(place)
                yield handle.read(SAMPLE)
        else:
            while block := handle.read(1 << 20):
                yield block


def _ends_of_tensors(handle: Any, size: int) -> Iterator[bytes]:
    """The header, and both ends of every tensor; of a damaged file its beginning, which loading will refuse."""
    start = handle.read(8)
    length = min(struct.unpack("<Q", start)[0], size) if len(start) == 8 else 0
    header = handle.read(length)
    yield start + header
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        places = sorted(
            (8 + length + begin, 8 + length + end) for begin, end in (e["data_offsets"] for e in entries.values())
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    for begin, end in places:
        for place in sorted({begin, max(begin, end - SAMPLE)}):
            handle.seek(place)
            yield handle.read(min(SAMPLE, end - begin))
