"""What the reply of a service means: an answer, a failure that may pass, or an error that a person must mend."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from olhar.core.errors import UserError
from olhar.translators import Failure

LONGEST_MESSAGE = 200  # characters of a service's own words in a reason
MESSAGES = ("error", "message", "detail", "msg")  # keys under which services say what went wrong
CODES = frozenset({"code", "type", "reason", "status", "param"})  # keys of the words that programs read
MAY_PASS = frozenset({408, 425, 429})  # of the statuses below 500
AGAIN = "then give the same command again: what is translated already is kept"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a service.

    value: its JSON; None where it is none.
    message: the service's own words about an error, one short line without the key.
    codes: the words it names the error with (``invalid_api_key``, ``dailyLimitExceeded``).
    wait: seconds it asks to wait, if it does.
    """

    status: int
    value: Any
    message: str
    codes: frozenset[str]
    wait: float | None


def read_reply(status: int, headers: Message, body: bytes, secret: str) -> Reply:
    """``secret`` is struck out of what the service says."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        value = None
    told = "" if status < 300 else _message(value)
    codes = frozenset() if status < 300 else frozenset(_codes(value))
    return Reply(status, value, one_line(told.replace(secret, "***") if secret else told), codes, _wait(headers))


def judged(reply: Reply, where: str, variable: str) -> Reply | Failure:
    """The reply if it is an answer, else why not. ``variable``: where the key is from; empty if none was sent.

    Raises ``UserError`` for what no later request can mend: the key, the quota, the address.
    """
    said = f"HTTP {reply.status}" + (f": {reply.message}" if reply.message else "")
    if reply.status < 300:
        return reply if reply.value is not None else Failure("the answer is not JSON", passing=True)
    if reply.status < 400:
        raise UserError(f"the service sends us elsewhere ({said})", where, "give the final address as base_url")
    if reply.status in (401, 403):
        raise refused_key(reply, where, variable)
    if reply.status in (402, 456):
        raise over_quota(said, where)
    if reply.status in (404, 405):
        raise UserError(f"the service does not know what was asked ({said})", where, "check base_url and model")
    passing = reply.status >= 500 or reply.status in MAY_PASS
    return Failure(said, passing, reply.wait if passing else None)


def refused_key(reply: Reply, where: str, variable: str) -> UserError:
    """The error for a key that is missing or refused; of a 401 nothing is quoted, since services quote keys there."""
    said = f": {reply.message}" if reply.message and reply.status != 401 else ""
    if not variable:
        return UserError(
            f"the service wants a key (HTTP {reply.status}{said})",
            where,
            "put the key into an environment variable and name that in the option key_variable",
        )
    return UserError(
        f"the service refuses the key (HTTP {reply.status}{said})",
        where,
        f"put a valid key into the environment variable {variable}, {AGAIN}",
    )


def over_quota(said: str, where: str) -> UserError:
    return UserError(f"over quota ({said})", where, f"raise the limit or wait for the next period, {AGAIN}")


def one_line(text: str) -> str:
    """At most 200 printable characters on one line."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 3] + "..."


def _message(value: Any) -> str:
    while not isinstance(value, str):
        if isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, Mapping):
            value = next((value[name] for name in MESSAGES if value.get(name)), "")
        else:
            return ""
    return value


def _codes(value: Any) -> Iterator[str]:
    inside = [value]
    while inside:
        here = inside.pop()
        if isinstance(here, Mapping):
            yield from (word for name, word in here.items() if name in CODES and isinstance(word, str))
            inside += here.values()
        elif isinstance(here, list):
            inside += here


def _wait(headers: Message) -> float | None:
    """Seconds of ``Retry-After``, which is a number or a date (RFC 9110, 10.2.3); None where it is neither.

    A date is compared with the service's own clock if it tells the time.
    """
    asked = (headers.get("Retry-After") or "").strip()
    try:
        seconds = float(asked)
    except ValueError:
        then, now = _date(asked), _date(headers.get("Date") or "") or datetime.now(UTC)
        seconds = (then - now).total_seconds() if then else math.nan
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
