"""Languages as services spell them."""

from olhar.core.errors import UserError
from olhar.translators._codes import engine_code, parsed


def service_code(engine: str, tag: str) -> str:
    """``pt`` -> what the service calls Portuguese; a variety (``pt-PT``) as it stands."""
    return tag if parsed(tag)[1] else engine_code(engine, tag)


def not_listed(engine: str, code: str, listed: list[str]) -> UserError:
    """The error for a language that a service does not list; names what it has of the same language, or all."""
    same = [one for one in listed if parsed(one)[0].lower() == parsed(code)[0].lower()]
    return UserError(
        f"{engine} does not translate {code}",
        f"it lists {', '.join(same or sorted(listed)) or 'nothing'}",
        "take another variety or another engine",
    )
