"""Several machines that share nothing but a folder, or exchange its files: each asks for a share, one merges.

Which share a segment is in depends on the segment alone, and what is to be asked on the folder of shard files alone.
So no two machines ask for the same, whatever their caches know, and nothing that a shard file holds is asked again.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from olhar.core.errors import UserError
from olhar.core.store import Stopwatch, digest, digest_path, read_json, write_json
from olhar.languages import language
from olhar.translation import shards
from olhar.translation.cache import Cache, Spent
from olhar.translation.calls import batches
from olhar.translation.pace import Purse
from olhar.translation.passes import Progress, Settings, Work, _measured, silent
from olhar.translation.records import record_file, refuse_existing
from olhar.translation.resolving import Resolver
from olhar.translation.shards import Absorbed, Shard
from olhar.translation.wanted import Wanted
from olhar.translation.wording import segment_to_json
from olhar.translation.work import Outcome, beside, open_cache, translate_file
from olhar.translators import Segment, Translator


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the segments that one machine asks for: ``number`` (from 1) of ``of``."""

    number: int
    of: int

    @property
    def name(self) -> str:
        return f"share-{self.number}-of-{self.of}"

    def owns(self, key: bytes) -> bool:
        """Whether the segment with this key is in it."""
        return int.from_bytes(key[:8], "big") % self.of == self.number - 1


def share(text: str) -> Share:
    """What ``--shard 3/8`` means. Raises ``UserError``."""
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise UserError(f"{text!r} is no share of the work", "--shard", "say which of how many: --shard 3/8")
    return Share(int(match[1]), int(match[2]))


def translate_share(
    given: Path,
    output: Path,
    translator: Translator,
    cache: Path,
    settings: Settings,
    part: Share,
    progress: Progress = silent,
) -> Outcome:
    """Ask for one share of what ``given`` needs and leave the answers in ``OUTPUT.shards``; ``output`` is not written.

    ``cache`` is this machine's own. A sentence whose translation failed a check is asked for in pieces once the folder
    holds all of its parts: by the same command given again after the other shares, else where they are merged. Rate
    and ``max_cost`` are divided by the number of shares. Raises ``UserError`` as ``translate_file`` does.
    """
    refuse_existing(output)
    watch, own = Stopwatch(), output.with_name(f"{output.name}.{part.name}")
    file, subject = record_file(given), digest_path(given)
    with (
        closing(Wanted(own)) as wanted,
        closing(open_cache(cache, translator)) as kept,
        _emptied(cache.with_name(f"{cache.name}.{part.name}.partial")) as known,
    ):
        work = _OfShare(file, subject, translator, kept, wanted, settings, progress)
        work.begin(part, known, beside(output, shards.FOLDER))
        work.gather()
        work.ask()
        work.say(finished=True)
        return Outcome(dict(work.counts), dict(work.reasons), work.spent, work.spent_before, watch.seconds)


def merge(
    folder: Path,
    given: Path,
    output: Path,
    translator: Translator,
    cache: Path,
    settings: Settings,
    progress: Progress = silent,
) -> tuple[Absorbed, Outcome]:
    """Take the shard files of a folder into the cache, then ``translate_file``: what is still missing is asked here.

    Raises ``UserError`` for a folder without shard files of this work, with a damaged one, or with a share that is
    not finished.
    """
    refuse_existing(output)
    with closing(Wanted(output)) as wanted, closing(open_cache(cache, translator)) as kept:
        work = Work((), digest_path(given), translator, kept, wanted, settings)
        _refuse_unfinished(folder, _work_name(work.job, settings))
        absorbed = shards.absorb(folder, kept, work.job, work.direction)
    if absorbed.new + absorbed.known == 0:
        about = translator.about
        raise UserError(
            f"no shard file here holds translations by {about.name} {about.version} from {settings.source} to"
            f" {settings.target} ({absorbed.foreign} are of other engines, versions, options or languages)",
            str(folder),
            "name the folder that --shard wrote (OUTPUT.shards), and the engine and version that wrote it",
        )
    settings = replace(settings, retry_failed=False)  # what failed again in a share has failed
    return absorbed, translate_file(given, output, translator, cache, settings, progress)


