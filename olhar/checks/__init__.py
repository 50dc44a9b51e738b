"""One property of a sample a file. Each holds ``check(sample, parent, language) -> Iterator[Finding]``.

``parent`` is the sample before translation, or None: then checks that compare with it have nothing to say.
``language`` is the sample's. A finding of severity ``error`` rejects the sample; nothing is ever repaired.

A check that remembers earlier samples, or has thresholds, holds ``start`` instead, which returns such a function.
The names of its thresholds are the keywords of ``start``, their defaults the defaults. A check that needs more
than olhar installs says in ``INSTALL`` by which command, and looks at nothing unless a recipe names it.
"""

import inspect
from collections.abc import Mapping

from olhar.checks._check import Check
from olhar.core import choices
from olhar.core.errors import UserError

__all__ = ["Check", "open_check", "thresholds_of", "usual"]


def usual() -> list[str]:
    """The names of the checks that need nothing installed."""
    return [name for name in choices.names("checks") if not hasattr(choices.choose("checks", name), "INSTALL")]


def open_check(name: str, thresholds: Mapping[str, float] | None = None) -> Check:
    """The named check, ready to look at a first sample.

    Raises ``UserError`` for an unknown name or threshold, and where a package that the check needs is missing.
    """
    module, known, given = choices.choose("checks", name), thresholds_of(name), dict(thresholds or {})
    if unknown := sorted(given.keys() - known.keys()):
        raise UserError(
            f"the check {name!r} has no threshold {unknown[0]!r}",
            f"check.thresholds.{name}",
            f"it has: {', '.join(known)}" if known else "it has none: remove the line",
        )
    check: Check = module.start(**given) if hasattr(module, "start") else module.check
    return check


def thresholds_of(name: str) -> dict[str, float]:
    """The thresholds that a recipe may set for a check, with their defaults."""
    module = choices.choose("checks", name)
    taken = inspect.signature(module.start).parameters if hasattr(module, "start") else {}
    return {each.name: each.default for each in taken.values()}
