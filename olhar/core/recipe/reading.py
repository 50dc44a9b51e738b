"""Reading a recipe, and saying in a person's words what is wrong with it."""

import tomllib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from olhar.core.errors import Problem, RecipeError, UserError
from olhar.core.recipe.data import DataSet
from olhar.core.recipe.training import ParameterRole
from olhar.core.recipe.whole import Recipe

# what may lie beside the recipe: of a model, and of the options of a source
FOLDERS = ("tower", "language_model", "tokenizer", "checkpoint", "base", "adapter")
OF_SOURCES = ("images", "videos", "files")


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file; relative paths in it are taken from the file's folder.

    Raises ``RecipeError`` with every problem of form, ``UserError`` when there is no such file or it is not TOML.
    """
    if not path.is_file():
        raise UserError("there is no such recipe", str(path), "recipes ship in recipes/; `olhar list` names them")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"this is not TOML: {error}", str(path), "mend that line") from error
    for override in overrides:
        _override(tree, override)
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(str(path), problems(error, Recipe)) from error
    return _from_folder(recipe, path.resolve().parent)


def _from_folder(recipe: Recipe, folder: Path) -> Recipe:
    """Paths of the recipe that exist beside it become absolute; a name that does not stays (a hub name)."""

    def beside(name: Any) -> Any:
        return str(folder / name) if isinstance(name, str) and (folder / name).exists() else name

    def placed(data: DataSet) -> DataSet:
        options = {name: beside(value) if name in OF_SOURCES else value for name, value in data.options.items()}
        return data.model_copy(update={"path": folder / data.path if data.path else None, "options": options})

    ingest = tuple(placed(data) for data in recipe.ingest)
    changed: dict[str, Any] = {"ingest": ingest}
    if recipe.model:
        paths = {name: beside(getattr(recipe.model, name)) for name in FOLDERS if hasattr(recipe.model, name)}
        changed["model"] = recipe.model.model_copy(update=paths)
    return recipe.model_copy(update=changed)


def _override(tree: dict[str, Any], override: str) -> None:
    """``a.b.0.c=value`` with a TOML value; a bare word is a string."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError(f"{override!r} is not key=value", "--set", "write --set train.stages.0.steps=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = key.strip().split(".")
    node: Any = tree
    try:
        for step in path:
            node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
        node[int(last) if isinstance(node, list) else last] = value
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise UserError(f"the recipe has no place {key!r}", "--set", "write the dotted location of a value") from error


# how pydantic names the branches of a union
BRANCHES = frozenset({"str", "int", "bool", "float", "constrained-float", "[key]", "parts", "starting-point"})


def problems(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Problem]:
    """Pydantic's errors about a ``model``, one a dotted place, without those that only repeat another."""
    found: dict[str, Problem] = {}
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic calls a list "too short" once its items have failed
        told = _problem(detail, model, prefix)
        found.setdefault(told.where, told)
    return [told for where, told in found.items() if not any(other.startswith(f"{where}.") for other in found)]


def _problem(detail: ErrorDetails, model: type[BaseModel], prefix: str) -> Problem:
    """One of pydantic's errors as a problem: dotted place, what is wrong, what to do."""
    place = [part for part in detail["loc"] if part not in BRANCHES and not str(part).endswith(("Shape", "]"))]
    where = ".".join(str(part) for part in (prefix, *place) if part != "") or "recipe"
    is_key = detail["loc"][-1:] == ("[key]",)  # of a mapping whose keys are parameter roles
    if detail["type"] == "extra_forbidden" or is_key:
        known = get_args(ParameterRole) if is_key else _keys_of(model, detail["loc"][:-1])
        near = get_close_matches(str(place[-1]), sorted(known), n=1)
        return Problem(where, "unknown key", f"did you mean {near[0]!r}?" if near else "remove it")
    if detail["type"] == "missing":
        return Problem(where, "this key is required", "add it")
    given = repr(detail["input"])
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(where, message, f"change {given if len(given) < 60 else 'this part'}")


def _keys_of(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[str]:
    """The keys a model at this location knows, for the nearest-match hint."""
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        models = [inner for field in fields for inner in _models_in(field)] or models
    for known in models:
        yield from known.model_fields


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
