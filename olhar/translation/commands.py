"""``olhar translate`` on a file: what a command line says becomes settings, what was done a text."""

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from olhar.core.errors import UserError
from olhar.core.store import read_json
from olhar.translation import estimate as estimates
from olhar.translation.engines import opened
from olhar.translation.passes import Progress, Settings
from olhar.translation.policies import Policies
from olhar.translation.work import MANIFEST, beside, translate_file


@dataclass(frozen=True, slots=True)
class Task:
    """What a person asks for: from which file and language into which, by which engine, with which cache."""

    given: Path
    output: Path
    source: str
    target: str
    engine: str
    options: Mapping[str, Any]
    cache: Path


def task(
    given: Path,
    output: Path | None,
    source: str,
    to: str | None,
    engine: str | None,
    options: Sequence[str],
    cache: Path,
) -> Task:
    """The task, if all of it was said. ``options`` are ``name=value`` with TOML values; a bare word is a string."""
    for name, value in (("OUTPUT", output), ("--to", to), ("--engine", engine)):
        if value is None:
            example = "olhar translate in.json out.json --to pt --engine apertium"
            raise UserError(f"{name} is missing", "olhar translate", f"for example: {example}")
    assert output is not None and to is not None and engine is not None
    return Task(given, output, source, to, engine, dict(map(_option, options)), cache)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text!r} is not name=value", "--option", "write --option model=NAME")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value


def policies(file: Path | None, quotes: str | None, answers: str | None) -> Policies:
    """The policies in a TOML file, with what the command line says of the default one."""
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UserError(f"this is no TOML file: {error}", str(file), "correct the file or its name") from error
    said = {name: value for name, value in (("quotes", quotes), ("answers", answers)) if value is not None}
    tree["default"] = tree.get("default", {}) | said
    try:
        return Policies(**tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = str(file) if file else "--quotes, --answers"
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where, "see Policy") from error


def translated(asked: Task, settings: Settings, progress: Progress) -> dict[str, Any]:
    """Translate the file; what was done, as its manifest says it."""
    engine = opened(asked.engine, asked.options, asked.source, asked.target)
    with closing(engine):
        translate_file(asked.given, asked.output, engine, asked.cache, settings, progress)
    return {"output": str(asked.output), **read_json(beside(asked.output, MANIFEST))}


def estimated(asked: Task, settings: Settings, progress: Progress) -> dict[str, Any]:
    """What translating the file would take."""
    engine = opened(asked.engine, asked.options, asked.source, asked.target)
    with closing(engine):
        found = estimates.estimate(asked.given, asked.output, engine, asked.cache, settings, progress=progress)
    return {"estimate": asdict(found) | {"known": found.known}}


def told(done: Mapping[str, Any]) -> str:
    """The same for a person, a line each."""
    if "estimate" in done:
        return "\n".join(_estimate_lines(done["estimate"]))
    counts, engine = done["counts"], done["engine"]
    lines = [f"{done['output']}: {counts.get('records', 0):,} records by {engine['name']} ({engine['licence']})"]
    if engine["non_commercial"]:
        lines.append("this engine's weights forbid commercial use; say so where you publish what they made")
    lines += [f"  {name}: {count:,}" for name, count in counts.items()]
    lines += [f"  flagged, {reason}: {count:,}" for reason, count in done["flags"].items()]
    spent = done["spent"]
    lines.append(f"  spent: {spent['money']:.2f} {spent['currency']} in {done['seconds']:.1f} s")
    lines.append(f"look at it: olhar review {done['output']} --html review.html")
    return "\n".join(lines)


def _estimate_lines(found: Mapping[str, Any]) -> list[str]:
    spent = f"{found['spent']:.2f} {found['currency']}"
    hours = "unknown" if found["hours"] is None else f"{found['hours']:.2f} hours"
    return [
        f"{found['records']:,} records, {found['texts']:,} texts",
        f"{found['segments']:,} segments, {found['unique']:,} distinct, {found['known']:,} known already",
        f"{found['asked']:,} to ask for: {found['characters']:,} characters",
        f"probe of {found['probed']:,} segments: {found['probe_seconds']:.1f} s, {spent}",
        f"the rest: {hours}, {found['money']:.2f} {found['currency']}",
    ]
