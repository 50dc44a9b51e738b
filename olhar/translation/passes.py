"""Two passes over the records of a data set, neither of which holds more than a few of them.

The first takes them apart and notes each segment once, on disk. Engines are asked for what the cache does not know,
in the order of length and text. The second pass puts records together from the cache alone. So the output depends on
records and cache and on nothing else, a kill at any moment loses no answer that came back, and a second run asks for
nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from olhar.core.errors import UserError
from olhar.core.store import digest
from olhar.languages import language
from olhar.sources._json_rows import Row
from olhar.translation.cache import Cache, Direction, Entry, Spent
from olhar.translation.calls import Answered, Caller, batches
from olhar.translation.editing import LEFT, LEFT_OUT, Editor, Flag, Taken
from olhar.translation.leaves import KNOWN, BadRecord, UnknownShape, record_id
from olhar.translation.pace import Patience, Purse
from olhar.translation.policies import Policies
from olhar.translation.resolving import Resolved, Resolver
from olhar.translation.wanted import Wanted
from olhar.translation.wording import segment_to_json
from olhar.translators import Failure, Segment, Translator

AT_ONCE = 200  # records put together at a time
SWEEPS = 3  # first method; second method, and what did not come; what did not come of the second

Progress = Callable[[str, int, int | None], None]  # what is being done, how far, of how much


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a data set is translated.

    source, target: language codes, with a variety where one is meant (``pt-BR``). options: what the engine was opened
    with, as far as it changes its words. provenance_key: the key of foreign records that gets their provenance.
    batch, workers: fewer than the engine allows. max_cost: in its currency, for all runs of this work together.
    retry_failed: ask again for segments that the engine refused in an earlier run.
    """

    source: str
    target: str
    policies: Policies
    options: Mapping[str, Any] = field(default_factory=dict)
    provenance_key: str | None = None
    batch: int | None = None
    workers: int | None = None
    max_cost: float | None = None
    patience: Patience = field(default_factory=Patience)
    retry_failed: bool = False


