"""Writing a checkpoint folder that plain transformers, 4.x and 5.x, and the engines that read its format load.

Weights go tensor by tensor into safetensors in the classic layout: what a live model of transformers 5 calls
``model.vision_tower.embeddings`` is ``vision_tower.vision_model.embeddings`` there, and older readers would take a
file without it for a model whose tower is random.
"""

import json
import os
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from olhar.core.store import PARTIAL, disk_errors, read_json, sync_folder, write_json, writing
from olhar.families import _towers
from olhar.families._made import Made, on_disk
from olhar.families._spoken import Spoken

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SIDECAR = "olhar.json"
PAD = "<pad>"
NAMED = {"bos_token": "<s>", "unk_token": "<unk>"}  # by the tokens that Llama-like tokenizers have
SHARD = 5_000_000_000  # bytes of weights in one file
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32"}
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "int32": 4}

Track = Callable[[Iterable[Any], str, int], Iterable[Any]]


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when all of it is written; until then it is ``NAME.partial``.

    Where something else stands under the name when the time comes, nothing is renamed over it.
    """
    temporary = folder.with_name(folder.name + PARTIAL)
    with disk_errors(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            os.replace(temporary, folder)  # an empty folder gives way
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(folder.parent)


def write_weights(folder: Path, tensors: Mapping[str, Made], track: Track | None = None, shard: int = SHARD) -> None:
    """All tensors by their names on disk, in the mapping's order, one in memory at a time."""
    shards, sizes = _shards(tensors, shard), {name: _size(made) for name, made in tensors.items()}
    many, where = len(shards) > 1, dict[str, str]()
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if many else "model.safetensors"
        where |= dict.fromkeys(names, file)
        _write_shard(folder / file, {name: tensors[name] for name in names}, track or (lambda items, *_: items))
    if many:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        write_json(folder / "model.safetensors.index.json", index)


def _size(made: Made) -> int:
    return BYTES[made.dtype] * prod(made.shape)


def _shards(tensors: Mapping[str, Made], limit: int) -> list[list[str]]:
    """Names by file, each file within the limit unless one tensor alone is larger."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, made in tensors.items():
        if shards[-1] and filled + _size(made) > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += _size(made)
    return shards


def _write_shard(path: Path, tensors: Mapping[str, Made], track: Track) -> None:
    """The safetensors format: length of the header, header, then every tensor's bytes in order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, made in tensors.items():
        start, end = end, end + _size(made)
        header[name] = {"dtype": DTYPES[made.dtype], "shape": list(made.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with writing(path, "wb") as handle:
        handle.write(struct.pack("<Q", len(text)) + text)
        for name, made in track(tensors.items(), f"write {path.name}", len(tensors)):
            handle.write(_bytes(name, made))


def _bytes(name: str, made: Made) -> Any:
    """A tensor's bytes, little-endian, without a copy where it lies contiguous on the processor."""
    import torch

    tensor = made.load().detach().cpu().contiguous()
    if tuple(tensor.shape) != made.shape or str(tensor.dtype) != f"torch.{made.dtype}":
        raise RuntimeError(f"{name} became {tensor.dtype} {tuple(tensor.shape)}, not {made.dtype} {made.shape}")
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def write_folder(
    folder: Path,
    family: Any,
    config: "PreTrainedConfig",
    settings: Any,
    tensors: Mapping[str, Made],
    tokenizer: Tokenizer,
    spoken: Spoken,
    sidecar: Mapping[str, Any],
    track: Track | None = None,
) -> None:
    """Everything a checkpoint is, into an existing folder. ``tensors`` bear the names of the live model."""
    named = {on_disk(name, family.DISK_NAMES): made for name, made in tensors.items()}
    write_weights(folder, named, track)
    _write_config(folder, family, config, _common_type(tensors))
    for name, content in family.configs(settings).items():
        write_json(folder / name, content)
    _write_tokenizer(folder, family, settings, tokenizer, spoken)
    write_json(folder / SIDECAR, sidecar)


def _common_type(tensors: Mapping[str, Made]) -> str:
    """The number type of most of the weights: the one that ``auto`` loads, whatever single parts are stored in."""
    sizes: Counter[str] = Counter()
    for made in tensors.values():
        sizes[made.dtype] += prod(made.shape)
    return sizes.most_common(1)[0][0]


def _write_config(folder: Path, family: Any, config: "PreTrainedConfig", dtype: str) -> None:
    """``config.json`` as transformers 5 writes it, and the keys under which 4.x looks for the same things."""
    config.architectures = [family.MODEL_CLASS]
    config.save_pretrained(folder)
    written = read_json(folder / "config.json")
    written |= {"dtype": dtype, "torch_dtype": dtype}
    text = written["text_config"]
    rope = config.text_config.rope_parameters
    text["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        text["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    text["vocab_size"] = config.text_config.vocab_size
    write_json(folder / "config.json", written)


def _write_tokenizer(folder: Path, family: Any, settings: Any, tokenizer: Tokenizer, spoken: Spoken) -> None:
    """The tokenizer as its own file says, its chat template, and how to generate."""
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    stops = spoken.stop_ids(tokenizer)
    pad = pad_token(tokenizer, stops)
    features = [tokenizer.token_to_id(token) for token in family.TOKEN_KEYS.values()]
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=tokenizer.id_to_token(stops[0]),
        **{name: token for name, token in NAMED.items() if tokenizer.token_to_id(token) is not None},
        padding_side="left",
    )
    wrapped.chat_template = spoken.chat_template(family, settings)
    wrapped.save_pretrained(folder)
    _for_older_readers(folder, wrapped.chat_template, getattr(family, "TOKEN_NAMES", {}))
    generation = GenerationConfig(
        eos_token_id=stops, pad_token_id=tokenizer.token_to_id(pad), suppress_tokens=features, do_sample=False
    )
    generation.save_pretrained(folder)


def _for_older_readers(folder: Path, chat_template: str, token_names: Mapping[str, str]) -> None:
    """What transformers 4.x and its libraries read of a tokenizer: a class they know, merges as "a b", the template
    among the settings, that decoded text keeps its blanks; and the names by which a processor asks for tokens."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path)
    settings.pop("backend", None)
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if token_names:
        settings["extra_special_tokens"] = dict(token_names)  # all of them are in the vocabulary
    write_json(path, settings | {"chat_template": chat_template})
    path = folder / "tokenizer.json"
    described = read_json(path)
    merges = described["model"].get("merges")
    if merges and not any(" " in piece for pair in merges for piece in pair):
        described["model"]["merges"] = [" ".join(pair) for pair in merges]
        write_json(path, described)


def write_tower(model: Any, settings: Any, folder: Path) -> None:
    """The vision tower alone, for other recipes to start from; it sees a whole picture squashed to a square."""
    model.model.vision_tower.save_pretrained(folder)
    squash = _towers.processor(settings.side, "squash", settings.mean, settings.std)
    write_json(folder / "preprocessor_config.json", squash)


def pad_token(tokenizer: Tokenizer, stops: list[int]) -> str:
    """The padding token; where the tokenizer has none, the one that ends answers: masked places are never read."""
    for token in (PAD, "<|endoftext|>", "<unk>"):
        if tokenizer.token_to_id(token) is not None:
            return token
    return str(tokenizer.id_to_token(stops[0]))
