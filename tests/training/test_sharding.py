"""Two processes learn what one learns, whole in each or spread over both, on mixed batches of a small real model."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from olhar.core.recipe import TrainStage
from olhar.training import checkpoints
from olhar.training.batches import Look, PackedBatches, Share
from olhar.training.team import Team

SCRIPT = Path(__file__).with_name("together.py")
STEPS = 6
BOUND = 60.0  # seconds in which two processes have done all of this by far
RATES = {"vision": 5e-3, "connector": 1e-2, "language": 1e-2}
Case = dict[str, Any]


@pytest.fixture(scope="session")
def together() -> Any:
    """The script as a module: one process needs no other."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("together", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def case(bench: Any, stage: Callable[..., TrainStage]) -> Callable[..., Case]:
    encoded = bench.encoded()

    def make(runs: list[Any], **changes: Any) -> Case:
        asked = stage(trains=RATES, batch=4, steps=STEPS, **changes)
        look = Look("internvl", bench.settings)

        def shares(size: int) -> list[Any]:
            sets = [
                PackedBatches(encoded, bench.samples, asked, look, capacity=100, share=Share(rank, size))
                for rank in range(size)
            ]
            return [[batches[step] for step in range(STEPS)] for batches in sets]

        return {
            "model": bench.model(),
            "family": "internvl",
            "settings": bench.settings,
            "stage": asked,
            "total": STEPS,
            "batches": {size: shares(size) for size in (1, 2)},
            "runs": runs,
        }

    return make


def by_two(case: Case, folder: Path, fails: bool = False) -> Any:
    """What two processes tell of it: one list of runs for each."""
    path = folder / "case.pickle"
    path.write_bytes(pickle.dumps(case))
    command = [sys.executable, str(SCRIPT), str(path), "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, env=environment)
    if fails:
        return done
    assert done.returncode == 0, done.stderr
    return [pickle.loads(Path(f"{path}.{rank}").read_bytes()) for rank in (0, 1)]


def close(one: list[float], other: list[float], bound: float = 1e-5) -> bool:
    return len(one) == len(other) and max(abs(a - b) for a, b in zip(one, other, strict=True)) < bound


@pytest.mark.parametrize("micro_batch", [None, 1], ids=["at once", "accumulated"])
def test_two_learn_what_one_learns(
    case: Callable[..., Case], together: Any, tmp_path: Path, micro_batch: int | None
) -> None:
    runs = [(sharding, tmp_path / sharding, None, 10**6) for sharding in ("replicate", "shard")]
    asked = case(runs, micro_batch=micro_batch)
    parts = [part for step in asked["batches"][2][0] for part in step.parts]
    assert {part.pixels is None for part in parts} == {True, False}, "with and without pictures"
    assert len(parts) == STEPS * (2 if micro_batch else 1)
    losses, norms, weights = together.run(asked | {"runs": [("replicate", tmp_path / "one", None, 10**6)]}, Team())[0]
    assert losses[-1] < losses[0] - 0.1, "nothing was learned, so nothing was tested"
    leader, other = by_two(asked, tmp_path)
    for told in (*leader, *other):
        assert close(told[0], losses) and close(told[1], norms, 1e-4)
        assert all(torch.allclose(told[2][name], value, atol=1e-4) for name, value in weights.items())
    for one, two in zip(leader, other, strict=True):
        assert all(torch.equal(one[2][name], two[2][name]) for name in weights), "the same bits in both"


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_one_goes_on_where_two_were_killed(
    case: Callable[..., Case], together: Any, tmp_path: Path, sharding: str
) -> None:
    """And two where one was, in the same test: every layout is read by any number of processes."""
    one, two = tmp_path / "by-one", tmp_path / "by-two"
    whole = together.run(case([("replicate", tmp_path / "whole", None, 10**6)]), Team())[0]
    together.run(case([("replicate", one, 3, -1)]), Team())
    runs = [(sharding, two, 3, -1), (sharding, one, None, 10**6)]
    resumed_by_two = by_two(case(runs), tmp_path)[0][1]
    (found,) = checkpoints.complete(two)[-1:]
    assert (found / "weights").is_dir() == (sharding == "shard") and found.name.endswith("3")
    resumed_by_one = together.run(case([("replicate", two, None, 10**6)]), Team())[0]
    for resumed in (resumed_by_two, resumed_by_one):
        assert close(resumed[0], whole[0]) and close(resumed[1][3:], whole[1][3:], 1e-4)


def test_two_go_on_bit_for_bit(case: Callable[..., Case], tmp_path: Path) -> None:
    runs = [("shard", tmp_path / "whole", None, 10**6)]
    runs += [("shard", tmp_path / "killed", 3, -1), ("shard", tmp_path / "killed", None, 10**6)]
    whole, _, resumed = by_two(case(runs), tmp_path)[0]
    assert resumed[0] == whole[0] and resumed[1] == whole[1]
    assert all(torch.equal(resumed[2][name], value) for name, value in whole[2].items())


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_a_killed_process_ends_the_other(case: Callable[..., Case], tmp_path: Path, sharding: str) -> None:
    done = by_two(case([(sharding, tmp_path / "run", None, 10**6)]) | {"dies": 3}, tmp_path, fails=True)
    assert done.returncode != 0
    assert "StageError: a process of this training was lost" in done.stderr