class Work:
    """One data set on its way. ``rows`` is read twice. ``subject``: what names the data set in the ledger of costs."""

    def __init__(
        self,
        rows: Iterable[Row],
        subject: str,
        translator: Translator,
        cache: Cache,
        wanted: Wanted,
        settings: Settings,
        progress: Progress = silent,
    ) -> None:
        self._rows, self._translator, self._cache, self._wanted = rows, translator, cache, wanted
        self.settings, self._progress = settings, progress
        source, target = (language(tag.partition("-")[0]) for tag in (settings.source, settings.target))
        self.direction = direction_of(translator, settings)
        self.job = digest([subject, self.direction.key("").hex()])
        self.editor = Editor(source, target, self.direction, settings.policies, settings.provenance_key)
        self._resolver = Resolver(cache, self.direction, translator.keeps, source, target)
        self._recognised = False  # whether a record of a known shape was seen
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.spent, self.spent_before = Spent(), cache.spent(self.job)
        if settings.retry_failed:
            cache.forget_failures(self.direction)

    def gather(self) -> None:
        """First pass: note every segment that is needed.

        Raises ``UserError`` for records of no known shape, and for a file that cannot be read to its end.
        """
        for row in self._rows:
            self.counts["rows"] += 1
            if row.stopped_at is not None:
                what = f"nothing can be read behind row {row.number}: {row.problem}"
                fix = "fetch the file again, or mend that row; in JSON lines the rows behind a broken one can be read"
                raise UserError(what, f"row {row.number}, byte {row.stopped_at:,}", fix)
            taken = self._taken(row)
            if isinstance(taken, Taken):
                self.counts["records"] += 1
                self.counts["texts"] += len(taken.texts)
                segments = list(taken.segments())
                self.counts["segments"] += len(segments)
                self._wanted.want(segments)
            if self.counts["rows"] % AT_ONCE == 0:
                self._progress("taking apart", self.counts["rows"], None)
        self.counts["unique segments"] = self._wanted.count()

    def plan(self) -> tuple[int, int]:
        """Find out what the engine must be asked for: segments and characters."""
        self._wanted.nothing_asked()
        done = 0
        for chunk in self._wanted.chunks():
            found = self._resolver.many(chunk)
            self._wanted.ask(part for what in found.values() for part in what.ask)
            done += len(chunk)
            self._progress("checking", done, self.counts["unique segments"])
        return self._wanted.asked_count()

    def ask(self) -> None:
        """Have everything translated that can be. Raises ``UserError`` where work must stop; answers are kept."""
        for sweep in range(SWEEPS):
            count, _ = self.plan()
            if sweep == 0:
                self.counts["segments asked for"] = count
            if count == 0:
                break
            self._wanted.all_settled()
            self.call(self._wanted.asked(), count)
        self.counts["segments put off"] = self._wanted.unsettled_count()

    def call(self, segments: Iterable[Segment], count: int, batch: int | None = None) -> None:
        """Ask the engine for these and keep each answer as it comes."""
        limits, settings = self._translator.limits, self.settings
        before = (self.spent_before + self.spent).money
        purse = Purse(limits, settings.max_cost, before, _measured(self._translator))
        caller = Caller(self._translator, settings.patience, purse, settings.workers)
        done = 0
        for answered in caller.run(batches(segments, limits, batch or settings.batch)):
            self._keep(answered)
            done += len(answered.segments)
            self._progress("translating", done, count)

    def results(self) -> Iterator[tuple[Any, list[Flag]]]:
        """Second pass: every record with its translations, None for a row that is left out, and what to look at."""
        rows = iter(self._rows)
        done = 0
        while some := list(islice(rows, AT_ONCE)):
            taken = [self._taken(row) for row in some]
            found = self._found(segment for one in taken if isinstance(one, Taken) for segment in one.segments())
            for row, one in zip(some, taken, strict=True):
                if isinstance(one, Flag):
                    self._count_flags([one])
                    yield (None if one.outcome == LEFT_OUT else row.value), [one]
                    continue
                if one.policy.skip != "no":
                    self.counts[f"records skipped: {one.policy.skip}"] += 1
                if one.policy.skip == "omit":
                    yield None, []
                    continue
                self.counts.update(f"segments by {found[segment].method}" for segment in one.segments())
                flags = list(self.editor.restored(one, found, self.counts))
                self._count_flags(flags)
                yield one.record, flags
            done += len(some)
            self._progress("writing", done, self.counts["rows"])

    def _found(self, segments: Iterable[Segment]) -> dict[Segment, Resolved]:
        """What becomes of these; where an answer is still missing, with the reason that the engine gave."""
        found = self._resolver.many(segments)
        for segment, what in found.items():
            if what.ask:
                given = [self._wanted.reason(part) for part in what.ask]
                reasons = what.reasons + tuple(reason for reason in given if reason)
                found[segment] = replace(what, reasons=tuple(dict.fromkeys(reasons)))
        return found

    def _taken(self, row: Row) -> Taken | Flag:
        """The record taken apart, or the flag of one that goes through as it is or cannot be read."""
        if row.problem is not None:
            return Flag(row.number, None, LEFT_OUT, (row.problem,))
        try:
            taken = self.editor.taken(row)
        except UnknownShape as unknown:
            if not self._recognised:
                raise UserError(
                    str(unknown),
                    f"row {row.number}",
                    f"give records with one of {', '.join(KNOWN)}; see olhar/translation/leaves.py",
                ) from unknown
            return Flag(row.number, record_id(row.value), LEFT, (str(unknown),))
        except BadRecord as bad:
            self._recognised = True
            return Flag(row.number, record_id(row.value), LEFT, (str(bad),))
        self._recognised = True
        return taken

    def _keep(self, answered: Answered) -> None:
        """Commit what came; note what did not."""
        rows: list[tuple[str, Entry]] = []
        unsettled: list[tuple[Segment, str]] = []
        for segment, result in zip(answered.segments, answered.results, strict=True):
            if isinstance(result, Failure) and result.passing:
                unsettled.append((segment, result.reason))
            elif isinstance(result, Failure):
                rows.append((segment_to_json(segment), Entry(None, result.reason)))
            elif result is not None:
                rows.append((segment_to_json(segment), Entry(result)))
        self._cache.put_many(self.direction, rows, self.job, answered.spent)
        self._wanted.leave_unsettled(unsettled)
        self.spent += answered.spent

    def _count_flags(self, flags: Iterable[Flag]) -> None:
        for flag in flags:
            self.counts[f"flags: {flag.outcome}"] += 1
            self.reasons.update(reason.partition(":")[0] for reason in flag.reasons)


def direction_of(translator: Translator, settings: Settings) -> Direction:
    """What this engine's translations are cached under."""
    about = translator.about
    return Direction(about.name, about.version, about.licence, settings.source, settings.target)


def _measured(translator: Translator) -> Callable[[], float] | None:
    """What tells the money spent so far, of an engine that knows it better than its characters."""
    return (lambda: float(translator.spent)) if hasattr(translator, "spent") else None
