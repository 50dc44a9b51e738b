"""A data set becomes the community's: every sentence translated once, checked, put back, written whole."""

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from olhar import __version__
from olhar.core.errors import UserError
from olhar.core.store import Stopwatch, digest_path, disk_errors, state, write_json, writing
from olhar.translation.cache import Cache, Spent
from olhar.translation.editing import LEFT, LEFT_OUT, Flag
from olhar.translation.passes import Progress, Settings, Work, direction_of, silent
from olhar.translation.records import record_file, refuse_existing, writing_like
from olhar.translation.wanted import Wanted
from olhar.translators import Translator

MANIFEST = ".manifest.json"  # behind the output's name
FLAGGED = ".flagged.jsonl"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. ``counts`` by name; ``reasons``: how often each was flagged; ``spent``: in this run, and
    ``spent_before`` in earlier runs of the same work."""

    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    spent: Spent
    spent_before: Spent
    seconds: float

    @property
    def whole(self) -> bool:
        """Whether nothing was left out or left in the source language."""
        return not any(self.counts.get(f"flags: {outcome}") for outcome in (LEFT, LEFT_OUT))


def translate_file(
    given: Path,
    output: Path,
    translator: Translator,
    cache: Path,
    settings: Settings,
    progress: Progress = silent,
    make: Callable[..., Work] = Work,
) -> Outcome:
    """Translate the records of a file into another of the same form.

    Beside ``output``: ``….flagged.jsonl``, a line for everything to look at, and ``….manifest.json``, what was done
    with what. ``output`` itself appears last. ``make``: what asks the engine, where it is not this process.
    Raises ``UserError`` for a file that cannot be read or is there already, for an engine that stopped, a limit of
    cost that was reached: what was translated is kept in ``cache``.
    """
    refuse_existing(output)
    file, watch, before = record_file(given), Stopwatch(), state(str(given))
    subject = digest_path(given)
    with closing(Wanted(output)) as wanted, closing(open_cache(cache, translator)) as kept:
        work = make(file, subject, translator, kept, wanted, settings, progress)
        work.gather()
        work.ask()
        with writing_like(file, output) as out:
            with writing(beside(output, FLAGGED)) as flagged:
                for record, flags in work.results():
                    if record is not None:
                        out.write(record)
                    with disk_errors(beside(output, FLAGGED)):
                        flagged.writelines(flag_line(flag) for flag in flags)
            if state(str(given)) != before:
                raise UserError("the file changed while it was translated", str(given), "give the same command again")
            hashed = out.finish()
            outcome = _outcome(work, watch.seconds)
            files = {"input": str(given), "input_hash": subject, "output_sha256": hashed, "cache": str(cache)}
            write_json(beside(output, MANIFEST), files | manifest(translator, settings, outcome))
    return outcome


def manifest(translator: Translator, settings: Settings, outcome: Outcome) -> dict[str, Any]:
    """What provenance says of a translated data set."""
    about = translator.about
    return {
        "source": settings.source,
        "target": settings.target,
        "engine": {**asdict(about), "deterministic": translator.deterministic},
        "direction": asdict(direction_of(translator, settings)),
        "keeps": translator.keeps,
        "options": dict(settings.options),
        "provenance_key": settings.provenance_key,
        "policies": settings.policies.model_dump(mode="json"),
        "counts": dict(outcome.counts),
        "flags": dict(outcome.reasons),
        "spent": {**asdict(outcome.spent + outcome.spent_before), "currency": translator.limits.currency},
        "seconds": outcome.seconds,
        "version": __version__,
    }


def open_cache(path: Path, translator: Translator) -> Cache:
    """The cache, as careful as what the engine makes is dear."""
    return Cache(path, paid=translator.limits.price > 0)


def beside(output: Path, ending: str) -> Path:
    return output.with_name(output.name + ending)


def flag_line(flag: Flag) -> str:
    return json.dumps(asdict(flag), ensure_ascii=False) + "\n"


def _outcome(work: Work, seconds: float) -> Outcome:
    return Outcome(dict(work.counts), dict(work.reasons), work.spent, work.spent_before, seconds)
