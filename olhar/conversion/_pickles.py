"""PyTorch's own files: pickles, of which only tensors are ever let in (``weights_only``); code in one never runs."""

import pickle
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.families._made import Made

if TYPE_CHECKING:
    import torch

BEGINNINGS = (b"PK", b"\x80")  # of a zip archive, and of the pickles that torch wrote before it used one


def read_pickle(path: Path) -> dict[str, Made]:
    """Every tensor of the file by name, nothing of it kept in memory.

    Raises:
        UserError: the file is damaged, or holds anything but tensors by name.
    """
    return {name: _made(path, name, tensor) for name, tensor in _tensors(path).items()}


def _made(path: Path, name: str, tensor: "torch.Tensor") -> Made:
    return Made(
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        lambda: _tensors(path)[name],  # mapped anew each time: what was touched before is given back
        files=(path,),
    )


def _tensors(path: Path) -> "Mapping[str, torch.Tensor]":
    """The file's tensors: mapped, where the format has each at a place of its own, else all in memory."""
    return _checked(path, _loaded(path, mapped=True)) if zipfile.is_zipfile(path) else _whole(path)


@lru_cache(maxsize=1)
def _whole(path: Path) -> "Mapping[str, torch.Tensor]":
    return _checked(path, _loaded(path, mapped=False))


def _loaded(path: Path, mapped: bool) -> Any:
    import torch

    try:
        with open(path, "rb") as handle:
            if not handle.read(2).startswith(BEGINNINGS):
                raise ValueError("it does not begin as one")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if "Unsupported" not in str(error):  # torch's word for whatever it does not let in
            raise _damaged(path, error) from error
        raise UserError(
            "this file holds more than weights, and loading it could run foreign code; it was not run",
            str(path),
            "use a safetensors version of this checkpoint, or one from somebody you trust to have written only weights",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
    return UserError(f"this weight file is damaged: {reason}", str(path), "download or copy the file again")


def _checked(path: Path, content: Any) -> "Mapping[str, torch.Tensor]":
    import torch

    if not isinstance(content, Mapping):
        raise _not_weights(path, f"a {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _not_weights(path, f"a {type(value).__name__} under {name!r}")
    return content


def _not_weights(path: Path, found: str) -> UserError:
    return UserError(
        f"this file is no table of tensors: it holds {found}",
        str(path),
        "name the folder of finished weights, not of a training run's state",
    )