class _OfShare(Work):
    """Work on one share: the folder says what is to be asked, this machine's own cache spares it questions."""

    share: Share
    known: Cache  # what the folder holds
    folder: Path

    def begin(self, part: Share, known: Cache, folder: Path) -> None:
        """Say which share it is, and tell those who will merge."""
        self.share, self.known, self.folder = part, known, folder
        source, target = (language(tag.partition("-")[0]) for tag in (self.settings.source, self.settings.target))
        self._resolver = Resolver(known, self.direction, self._translator.keeps, source, target)
        self._failures = not self.settings.retry_failed  # of earlier runs; later on those of this run
        self._name = _work_name(self.job, self.settings)
        self.job = digest([self.job, part.name])  # a share has costs of its own; the files tell them to who merges
        self.spent_before = self._cache.spent(self.job)
        self.say(finished=False)

    def plan(self) -> tuple[int, int]:
        """What this share must ask for, as far as the folder tells by now."""
        shards.absorb(self.folder, self.known, "", self.direction, self._failures)
        self._failures = True
        self._wanted.nothing_asked()
        waiting = done = 0
        for chunk in self._wanted.chunks():
            for what in self._resolver.many(chunk).values():
                waiting += bool(what.ask)
                self._wanted.ask(part for part in what.ask if self.share.owns(self._key(part)))
            done += len(chunk)
            self._progress("checking", done, self.counts["unique segments"])
        self.counts["segments without an answer yet"] = waiting
        return self._wanted.asked_count()

    def call(self, segments: Iterable[Segment], count: int, batch: int | None = None) -> None:
        """Shard by shard: what this machine's cache lacks is asked for and committed, then the file is written."""
        limits, of = self._translator.limits, self.share.of
        purse, done = self._purse(), 0
        for some in shards.cut(segments):
            keys = [self._key(segment) for segment in some]
            known = self._cache.known(keys)
            rest = [segment for segment, key in zip(some, keys, strict=True) if key not in known]
            spent = Spent()
            caller = shards.caller_of_one(self._translator, self.settings, of, purse)
            for answered in caller.run(batches(rest, limits, batch or self.settings.batch)):
                self._keep(answered)
                spent += answered.spent
            self._write(some, keys, spent)
            done += len(some)
            self._progress("translating", done, count)

    def say(self, finished: bool) -> None:
        """Tell those who merge how far this share is."""
        told = {"work": self._name, "finished": finished, "counts": dict(self.counts)}
        write_json(self.folder / f"{self.share.name}.json", told)

    def _purse(self) -> Purse:
        whole, before = self.settings.max_cost, (self.spent_before + self.spent).money
        most = None if whole is None else whole / self.share.of
        return Purse(self._translator.limits, most, before, _measured(self._translator))

    def _write(self, segments: list[Segment], keys: list[bytes], spent: Spent) -> None:
        found = self._cache.get_many(keys)
        rows = [(segment_to_json(one), found[key]) for one, key in zip(segments, keys, strict=True) if key in found]
        if rows:
            shard = Shard(shards.name_of(self.direction, segments), self.direction, tuple(rows), spent)
            shard.write(self.folder)
            shards.take(self.known, "", shard)

    def _key(self, segment: Segment) -> bytes:
        return self.direction.key(segment_to_json(segment))


def _work_name(job: str, settings: Settings) -> str:
    """What all shares of one work have in common: records, engine and direction, policies."""
    return digest([job, settings.policies.model_dump(mode="json")])


def _refuse_unfinished(folder: Path, name: str) -> None:
    """Raises ``UserError`` where a share of this work is missing, or all shares are of another; where nothing tells of
    shares, workers of a cluster wrote the files."""
    finished: dict[int, set[int]] = {}
    others = 0
    for path in sorted(folder.glob("share-*-of-*.json")):
        told = read_json(path)
        number, of = map(int, re.findall(r"\d+", path.stem))
        if told["work"] != name:
            others += 1
        elif told["finished"]:
            finished.setdefault(of, set()).add(number)
        else:
            finished.setdefault(of, set())
    if any(len(numbers) == of for of, numbers in finished.items()) or not (finished or others):
        return
    if not finished:
        raise UserError(
            "these shares are of other records, another engine or version, or other policies",
            str(folder),
            "give the same input, engine, options and policies as to --shard",
        )
    of, numbers = max(finished.items(), key=lambda item: len(item[1]) / item[0])
    missing = ", ".join(f"{number}/{of}" for number in range(1, of + 1) if number not in numbers)
    raise UserError(
        f"these shares are not finished: {missing}",
        str(folder),
        "copy their files here, or give their --shard command (again), on any machine; then merge",
    )


@contextmanager
def _emptied(path: Path) -> Iterator[Cache]:
    """A cache that is empty at the beginning and gone at the end."""
    files = [path.with_name(path.name + ending) for ending in ("", "-wal", "-shm")]
    for file in files:
        file.unlink(missing_ok=True)
    try:
        with closing(Cache(path)) as cache:
            yield cache
    finally:
        for file in files:
            file.unlink(missing_ok=True)
