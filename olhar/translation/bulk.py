"""One data set, several machines: deduplicated first, asked for in shards, merged once into the cache.

Two ways. On a Ray cluster, one process takes the records apart, workers answer shards of what the cache does not
know, and that process alone writes. Without Ray, each machine answers a share, and one merges (``sharing``). Either
way the state is shard files (``shards``): a lost worker costs one shard, and nothing that a shard file holds is asked
for again. ``translate_file`` writes the output from the cache, so its bytes are those of a run on one machine.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from math import ceil, inf
from pathlib import Path
from typing import Any

from olhar.core.errors import UserError
from olhar.core.store import disk_errors
from olhar.translation import shards
from olhar.translation._ray import Errand, Pool, pool
from olhar.translation.passes import Progress, Settings, Work, silent
from olhar.translation.records import record_file, refuse_existing
from olhar.translation.wording import characters
from olhar.translation.work import Outcome, beside, translate_file
from olhar.translators import Segment, Translator

WINDOW = 1000  # shards handed to Ray at a time, so that memory does not grow with the data set
SHARDS_EACH = 4  # for a worker at least, so that none is idle long before the others
ROUNDING = 1 + 1e-9  # a limit of cost that is just enough is enough


@dataclass(frozen=True, slots=True)
class Workers:
    """Who asks the engine: threads of this process, or workers of a Ray cluster; ``count`` None for as many as fit."""

    ray: bool
    count: int | None


HERE = Workers(False, None)  # in this process, as many calls as the engine allows


def workers(text: str) -> Workers:
    """What ``--workers 4``, ``--workers ray`` or ``--workers ray:8`` means. Raises ``UserError``."""
    match = re.fullmatch(r"(ray)(?::([1-9]\d*))?|([1-9]\d*)", text)
    if match is None:
        fix = "a number of calls side by side; or ray, or ray:8 for eight workers of a Ray cluster"
        raise UserError(f"{text!r} says no number of workers", "--workers", fix)
    count = match[2] or match[3]
    return Workers(match[1] is not None, int(count) if count else None)


def translate_on_ray(
    given: Path,
    output: Path,
    translator: Translator,
    opens: Callable[[str, str], Translator],
    cache: Path,
    settings: Settings,
    count: int | None = None,
    progress: Progress = silent,
) -> Outcome:
    """``translate_file`` with ``count`` workers of a Ray cluster (None: one on each GPU, else on each core).

    ``translator`` says what the engine is; the workers open their own with ``opens`` (source, target), which travels to
    them: ``partial(opened, name, options)``. Shard files lie in ``OUTPUT.shards``, written by the workers where they
    see that folder. Raises ``UserError`` as ``translate_file`` does, and where Ray or its workers fail; then what was
    answered is kept.
    """
    refuse_existing(output)
    record_file(given)  # what is wrong with it is told before a cluster begins
    folder = beside(output, shards.FOLDER)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with pool(count) as found:

        def make(*work: Any) -> Work:
            made = _OnRay(*work)
            made.pool = found
            made.errand = Errand(opens, made.direction, settings, str(folder.absolute()), found.count)
            return made

        return translate_file(given, output, translator, cache, settings, progress, make)


class _OnRay(Work):
    """Work whose questions go to the workers of a cluster; this process alone keeps the answers, as they come."""

    pool: Pool
    errand: Errand

    def ask(self) -> None:
        """First what shard files hold, then the workers."""
        failures = not self.settings.retry_failed
        shards.absorb(Path(self.errand.folder), self._cache, self.job, self.direction, failures)
        super().ask()

    def call(self, segments: Iterable[Segment], count: int, batch: int | None = None) -> None:
        """Ask for these in shards, the longest first, so that no worker is left with them at the end."""
        cut = shards.cut(segments, ceil(count / (SHARDS_EACH * self.pool.count)))
        most, done = self._most_for_a_character(), 0
        while window := list(islice(cut, WINDOW)):
            refused: UserError | None = None
            priced = [(some, most * sum(map(characters, some))) for some in reversed(window)]
            for answer in self.pool.run(self.errand, priced):
                self.spent += shards.take(self._cache, self.job, answer.shard)
                refused = refused or answer.refused
                done += len(answer.shard.rows)
                self._progress("translating", done, count)
            if refused is not None:
                raise refused

    def _most_for_a_character(self) -> float:
        """What is left of the limit, spread over all that is asked for: no worker needs to know of the others."""
        if self.settings.max_cost is None:
            return inf
        left = max(0.0, self.settings.max_cost - (self.spent_before + self.spent).money)
        return left / max(1, self._wanted.asked_count()[1]) * ROUNDING
