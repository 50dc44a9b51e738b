"""Two processes learn what one learns, whole in each or spread over both, on mixed batches of a small real model."""

import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from olhar.core.recipe import TrainStage
from olhar.training.data.batches import Look, PackedBatches, Share
from olhar.training.processes import checkpoints
from olhar.training.processes.team import Team
from olhar.training.records import read_records

SCRIPT = Path(__file__).with_name("together.py")
STEPS = 6
STOP = 3
BOUND = 180.0  # seconds in which two processes have done all of this by far
NEVER, ALWAYS = 10**6, -1  # seconds between checkpoints
RATES = {"vision": 5e-3, "connector": 1e-2, "language": 1e-2}
KINDS = {"at once": 2, "accumulated": 4, "frozen tower": 4}  # packs a step: one or two micro-batches on each of two
Case = dict[str, Any]
Told = dict[str, Any]

spec = importlib.util.spec_from_file_location("together", SCRIPT)
assert spec and spec.loader
together = importlib.util.module_from_spec(spec)
spec.loader.exec_module(together)


@pytest.fixture(scope="module")
def case(bench: Any) -> Callable[..., Case]:
    """Images, pairs of images, videos and texts, each a pack of its own."""
    shown = [sample for sample in bench.samples if sample.media]
    assert len({(type(ref), len(sample.media)) for sample in shown for ref in sample.media}) == 3
    texts = [replace(bench.samples[7], id=f"text-{number}") for number in range(8)]
    samples = bench.file([*shown[:: len(shown) // 12], *texts], "sharded.jsonl")
    encoded, look = bench.encoded(samples), Look("internvl", bench.settings)

    def stage(kind: str) -> TrainStage:
        learns = {role: rate for role, rate in RATES.items() if (role, kind) != ("vision", "frozen tower")}
        given = {"name": "s", "mixture": "m", "trains": learns, "steps": STEPS, "warmup_steps": 2}
        return TrainStage.model_validate(given | {"packing": False, "micro_batch": 1, "batch": KINDS[kind]})

    def shares(asked: TrainStage, size: int) -> list[Any]:
        shared = [Share(rank, size) for rank in range(size)]
        sets = [PackedBatches(encoded, samples, asked, look, capacity=100, share=share) for share in shared]
        return [[batches[step] for step in range(STEPS)] for batches in sets]

    stages = {kind: stage(kind) for kind in KINDS}
    made = {kind: {size: shares(asked, size) for size in (1, 2)} for kind, asked in stages.items()}

    def make(*runs: Any, dies: int | None = None) -> Case:
        return {
            "model": bench.model(),
            "family": "internvl",
            "settings": bench.settings,
            "stages": stages,
            "total": STEPS,
            "batches": made,
            "runs": runs,
            "dies": dies,
        }

    return make


def started(case: Case, folder: Path) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """Two processes have worked on a case."""
    path = folder / "case.pickle"
    path.write_bytes(pickle.dumps(case))
    command = [sys.executable, str(SCRIPT), str(path), "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return path, subprocess.run(command, capture_output=True, text=True, timeout=BOUND, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def alone(case: Callable[..., Case], folder: Path) -> Told:
    """What one process tells; two runs are stopped for two processes to go on with."""
    threads = torch.get_num_threads()
    whole = [(kind, kind, "replicate", folder / f"one-{kind}", None, NEVER) for kind in KINDS]
    names = ("replicate", "shard")
    stopped = [(f"one, {n}", "accumulated", "replicate", folder / f"one, {n}", STOP, ALWAYS) for n in names]
    told: Told = together.run(case(*whole, *stopped), Team())
    torch.set_num_threads(threads)
    return told


@pytest.fixture(scope="module")
def both(case: Callable[..., Case], folder: Path, alone: Told) -> list[Told]:
    """What each of two processes tells: whole runs, runs that are stopped, runs that go on."""
    runs: list[Any] = []
    for sharding in ("replicate", "shard"):
        place = {name: folder / f"{name}, {sharding}" for name in (*KINDS, "two", "again", "one")}
        runs += [(f"{kind}, {sharding}", kind, sharding, place[kind], None, NEVER) for kind in KINDS]
        runs += [(f"two, {sharding}", "accumulated", sharding, place["two"], STOP, ALWAYS)]
        runs += [(f"again, {sharding}, begun", "accumulated", sharding, place["again"], STOP, ALWAYS)]
        runs += [(f"again, {sharding}", "accumulated", sharding, place["again"], None, NEVER)]
        runs += [(f"one, {sharding}", "accumulated", sharding, place["one"], None, NEVER)]
    path, done = started(case(*runs), folder)
    assert done.returncode == 0, done.stderr
    return [pickle.loads(Path(f"{path}.{rank}").read_bytes()) for rank in (0, 1)]


def close(one: list[float], other: list[float], bound: float = 1e-5) -> bool:
    return len(one) == len(other) and max(abs(a - b) for a, b in zip(one, other, strict=True)) < bound


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_learn_what_one_learns(
    case: Callable[..., Case], alone: Told, both: list[Told], kind: str, sharding: str
) -> None:
    parts = [part for step in case()["batches"][kind][2][1] for part in step.parts]
    assert {part.pixels is None for part in parts} == {True, False}, "with and without pictures"
    assert len(parts) == STEPS * KINDS[kind] // 2
    losses, norms, weights = alone[kind]
    assert losses[-1] < losses[0] - 0.1, "nothing was learned, so nothing was tested"
    for told in both:
        assert close(told[f"{kind}, {sharding}"][0], losses) and close(told[f"{kind}, {sharding}"][1], norms, 1e-4)
    found = [told[f"{kind}, {sharding}"][2] for told in both]
    assert found[0].keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(found[0][name], found[1][name]), "the same bits in both"
        assert torch.allclose(found[0][name], value, atol=1e-4)


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_the_judge_of_process_0_sees_the_whole_model(both: list[Told], folder: Path, sharding: str) -> None:
    place = folder / f"{together.JUDGED}, {sharding}"
    scores = {line["step"]: line["score"] for line in read_records(place) if "score" in line}
    weights = both[0][f"{together.JUDGED}, {sharding}"][2]
    assert list(scores) == [2, 4, 6] and scores[6] == pytest.approx(together.size_of(weights), rel=1e-9)
    best = max(scores, key=lambda step: scores[step])
    assert checkpoints.best(place) == (best, scores[best]) and checkpoints.path_of(place, best).exists()


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_two_go_on_bit_for_bit(both: list[Told], sharding: str) -> None:
    for told in both:
        whole, again = told[f"accumulated, {sharding}"], told[f"again, {sharding}"]
        assert again[0] == whole[0] and again[1] == whole[1]
        assert all(torch.equal(again[2][name], value) for name, value in whole[2].items())


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_two_go_on_where_one_stopped(alone: Told, both: list[Told], sharding: str) -> None:
    found, whole = both[0][f"one, {sharding}"], alone["accumulated"]
    assert len(alone[f"one, {sharding}"][0]) == STOP
    assert close(found[0], whole[0]) and close(found[1], whole[1], 1e-4)


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_one_goes_on_where_two_stopped(
    case: Callable[..., Case], alone: Told, both: list[Told], folder: Path, sharding: str
) -> None:
    """Without torchrun, and whatever the layout."""
    place = folder / f"two, {sharding}"
    (newest,) = checkpoints.complete(place)[-1:]
    assert newest.name == f"checkpoint-{STOP:08d}" and (newest / "weights").is_dir() == (sharding == "shard")
    assert {file.name for file in newest.glob("random-*")} == {"random-0.safetensors", "random-1.safetensors"}
    told = together.run(case(("one", "accumulated", "replicate", place, None, NEVER)), Team())["one"]
    assert close(told[0], alone["accumulated"][0]) and close(told[1], alone["accumulated"][1], 1e-4)


def test_what_two_stored_is_read_whole(both: list[Told], folder: Path) -> None:
    """What a later stage, or a person's own program, takes over: plain tensors by live name."""
    found = [checkpoints.newest(folder / f"again, {sharding}", "me") for sharding in ("replicate", "shard")]
    weights, optimizer = ([getattr(one, part) for one in found] for part in ("weights", "optimizer"))
    assert weights[0].keys() == weights[1].keys() and optimizer[0].keys() == optimizer[1].keys()
    for sharding, stored in zip(("replicate", "shard"), weights, strict=True):
        learned = both[0][f"again, {sharding}"][2]
        assert all(type(value) is torch.Tensor and torch.equal(value, learned[name]) for name, value in stored.items())


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_a_killed_process_ends_the_other(case: Callable[..., Case], tmp_path: Path, sharding: str) -> None:
    """kill -9 in the middle of training: the other says so, and does not wait for ever."""
    _, done = started(case(("run", "at once", sharding, tmp_path / "run", None, NEVER), dies=STOP), tmp_path)
    assert done.returncode != 0
    assert "StageError: a process of this training was lost" in done.stderr
