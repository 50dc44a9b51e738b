"""From a direction's language codes (``pt``, ``pt-BR``) to an engine's own."""

from olhar.core.errors import UserError
from olhar.languages import language


def parsed(tag: str) -> tuple[str, str | None]:
    """``pt-BR`` -> ("pt", "BR"); ``pt`` -> ("pt", None)."""
    code, _, variety = tag.partition("-")
    return code, variety or None


def engine_code(engine: str, tag: str) -> str:
    """What ``engine`` calls the language of ``tag``, its variety aside.

    Raises ``UnknownName`` for a language without a file, ``UserError`` for one that the engine does not know.
    """
    code, _ = parsed(tag)
    spoken = language(code)
    if engine not in spoken.engine_codes:
        raise UserError(
            f"{engine} does not translate {spoken.name}",
            f"engine_codes of olhar/languages/{code}.py",
            f"take another engine, or add its code for {spoken.name} there if it knows the language",
        )
    return spoken.engine_codes[engine]
