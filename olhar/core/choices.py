"""A folder is a registry: a name is a file name, matched exactly, imported only when asked for.

``choose("prompts", "tucano")`` imports ``olhar/prompts/tucano.py``. Files whose name begins with an
underscore are not choices. A dotted name (``my_lab.engine``) loads a module outside olhar.
"""

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType

from olhar.core.errors import UnknownName

PACKAGE = Path(__file__).resolve().parent.parent


def names(folder: str) -> list[str]:
    """The choices of a folder, sorted, without importing any of them."""
    modules = pkgutil.iter_modules([str(PACKAGE / folder)])
    return sorted(module.name for module in modules if not module.name.startswith("_"))


@cache  # of what was found: the folder is read once, not for every sample
def choose(folder: str, name: str) -> ModuleType:
    """The module that answers to ``name``; raises ``UnknownName`` listing what there is."""
    if "." in name:
        return _outside(folder, name)
    if name not in names(folder):
        raise unknown(folder, name)
    return importlib.import_module(f"olhar.{folder}.{name}")


def unknown(folder: str, name: str) -> UnknownName:
    """The error for a name that no file of ``folder`` bears, with the nearest one that exists."""
    there = names(folder)
    near = get_close_matches(name, there, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownName(
        f"no {folder} called {name!r}; there are: {', '.join(there)}",
        f"olhar/{folder}/",
        f"{hint}choose one of them, or create olhar/{folder}/{name}.py",
    )


def _outside(folder: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the last two: a name such as "../x"
        raise UnknownName(
            f"cannot import {name!r} as one of the {folder}: {error}",
            "a dotted name is a Python module outside olhar",
            "install the package that holds it, or put its folder on PYTHONPATH",
        ) from error
