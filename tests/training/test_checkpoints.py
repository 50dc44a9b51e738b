"""A checkpoint is there whole or not at all, and fits what it is loaded into or is refused."""

import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from olhar.core.errors import DiskError, StageError
from olhar.core.store import PARTIAL
from olhar.training import checkpoints
from olhar.training.checkpoints import Checkpoint, newest, save


def weights(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"a": torch.full((2, 3), value), "b": torch.arange(4)}


def checkpoint(step: int, **changes: Any) -> Checkpoint:
    given: dict[str, Any] = {
        "weights": weights(step),
        "optimizer": {"a|step": torch.tensor(float(step))},
        "counters": {"tokens": 5.0},
    }
    return Checkpoint(step, **(given | changes))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    assert newest(tmp_path, "me") is None
    save(tmp_path, checkpoint(3), "me")
    found = newest(tmp_path, "me")
    assert found and (found.step, found.counters) == (3, {"tokens": 5.0})
    assert all(torch.equal(found.weights[name], value) for name, value in weights(3).items())
    assert found.optimizer["a|step"].item() == 3.0


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10, 100):
        save(tmp_path, checkpoint(step), "me")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["checkpoint-00000010", "checkpoint-00000100"]
    found = newest(tmp_path, "me")
    assert found and found.step == 100


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
    save(tmp_path, checkpoint(1), "me")
    expected = [draws(), draws()]
    newest(tmp_path, "me")
    assert [draws(), draws()] == expected


def test_an_incomplete_checkpoint_is_as_if_it_were_not(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(3), "me")
    save(tmp_path, checkpoint(4), "me")
    (tmp_path / "checkpoint-00000004" / checkpoints.STATE).unlink()
    found = newest(tmp_path, "me")
    assert found and found.step == 3
    assert not (tmp_path / "checkpoint-00000004").exists()


def test_the_state_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def there(path: Path, value: Any) -> None:
        names = {file.name for file in path.parent.iterdir()}
        assert names == {"weights.safetensors", "optimizer.safetensors", "random.safetensors"}
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "write_json", there)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, checkpoint(1), "me")
    assert newest(tmp_path, "me") is None


def test_the_weights_are_on_disk_before_the_state_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut a name without its bytes would be a checkpoint of garbage."""
    synced: list[str] = []
    real = checkpoints.write_json

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name.removesuffix(PARTIAL))

    def write(path: Path, value: Any) -> None:
        assert {"weights.safetensors", "optimizer.safetensors", "random.safetensors"} <= set(synced)
        real(path, value)

    monkeypatch.setattr("os.fsync", record)
    monkeypatch.setattr(checkpoints, "write_json", write)
    save(tmp_path, checkpoint(1), "me")
    assert newest(tmp_path, "me")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1), "me")
    with pytest.raises(StageError, match="another recipe"):
        newest(tmp_path, "you")
    assert newest(tmp_path, "me"), "it stays for its owner"


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1), "me")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = {"a": torch.zeros(100_000)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DiskError, match="cannot write"):
            save(tmp_path, checkpoint(2, weights=large), "me")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = newest(tmp_path, "me")
    assert found and found.step == 1


def test_tied_weights_are_stored_once_and_tied_again(bench: Any, tmp_path: Path) -> None:
    model, other = bench.model(), bench.model(seed=1)
    state = model.state_dict()
    tied = [name for name in state if name.endswith(("lm_head.weight", "embed_tokens.weight"))]
    assert len(tied) == 2 and state[tied[0]].data_ptr() == state[tied[1]].data_ptr()
    save(tmp_path, checkpoint(1, weights=state), "me")
    found = newest(tmp_path, "me")
    assert found and len(found.weights) == len(state) - 1
    checkpoints.load_strictly(other, found.weights)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in state.items())
    assert other.get_input_embeddings().weight is other.get_output_embeddings().weight


@pytest.mark.parametrize("change", [{"c": torch.zeros(1)}, {"a": None}])
def test_weights_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    module = torch.nn.ParameterDict({"a": torch.zeros(2, 3), "b": torch.zeros(4)})
    offered = {name: value for name, value in (weights() | change).items() if value is not None}
    with pytest.raises(StageError, match=f"'{next(iter(change))}'"):
        checkpoints.load_strictly(module, offered)


def test_tensors_of_another_shape_are_refused() -> None:
    module = torch.nn.ParameterDict({"a": torch.zeros(2, 2), "b": torch.zeros(4)})
    with pytest.raises(StageError):
        checkpoints.load_strictly(module, weights())


def test_views_are_stored_whole() -> None:
    """Two tensors that only begin at the same address are two tensors."""
    base = torch.arange(6.0)
    kept = checkpoints.distinct({"all": base, "same": base, "first": base[:2], "turned": torch.zeros(2, 3).T})
    assert set(kept) == {"all", "first", "turned"} and kept["first"].tolist() == [0.0, 1.0]
    assert all(value.is_contiguous() for value in kept.values())
