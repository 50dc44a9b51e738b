"""Templates of the reports; a name that a template uses and nobody gives is an error."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def html() -> Environment:
    """For pages: what is put in is escaped."""
    return _environment(autoescape=True)


def markdown() -> Environment:
    """For cards, which end with a line break as text files do."""
    return _environment(autoescape=False, keep_trailing_newline=True)


def _environment(**options: Any) -> Environment:
    loader = PackageLoader("olhar.reports")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options)
