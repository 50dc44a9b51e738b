"""Workers of a Ray cluster: each opens the engine once and answers one shard after the other.

Ray Data (https://docs.ray.io/en/latest/data/data.html) sends shards to a pool of actors, starts those anew that die,
gives their shard to another and holds shards back while the one who asked is busy. Ray is imported only when asked for.
"""

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from olhar.core.errors import UserError
from olhar.translation.cache import Direction, Entry, Spent
from olhar.translation.calls import batches
from olhar.translation.pace import Purse
from olhar.translation.passes import Settings, _measured, direction_of
from olhar.translation.shards import Shard, caller_of_one, from_text, name_of, read, settled
from olhar.translation.wording import characters, segment_from_value, segment_to_json
from olhar.translators import Segment, Translator

ATTEMPTS = 3  # at one shard whose workers die, which Ray would go on with for ever
WAITING = 2  # shards at a worker at a time: the one it works on, and the next
QUIET = {  # of Ray Data's context; ``Patience.answer`` ends the waiting for an engine
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "execution_no_progress_timeout_s": -1,
}
GO_ON = "give the same command again: what was answered so far is kept"


@dataclass(frozen=True, slots=True)
class Errand:
    """What a worker must know. ``opens``: source and target -> the engine. ``folder``: where shard files lie, if the
    worker's machine sees it. ``of``: how many workers share what the engine allows."""

    opens: Callable[[str, str], Translator]
    direction: Direction
    settings: Settings
    folder: str
    of: int
    begun: Callable[[str], int] | None = None  # tells how often work on the shard of that name was begun


class Tally:
    """How often work on each shard was begun: an actor of its own, since workers that die remember nothing."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        self._times[name] += 1
        return self._times[name]


class Worker:
    """An actor. A refusal of its engine is an answer like another: what came before it is kept."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._refused: UserError | None = None
        try:
            self._translator = self._opened()
        except UserError as error:  # raised here it would reach nobody but Ray
            self._refused = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """Columns ``asked`` (JSON list of segments) and ``most`` (money) become ``name``, ``answered``, ``refused``."""
        names, answered, refused = [], [], []
        for text, most in zip(batch["asked"], batch["most"], strict=True):
            shard, error = self.answer([segment_from_value(value) for value in json.loads(text)], float(most))
            names.append(shard.name)
            answered.append(shard.to_text())
            refused.append(json.dumps([error.what, error.where, error.fix] if error else None))
        return {"name": names, "answered": answered, "refused": refused}

    def answer(self, segments: Sequence[Segment], most: float) -> tuple[Shard, UserError | None]:
        """What a shard file holds, else what the engine says, which is then written where the folder is at hand."""
        errand = self._errand
        shard = Shard(name_of(errand.direction, segments), errand.direction, ())
        folder = Path(errand.folder)
        try:
            if (folder / shard.file).exists():
                return read(folder / shard.file), None
            if self._refused is None:
                if errand.begun is not None and errand.begun(shard.name) > ATTEMPTS:
                    return shard, _deadly(shard.name, segments)
                shard = self._asked(shard.name, segments, most)
            if shard.rows and folder.is_dir():
                shard.write(folder)  # it outlives the one who asked
        except UserError as error:
            self._refused = self._refused or error
        return shard, self._refused

    def _asked(self, name: str, segments: Sequence[Segment], most: float) -> Shard:
        rows: list[tuple[str, Entry]] = []
        spent = Spent()
        purse = Purse(self._translator.limits, most, measured=_measured(self._translator))
        caller = caller_of_one(self._translator, self._errand.settings, self._errand.of, purse)
        try:
            for answered in caller.run(batches(segments, self._translator.limits, self._errand.settings.batch)):
                rows += settled(answered)
                spent += answered.spent
        except UserError as error:
            self._refused = error
        return Shard(name, self._errand.direction, tuple(rows), spent)

    def _opened(self) -> Translator:
        errand = self._errand
        translator = errand.opens(errand.direction.source, errand.direction.target)
        own = direction_of(translator, errand.settings)
        if own != errand.direction:
            raise UserError(
                f"the engine of a worker is {own.engine} {own.version}, not {errand.direction.version}",
                f"the worker's machine, {os.uname().nodename}",
                "install the same versions of programs and models on all machines",
            )
        return translator


@dataclass(frozen=True, slots=True)
class Answer:
    """A shard as it came back, and why its worker went no further."""

    shard: Shard
    refused: UserError | None


