"""Opening an engine by its name, as a recipe or a command line says it."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.languages import language
from olhar.translators import EngineOptions, Translator


def engine_options(name: str, options: Mapping[str, Any]) -> EngineOptions:
    """The options of the engine called ``name``; raises ``UserError`` for ones that it does not know."""
    known = choose("translators", name).Options
    try:
        return cast(EngineOptions, known(**options))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or name
        fix = f"options of {name}: {', '.join(known.model_fields) or 'none'}"
        raise UserError(f"{place}: {first['msg']}", f"options of the engine {name}", fix) from error


def opened(name: str, options: Mapping[str, Any], source: str, target: str) -> Translator:
    """An engine for one direction; codes may name a variety (``pt-BR``).

    Raises ``UserError`` for an unknown engine, option or language, and for what the engine itself refuses.
    """
    chosen = engine_options(name, options)
    for tag in (source, target):
        language(tag.partition("-")[0])
    return cast(Translator, choose("translators", name).open(chosen, source, target))
