"""A checkpoint is there whole or not at all, and fits what it is loaded into or is refused."""

import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from olhar.core.errors import DiskError, StageError
from olhar.core.store import PARTIAL
from olhar.training.processes import checkpoints
from olhar.training.processes.checkpoints import newest, save
from olhar.training.processes.team import Team


def parts(value: float, size: int = 6) -> dict[str, dict[str, torch.Tensor]]:
    weights = {"a": torch.full((size,), value), "b": torch.arange(4)}
    return {"weights": weights, "optimizer": {"a|step": torch.tensor(value)}}


def saved(folder: Path, step: int, identity: checkpoints.Identity = "me", keep: int = 2, size: int = 6) -> None:
    save(folder, step, parts(step, size), {"tokens": 5.0}, identity, keep=keep)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    assert newest(tmp_path, "me") is None
    saved(tmp_path, 3)
    found = newest(tmp_path, "me")
    assert found and (found.step, found.counters) == (3, {"tokens": 5.0})
    assert all(torch.equal(found.weights[name], value) for name, value in parts(3.0)["weights"].items())
    assert found.optimizer["a|step"].item() == 3.0


def test_only_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10, 100):
        saved(tmp_path, step)
        if step == 2:
            checkpoints.mark_best(tmp_path, 2, 0.5)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["best.json", "checkpoint-00000002", "checkpoint-00000010", "checkpoint-00000100"]
    found = newest(tmp_path, "me")
    assert found and found.step == 100 and checkpoints.best(tmp_path) == (2, 0.5)
    best = checkpoints.read(checkpoints.path_of(tmp_path, 2), "me")
    assert best.step == 2 and best.weights["a"][0] == 2.0


@pytest.mark.parametrize("cached", [True, False], ids=["odd", "even"])
def test_random_numbers_go_on_where_they_were(tmp_path: Path, cached: bool) -> None:
    """Also with a second gaussian waiting inside the generators."""

    def draws() -> list[Any]:
        return [random.random(), random.gauss(), np.random.random(), np.random.normal(), float(torch.randn(()))]

    random.seed(4)
    np.random.seed(5)
    torch.manual_seed(6)
    if cached:
        random.gauss()
        np.random.normal()
    saved(tmp_path, 1)
    expected = [draws(), draws()]
    found = newest(tmp_path, "me")
    assert found and [draws(), draws()] != expected
    found.restore_random(Team())
    assert [draws(), draws()] == expected


def test_an_incomplete_checkpoint_is_as_if_it_were_not(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    saved(tmp_path, 4)
    (tmp_path / "checkpoint-00000004" / checkpoints.STATE).unlink()
    found = newest(tmp_path, "me")
    assert found and found.step == 3
    assert not (tmp_path / "checkpoint-00000004").exists()


def test_the_state_is_written_last_and_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(path: Path, value: Any) -> None:
        names = {file.name for file in path.parent.iterdir()}
        assert names == {"weights.safetensors", "optimizer.safetensors", "random-0.safetensors"}
        assert path.parent.name == "checkpoint-00000002.partial"
        raise KeyboardInterrupt

    saved(tmp_path, 1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoints, "write_json", there)
        saved(tmp_path, 2)
    found = newest(tmp_path, "me")
    assert found and found.step == 1 and len(list(tmp_path.iterdir())) == 1


def test_a_kill_between_state_and_name_leaves_no_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    (tmp_path / "checkpoint-00000001").rename(tmp_path / "checkpoint-00000002.partial")
    assert newest(tmp_path, "me") is None and checkpoints.steps_done(tmp_path) == 0


def test_the_weights_are_on_disk_before_the_state_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a name without its bytes would be a checkpoint of garbage."""
    synced: list[str] = []
    real = checkpoints.write_json

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name.removesuffix(PARTIAL))

    def write(path: Path, value: Any) -> None:
        assert {"weights.safetensors", "optimizer.safetensors", "random-0.safetensors"} <= set(synced)
        real(path, value)

    monkeypatch.setattr("os.fsync", record)
    monkeypatch.setattr(checkpoints, "write_json", write)
    saved(tmp_path, 1)
    assert newest(tmp_path, "me")


IDENTITY = {"recipe": "r", "data": "d", "tokenizer": "t", "code": "0.2.0"}


def test_a_checkpoint_of_another_run_is_refused_naming_what_differs(tmp_path: Path) -> None:
    saved(tmp_path, 1, IDENTITY)
    with pytest.raises(StageError) as caught:
        newest(tmp_path, IDENTITY | {"data": "other", "code": "0.3.0"})
    assert 'code: "0.2.0" then, "0.3.0" now; data: "d" then, "other" now' in caught.value.what
    assert "recipe" not in caught.value.what and "tokenizer" not in caught.value.what
    assert newest(tmp_path, IDENTITY), "it stays for its owner"


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DiskError, match="cannot write"):
            saved(tmp_path, 2, size=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = newest(tmp_path, "me")
    assert found and found.step == 1


@pytest.fixture
def spread() -> Iterator[Callable[[torch.Tensor], Any]]:
    """Spreads a tensor over the one process of a group."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    mesh = init_device_mesh("cpu", (1,))
    yield lambda tensor: distribute_tensor(tensor, mesh, [Shard(0)])
    torch.distributed.destroy_process_group()


def spread_parts(spread: Callable[[torch.Tensor], Any], value: float, size: int = 6) -> dict[str, dict[str, Any]]:
    whole = parts(value, size)
    return whole | {"weights": {name: spread(tensor) for name, tensor in whole["weights"].items()}}


def test_spread_tensors_are_stored_in_parts_and_read_whole(tmp_path: Path, spread: Any) -> None:
    save(tmp_path, 3, spread_parts(spread, 3.0), {}, "me")
    found = newest(tmp_path, "me")
    assert found and (found.path / "weights").is_dir() and (found.path / "optimizer.safetensors").exists()
    assert all(torch.equal(found.weights[name], value) for name, value in parts(3.0)["weights"].items())
    like = spread(torch.zeros(6))
    read = found.tensors("weights", {"a": like}.get)
    assert read["a"].device_mesh == like.device_mesh and torch.equal(read["a"].full_tensor(), torch.full((6,), 3.0))
    assert type(read["b"]) is torch.Tensor


def test_a_full_disk_is_told_of_parts_too(tmp_path: Path, spread: Any) -> None:
    save(tmp_path, 1, spread_parts(spread, 1.0), {}, "me")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = spread_parts(spread, 2.0, 100_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DiskError, match="cannot write"):
            save(tmp_path, 2, large, {}, "me")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = newest(tmp_path, "me")
    assert found and found.step == 1


def test_a_process_more_than_before_draws_numbers_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(7)
    saved(tmp_path, 1)
    found = newest(tmp_path, "me")
    assert found
    drawn = []
    for rank in (0, 1, 2, 1):
        found.restore_random(Team(rank, 3))
        drawn.append((random.random(), np.random.random(), float(torch.rand(()))))
    assert len(set(drawn)) == 3 and drawn[1] == drawn[3]
