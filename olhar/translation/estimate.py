"""What translating a file will take, before it is begun: segments, hours, money.

Nothing is spent beyond a probe of up to 200 segments that would be asked for anyway; its answers go into the cache.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from olhar.core.store import Stopwatch, digest_path
from olhar.translation.passes import Progress, Settings, Work, silent
from olhar.translation.records import record_file
from olhar.translation.wanted import Wanted
from olhar.translation.wording import characters
from olhar.translation.work import open_cache
from olhar.translators import Limits, Segment, Translator

PROBE = 200  # segments


@dataclass(frozen=True, slots=True)
class Estimate:
    """What there is to do. ``asked`` and ``characters``: what the engine had to be asked for before the probe.

    hours: of what is left after the probe, by the probe's speed and the engine's rate; None without a probe.
    money: of what is left, in ``currency``. spent: by the probe.
    """

    records: int
    texts: int
    segments: int
    unique: int
    asked: int
    characters: int
    probed: int
    probe_seconds: float
    hours: float | None
    money: float
    spent: float
    currency: str

    @property
    def known(self) -> int:
        """Unique segments that the cache, or a person, has translated already."""
        return max(0, self.unique - self.asked)


def estimate(
    given: Path,
    output: Path,
    translator: Translator,
    cache: Path,
    settings: Settings,
    probe: int = PROBE,
    progress: Progress = silent,
) -> Estimate:
    """Take the file apart and time the engine on some of it. ``output``: where it would go; nothing is written there.

    Raises ``UserError`` as ``translate_file`` does.
    """
    file = record_file(given)
    with closing(Wanted(output)) as wanted, closing(open_cache(cache, translator)) as kept:
        work = Work(file, digest_path(given), translator, kept, wanted, settings, progress)
        work.gather()
        asked, length = work.plan()
        chosen = list(_evenly(wanted.asked(), asked, probe))
        workers = max(1, min(translator.limits.concurrent, settings.workers or translator.limits.concurrent))
        batch = -(-len(chosen) // workers) or 1
        watch = Stopwatch()
        work.call(chosen, len(chosen), min(batch, settings.batch or batch))
        seconds = watch.seconds
    tried = sum(map(characters, chosen))
    left = length - tried
    counts = work.counts
    price = translator.limits.price / 1_000_000
    if work.spent.characters and work.spent.money:
        price = work.spent.money / work.spent.characters  # as the engine itself reckons
    return Estimate(
        records=counts["records"],
        texts=counts["texts"],
        segments=counts["segments"],
        unique=counts["unique segments"],
        asked=asked,
        characters=length,
        probed=len(chosen),
        probe_seconds=seconds,
        hours=_hours(left, tried, seconds, asked - len(chosen), translator.limits),
        money=left * price,
        spent=work.spent.money,
        currency=translator.limits.currency,
    )


def _evenly(segments: Iterator[Segment], count: int, most: int) -> Iterator[Segment]:
    """At most this many of them, from the shortest to the longest."""
    chosen = {count * number // most for number in range(most)} if count > most else set(range(count))
    return islice((segment for place, segment in enumerate(segments) if place in chosen), most)


def _hours(left: int, tried: int, seconds: float, segments_left: int, limits: Limits) -> float | None:
    """By the speed of the probe, and not faster than calls may follow."""
    if not tried:
        return 0.0 if not segments_left else None
    by_speed = seconds * left / tried / 3600
    if limits.calls_per_minute is None:
        return by_speed
    calls = -(-segments_left // limits.segments)
    if limits.characters is not None:
        calls = max(calls, -(-left // limits.characters))
    return max(by_speed, calls / limits.calls_per_minute / 60)
