"""Safetensors files, read by their header: a tensor's bytes are read from their place when it is wanted.

Nothing is mapped into memory, so reading many files one tensor at a time never holds more than one tensor.
"""

import json
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.families._made import Made

if TYPE_CHECKING:
    import torch

LONGEST_HEADER = 100_000_000  # bytes, as the format's own library allows
TYPES = {  # the format's name of a type: torch's name, bytes of one element
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}


def read_safetensors(path: Path) -> dict[str, Made]:
    """Every tensor of the file by name; raises ``UserError`` where the file is cut off or no safetensors file."""
    header, begin, size = _header(path)
    tensors: dict[str, Made] = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, width = TYPES[entry["dtype"]]
        shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
        if end - start != width * math.prod(shape):
            raise _broken(path, f"tensor {name} has {end - start} bytes for the shape {shape}")
        if start < 0 or begin + end > size:
            raise _broken(path, f"tensor {name} reaches over its end")
        tensors[name] = _made(path, name, dtype, shape, begin + start, end - start)
    return tensors


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header without its metadata, where the data begin, and the file's size in bytes."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > min(LONGEST_HEADER, size - 8):
                raise _broken(path, f"its header should have {length} bytes, and the file has {size}")
            header = json.loads(handle.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            if entry["dtype"] not in TYPES:
                raise _broken(path, f"tensor {name} has the unknown type {entry['dtype']}")
            _, _ = entry["data_offsets"]
    except (struct.error, ValueError, AttributeError, KeyError, TypeError) as error:
        raise _broken(path, f"its header cannot be read ({error})") from error
    except OSError as error:
        raise UserError(f"cannot read the weights: {error.strerror}", str(path), "check the file") from error
    return header, 8 + length, size


def _made(path: Path, name: str, dtype: str, shape: tuple[int, ...], place: int, length: int) -> Made:
    def load() -> "torch.Tensor":
        import torch

        flat = torch.empty(length, dtype=torch.uint8)
        try:
            with open(path, "rb", buffering=0) as handle:
                handle.seek(place)
                view, read = flat.numpy().data, 0
                while read < length and (count := handle.readinto(view[read:])):
                    read += count
        except OSError as error:
            raise UserError(f"cannot read {name}: {error.strerror}", str(path), "check the file") from error
        if read < length:
            raise _broken(path, f"tensor {name} reaches over its end")
        return flat.view(getattr(torch, dtype)).reshape(shape)

    return Made(shape, dtype, load, files=(path,))


def _broken(path: Path, why: str) -> UserError:
    return UserError(f"this safetensors file is damaged: {why}", str(path), "download or copy the file again")
