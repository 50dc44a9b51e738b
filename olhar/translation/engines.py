"""Opening an engine by its name, as a recipe or a command line says it."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from olhar.core.choices import choose, names
from olhar.core.errors import UserError
from olhar.languages import language
from olhar.translation.policies import Policies
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


def instructed(name: str, options: Mapping[str, Any], target: str, policies: Policies) -> tuple[Mapping[str, Any], str]:
    """The options of an engine and the target's code, with the formality and the variety that policies ask for.

    An engine that can be told of formality says in ``FORMALITY`` which value of its option stands for which.
    Raises ``UserError`` where the engine cannot be told, or the two say different things.
    """
    if policies.formality:
        words: Mapping[str, str] = getattr(choose("translators", name), "FORMALITY", {})
        if policies.formality not in words:
            able = [known for known in names("translators") if hasattr(choose("translators", known), "FORMALITY")]
            what = f"the engine {name} cannot be told to be {policies.formality}"
            raise UserError(what, "policies: formality", f"leave it out, or take one of: {', '.join(able)}")
        wanted = words[policies.formality]
        if options.get("formality", wanted) != wanted:
            what = f"the policies say {policies.formality}, and the engine's option {options['formality']}"
            raise UserError(what, "formality", "say it in one of the two")
        options = {**options, "formality": wanted}
    code, _, variety = target.partition("-")
    if policies.variety and variety not in ("", policies.variety):
        what = f"the policies say {policies.variety}, and the target is {target}"
        raise UserError(what, "policies: variety", "say it in one of the two")
    return options, f"{code}-{policies.variety}" if policies.variety else target


def opened(name: str, options: Mapping[str, Any], source: str, target: str) -> Translator:
    """An engine for one direction; codes may name a variety (``pt-BR``).

    Raises ``UserError`` for an unknown engine, option or language, and for what the engine itself refuses.
    """
    chosen = engine_options(name, options)
    for tag in (source, target):
        language(tag.partition("-")[0])
    return cast(Translator, choose("translators", name).open(chosen, source, target))
