"""``olhar translate`` on a file: what a command line says becomes settings, what was done a text."""

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from olhar.core.errors import UserError
from olhar.core.store import read_json
from olhar.translation import bulk, engines, sharing
from olhar.translation import estimate as estimates
from olhar.translation.editing import LEFT, LEFT_OUT
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


def instructed(asked: Task, chosen: Policies) -> Task:
    """The task with what policies ask of its engine and of its target."""
    options, target = engines.instructed(asked.engine, asked.options, asked.target, chosen)
    return replace(asked, options=options, target=target)


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
        raise UserError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where, "see docs/translate.md, Policies"
        ) from error


def at_most_one(given: Mapping[str, Any]) -> None:
    """Raises ``UserError`` where two options are given of which each says another thing to do."""
    chosen = [name for name, value in given.items() if value]
    if len(chosen) > 1:
        raise UserError("these options exclude each other", ", ".join(chosen), "leave all but one out")


def done(
    asked: Task,
    settings: Settings,
    progress: Progress,
    workers: bulk.Workers = bulk.HERE,
    shards: Path | None = None,
    share: str | None = None,
    estimate: bool = False,
) -> dict[str, Any]:
    """Whichever of the three is asked for: what it would take, one machine's share, or the whole translation."""
    if estimate:
        return estimated(asked, settings, progress)
    if share:
        return share_translated(asked, settings, progress, share)
    return translated(asked, settings, progress, workers, shards)


def translated(
    asked: Task, settings: Settings, progress: Progress, workers: bulk.Workers = bulk.HERE, shards: Path | None = None
) -> dict[str, Any]:
    """Translate the file, here or on a cluster, or put it together from shard files; what its manifest says then."""
    engine = opened(asked.engine, asked.options, asked.source, asked.target)
    given = (asked.given, asked.output, engine)
    with closing(engine):
        if shards is not None:
            sharing.merge(shards, *given, asked.cache, settings, progress)
        elif workers.ray:
            opens = partial(opened, asked.engine, asked.options)
            bulk.translate_on_ray(*given, opens, asked.cache, settings, workers.count, progress)
        else:
            translate_file(*given, asked.cache, settings, progress)
    return {"output": str(asked.output), **read_json(beside(asked.output, MANIFEST))}


def share_translated(asked: Task, settings: Settings, progress: Progress, share: str) -> dict[str, Any]:
    """Translate one machine's share of the segments into shard files."""
    engine = opened(asked.engine, asked.options, asked.source, asked.target)
    with closing(engine):
        part = sharing.share(share)
        done = sharing.translate_share(asked.given, asked.output, engine, asked.cache, settings, part, progress)
    return {"share": share, "counts": dict(done.counts), "spent": asdict(done.spent)}


def left_in_source(done: Mapping[str, Any]) -> int:
    """How many records, texts and sentences stay in the source language or were left out."""
    counts = done.get("counts", {})
    return sum(counts.get(f"flags: {outcome}", 0) for outcome in (LEFT, LEFT_OUT))


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
    if "share" in done:
        return "\n".join([f"share {done['share']}:", *(f"  {name}: {n:,}" for name, n in done["counts"].items())])
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
