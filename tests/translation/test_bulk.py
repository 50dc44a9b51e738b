"""A cluster makes what one process makes, asks for nothing twice, and loses at most a shard with a worker."""

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from my_lab.engine import Shouting
from my_lab.machines import ENGINE, SETTINGS, logged
from my_lab.mortal import Mortal
from my_lab.mortal import Options as MortalOptions

from olhar.core.errors import UserError
from olhar.translation import _ray, bulk, shards
from olhar.translation.bulk import Workers, translate_on_ray, workers
from olhar.translation.cache import Direction, Spent
from olhar.translation.engines import opened
from olhar.translation.shards import Shard
from olhar.translation.work import Outcome, translate_file
from olhar.translators import Kept, Segment

HERE = Path(__file__).parent


def test_what_the_command_line_says() -> None:
    assert workers("4") == Workers(False, 4)
    assert workers("ray") == Workers(True, None)
    assert workers("ray:8") == Workers(True, 8)
    for wrong in ("", "0", "ray:", "ray:0", "ray8", "dask", "-1"):
        with pytest.raises(UserError, match="no number of workers"):
            workers(wrong)


def test_without_ray_it_is_told(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as told:
        translate_on_ray(records, tmp_path / "o", Shouting(), ENGINE, tmp_path / "c", SETTINGS)
    assert told.value.fix == 'pip install "olhar[bulk]"'


def errand(tmp_path: Path, **options: Any) -> _ray.Errand:
    direction = Direction("my_lab.engine", "1", "none", "en", "pt")
    return _ray.Errand(partial(opened, "my_lab.engine", options), direction, SETTINGS, str(tmp_path / "shards"), 2)


def answered(worker: _ray.Worker, *asked: Segment, most: float = 1.0) -> tuple[Shard, UserError | None]:
    """What the driver makes of a worker's columns."""
    text = json.dumps([json.loads(shards.segment_to_json(segment)) for segment in asked])
    row = worker({"asked": [text], "most": [most]})
    told = json.loads(row["refused"][0])
    return shards.from_text(row["name"][0], row["answered"][0], ""), UserError(*told) if told else None


def test_a_worker_keeps_a_shard_where_it_can(tmp_path: Path) -> None:
    worker = _ray.Worker(errand(tmp_path))
    shard, error = answered(worker, ("one",), ("two ", Kept("2")))
    assert error is None and [entry.translation for _, entry in shard.rows] == [("ONE",), ("TWO ", Kept("2"))]
    (tmp_path / "shards").mkdir()
    kept, _ = answered(worker, ("one",), ("two ", Kept("2")))
    assert shards.read(tmp_path / "shards" / kept.file) == kept
    deaf = _ray.Worker(errand(tmp_path, faults={"": "refuse"}))
    assert answered(deaf, ("one",), ("two ", Kept("2"))) == (kept, None)


def test_a_worker_tells_what_it_has_when_it_is_refused(tmp_path: Path) -> None:
    worker = _ray.Worker(errand(tmp_path, faults={"three": "refuse"}, batch=1))
    shard, error = answered(worker, ("one",), ("three",), ("two",))
    assert [text for text, _ in shard.rows] == ['["one"]'] and error is not None and "refused" in error.what
    shard, error = answered(worker, ("four",))
    assert not shard.rows and error is not None


def test_a_shard_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    tally = _ray.Tally()
    for _ in range(_ray.ATTEMPTS):
        shard, error = answered(_ray.Worker(replace(errand(tmp_path), begun=tally.begin)), ("one",))
        assert shard.rows and error is None
    worker = _ray.Worker(replace(errand(tmp_path), begun=tally.begin))
    shard, error = answered(worker, ("one",))
    assert not shard.rows and error is not None and "died 3 times" in error.what
    assert answered(worker, ("two",))[1] is None


def test_a_worker_of_another_version_is_refused(tmp_path: Path) -> None:
    other = Direction("my_lab.engine", "2", "none", "en", "pt")
    worker = _ray.Worker(_ray.Errand(ENGINE, other, SETTINGS, "", 1))
    _, error = answered(worker, ("one",))
    assert error is not None and "my_lab.engine 1, not 2" in error.what


def test_a_worker_spends_no_more_than_it_may(tmp_path: Path) -> None:
    worker = _ray.Worker(errand(tmp_path, price=1e6, batch=1))
    shard, error = answered(worker, ("one",), ("two",), most=4.0)
    assert len(shard.rows) == 1 and shard.spent == Spent(1, 3, 3.0) and error is not None


def test_workers_get_a_core_or_a_part_of_a_gpu() -> None:
    class Cluster:
        def __init__(self, **there: float) -> None:
            self.cluster_resources = lambda: there

    def sized(workers: int | None, **there: float) -> tuple[int, float, float]:
        made = _ray._sized(Cluster(**there), workers)  # type: ignore[arg-type]
        return made.count, made.cpus, made.gpus

    assert sized(None, CPU=8) == (8, 1.0, 0.0)
    assert sized(None, CPU=64, GPU=4) == (4, 1.0, 1.0)
    assert sized(8, CPU=64, GPU=4) == (8, 1.0, 0.5)
    assert sized(3, CPU=2) == (3, 0.5, 0.0)
    assert sized(5) == (5, 1.0, 0.0)
    with pytest.raises(UserError, match="neither cores nor GPUs"):
        sized(None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two workers on this machine."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(HERE))  # where workers find the engine outside olhar
        told = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
        ray.init(address="local", num_cpus=2, object_store_memory=100 << 20, **told)
        yield
        ray.shutdown()


def on_ray(records: Path, tmp_path: Path, progress: Any = bulk.silent, **options: Any) -> Outcome:
    opens = partial(opened, "my_lab.mortal", {"log": str(tmp_path / "log"), **options})
    translator = opens("en", "pt")
    return translate_on_ray(
        records, tmp_path / "pt.json", translator, opens, tmp_path / "ray.db", SETTINGS, 2, progress
    )


def test_a_cluster_that_loses_a_worker_makes_what_one_process_makes(
    records: Path, tmp_path: Path, small: None, single: bytes, cluster: None
) -> None:
    grave = tmp_path / "grave"
    outcome = on_ray(records, tmp_path, dies_at="dfling", grave=str(grave))
    assert grave.exists()
    assert (tmp_path / "pt.json").read_bytes() == single
    times = logged(tmp_path / "log")
    repeated = sum(count - 1 for count in times.values())
    assert 0 < repeated <= 10 and len(times) == outcome.counts["segments asked for"]


def test_a_cluster_goes_on_where_it_was_stopped(
    records: Path, tmp_path: Path, small: None, single: bytes, cluster: None
) -> None:
    """First the one who asks goes away after a shard; then an engine refuses; what is left, one process asks for."""

    class Gone(BaseException):
        pass

    def go_away(what: str, done: int, total: int | None) -> None:
        if what == "translating":
            raise Gone

    with pytest.raises(Gone):
        on_ray(records, tmp_path, go_away)
    with pytest.raises(UserError, match="the key is refused"):
        on_ray(records, tmp_path, faults={"dfling": "refuse"})
    assert not (tmp_path / "pt.json").exists()
    last = Mortal(MortalOptions(log=str(tmp_path / "log")))
    before = sum(logged(tmp_path / "log").values())
    translate_file(records, tmp_path / "pt.json", last, tmp_path / "ray.db", SETTINGS)
    assert (tmp_path / "pt.json").read_bytes() == single
    repeated = sum(count - 1 for count in logged(tmp_path / "log").values())
    assert before > 20 and repeated <= 3 * 10  # a shard of each worker, and the one that was refused
