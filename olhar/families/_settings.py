"""How a recipe changes the way a family looks at pictures: names of its ``Settings``, checked.

``image`` under ``[model]`` says how the finished model looks at pictures; ``image`` of a stage of training changes
that for the stage alone, as published recipes do (LLaVA-1.5 crops while it aligns and pads afterwards).
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts

TOWERS = frozenset({"side", "patch", "class_token"})  # what the tower's own files say
MODELS = frozenset({"strategy"})  # what the model's configuration says for good

Layout = TypeVar("Layout")


def settings_of(family: Any, parts: ModelParts, stage_image: Mapping[str, Any] | None = None) -> Any:
    """The settings that a recipe's parts imply, changed by ``parts.image``, then by the ``image`` of a stage.

    Args:
        stage_image: of one stage of training; None for the finished model.

    Raises:
        UserError: a tower that does not fit, or a change that the family cannot make.
    """
    settings = changed(family.settings(parts), parts.image, "model.image")
    if stage_image is None:
        family.configs(settings)  # raises for a layout that transformers could not be told of
        return settings
    return of_stage(settings, stage_image, "image of a stage of training")


def of_stage(settings: Layout, image: Mapping[str, Any], where: str) -> Layout:
    """The settings of a model, or of a checkpoint to start from, as one stage of training changes them.

    Raises:
        UserError: as ``changed``; or the change would need another model.
    """
    for name in image.keys() & MODELS:
        raise UserError(f"{name} cannot differ from stage to stage", f"{where}: {name}", "write it in image of [model]")
    return changed(settings, image, where)


def changed(settings: Layout, image: Mapping[str, Any], where: str) -> Layout:
    """The settings with those that ``image`` names set anew.

    Args:
        image: as a recipe says it; lists are taken for tuples.
        where: the dotted place of ``image`` in the recipe, for errors.

    Raises:
        UserError: a name that is no setting or is the tower's, or a value of another type or that makes no layout.
    """
    hints = get_type_hints(type(settings))
    there = [field.name for field in fields(settings) if field.name not in TOWERS]  # type: ignore[arg-type]
    for name in image:
        if name in TOWERS & hints.keys():
            fix = f"name another tower; settings: {', '.join(there)}"
            raise UserError(f"{name} is the tower's, no recipe changes it", f"{where}: {name}", fix)
        if name not in there:
            near = get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(
                f"this family has no image setting {name!r}", f"{where}: {name}", f"{hint}settings: {', '.join(there)}"
            )
    values = {name: _checked(value, hints[name], f"{where}: {name}") for name, value in image.items()}
    made = replace(settings, **values)  # type: ignore[type-var]
    _check(made, where)
    return made


def _checked(value: Any, hint: Any, where: str) -> Any:
    """The value, lists as tuples; raises ``UserError`` where it is of another type."""
    try:
        return TypeAdapter(hint).validate_python(_frozen(value), strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise UserError(f"{value!r} does not fit: {message}", where, "write a value of that kind") from error


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _check(settings: Any, where: str) -> None:
    """Raises ``UserError`` for values that are each of their type and together no layout."""
    most, least = getattr(settings, "max_tiles", 1), getattr(settings, "min_tiles", 1)
    if not 1 <= least <= most:
        what = f"at least {least} and at most {most} tiles"
        raise UserError(what, where, "write 1 or more as min_tiles, and no less as max_tiles")
    for pair in getattr(settings, "pinpoints", ()):
        if any(extent < settings.side or extent % settings.side for extent in pair):
            what = f"a canvas of {pair[0]} x {pair[1]} pixels holds no whole tiles of {settings.side}"
            raise UserError(what, f"{where}: pinpoints", f"write multiples of {settings.side}: [[height, width], ...]")
    if not all(value > 0 for value in settings.std):
        raise UserError("a standard deviation is not above 0", f"{where}: std", "write the tower's own")
    for name in ("frame_label", "image_label"):
        _check_label(getattr(settings, name, ""), f"{where}: {name}")


def _check_label(label: str, where: str) -> None:
    """Raises ``UserError`` where a label has no single place for its number."""
    try:
        fits = label == "" or label.format(1) != label.format(2)
    except (IndexError, KeyError, ValueError):
        fits = False
    if not fits:
        raise UserError(f"{label!r} has no place for a number", where, "write {} where the number stands: 'Frame-{}: '")