@dataclass(frozen=True, slots=True)
class Pool:
    """The workers of a cluster. ``count``: how many; ``cpus``, ``gpus``: what Ray sets aside for each."""

    ray: ModuleType
    count: int
    cpus: float
    gpus: float

    def run(self, errand: Errand, shards: Sequence[tuple[Sequence[Segment], float]]) -> Iterator[Answer]:
        """Every shard answered, in the order in which answers come; beside each, the money it may cost.

        Raises ``UserError`` when the cluster is lost.
        """
        from ray.exceptions import RayError, RayTaskError, UserCodeException

        rows = [{"asked": f"[{','.join(map(segment_to_json, some))}]", "most": most} for some, most in shards]
        tally = self.ray.remote(num_cpus=0)(Tally).remote()
        errand = replace(errand, begun=_Begun(tally))
        try:
            for row in self._data(errand, rows).iter_rows():
                told = json.loads(row["refused"])
                shard = from_text(row["name"], row["answered"], "the answer of a worker")
                yield Answer(shard, UserError(*told) if told else None)
        except (RayTaskError, UserCodeException):
            raise  # a defect of olhar, told with its traceback
        except RayError as error:
            what = f"the cluster is lost: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
            raise UserError(
                what, "the Ray cluster", f"see Ray's log (memory is a common cause), then {GO_ON}"
            ) from error

    def _data(self, errand: Errand, rows: list[dict[str, Any]]) -> Any:
        data = self.ray.data.from_items(rows, override_num_blocks=len(rows))  # a block is a shard
        return data.map_batches(
            Worker,
            fn_constructor_args=(errand,),
            batch_size=1,
            compute=self.ray.data.ActorPoolStrategy(
                size=min(self.count, len(rows)), max_tasks_in_flight_per_actor=WAITING
            ),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )


@dataclass(frozen=True, slots=True)
class _Begun:
    tally: Any

    def __call__(self, name: str) -> int:
        import ray

        return int(ray.get(self.tally.begin.remote(name)))


def _deadly(name: str, segments: Sequence[Segment]) -> UserError:
    longest = max(map(characters, segments))
    return UserError(
        f"the workers that asked for shard {name} died {ATTEMPTS} times",
        f"{len(segments)} segments of up to {longest} characters, the first of them {segment_to_json(segments[0])}",
        f"see Ray's log (memory is a common cause), try smaller batches, then {GO_ON}",
    )


@contextmanager
def pool(workers: int | None) -> Iterator[Pool]:
    """So many workers on the cluster that ``RAY_ADDRESS`` or this machine knows of, else on this machine alone; None
    for one on each GPU, or on each core where there is none.

    Raises ``UserError`` where Ray is not installed or cannot be reached, or the cluster has nothing to work with.
    """
    ray = _imported()
    ours = not ray.is_initialized()
    if ours:
        _begin(ray)
    try:
        with _quiet(ray):
            yield _sized(ray, workers)
    finally:
        if ours:
            ray.shutdown()


def _imported() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone; read when Ray begins
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(f"Ray is not installed: {error}", "--workers ray", 'pip install "olhar[bulk]"') from error
    return ray


def _begin(ray: ModuleType) -> None:
    try:
        ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = os.environ.get("RAY_ADDRESS", "this machine")
        raise UserError(
            f"no Ray cluster could be reached or begun: {error}", where, "see `ray status`, or unset RAY_ADDRESS"
        ) from error


@contextmanager
def _quiet(ray: ModuleType) -> Iterator[None]:
    """Ray Data without bars and notes, and without a limit on the time that one shard may take."""
    logger, context = logging.getLogger("ray.data"), ray.data.DataContext.get_current()
    level, before = logger.level, {name: getattr(context, name) for name in QUIET if hasattr(context, name)}
    logger.setLevel(logging.ERROR)
    for name in before:
        setattr(context, name, QUIET[name])
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


def _sized(ray: ModuleType, workers: int | None) -> Pool:
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    count = workers or int(gpus or cpus)
    if count == 0:
        raise UserError("the Ray cluster has neither cores nor GPUs", "--workers ray", "name a number: --workers ray:8")
    # a cluster that grows on demand may have nothing yet
    return Pool(ray, count, _part(cpus, count) if cpus else 1.0, _part(gpus, count) if gpus else 0.0)


def _part(units: float, count: int) -> float:
    """Of one core or GPU: the whole of it, or an equal part where workers are more."""
    return 1 / math.ceil(count / units)
