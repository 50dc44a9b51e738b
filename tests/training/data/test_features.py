"""What a frozen tower sees is computed once, kept whole, and is what it would see again."""

from pathlib import Path
from typing import Any

import pytest
import torch

from olhar.families import normalised, pixels_of
from olhar.training.data import features
from olhar.training.data.batches import Look, PackedBatches
from olhar.training.model import attention
from olhar.training.model.objectives import packed_hidden_states


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SHARD", 5)


def pictures(bench: Any) -> list[Any]:
    return bench.looked(*bench.samples)[0]


def built(bench: Any, folder: Path, workers: int = 0) -> features.FeatureCache:
    rows = pictures(bench)
    return features.build(folder, rows, bench.model(), "internvl", bench.settings, "fp32", workers, lambda it, *_: it)


@pytest.mark.parametrize("workers", [0, 1])
def test_kept_features_are_those_of_the_tower(bench: Any, few: None, tmp_path: Path, workers: int) -> None:
    cache, model = built(bench, tmp_path, workers), bench.model()
    assert len(list(tmp_path.glob("*/*.ends.npy"))) > 2
    for ref, view in pictures(bench):
        pixels = torch.from_numpy(pixels_of([ref], [view], bench.family, bench.settings))
        with torch.no_grad():
            expected = bench.family.patch_features(model, normalised(pixels, bench.settings))
        assert cache[ref, view].shape == expected.shape
        assert torch.allclose(torch.from_numpy(cache[ref, view].copy()).float(), expected, rtol=2e-3, atol=2e-3)


def test_a_pack_from_features_is_the_pack_from_pictures(bench: Any, few: None, tmp_path: Path, stage: Any) -> None:
    encoded, looks = bench.encoded(), (built(bench, tmp_path), None)
    seen, looked = (
        PackedBatches(encoded, bench.samples, stage(), Look("internvl", bench.settings, features=cache), capacity=160)[
            1
        ].parts[0]
        for cache in looks
    )
    assert seen.pixels is None and looked.features is None and seen.ids.equal(looked.ids)
    model = bench.model()
    attention.install(model)
    with torch.no_grad():
        one, other = (packed_hidden_states(model, bench.family, bench.settings, batch) for batch in (seen, looked))
    assert torch.allclose(one, other, atol=2e-2) and not torch.allclose(one, one.mean(0, keepdim=True), atol=2e-2)


def test_an_interrupted_build_goes_on_with_what_is_missing(bench: Any, few: None, tmp_path: Path) -> None:
    built(bench, tmp_path)
    (folder,) = tmp_path.iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "00001.ends.npy").unlink()
    kept = (folder / "00000.npy").stat().st_mtime_ns
    built(bench, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (folder / "00000.npy").stat().st_mtime_ns == kept


def test_other_weights_and_other_pictures_are_other_features(bench: Any, few: None, tmp_path: Path) -> None:
    rows, given = pictures(bench), (bench.settings, "fp32")
    model = bench.model()
    names = {features.key(model, bench.family, *given, rows), features.key(model, bench.family, *given, rows[:-1])}
    with torch.no_grad():
        next(iter(model.model.vision_tower.parameters())).add_(1.0)
    assert len(names | {features.key(model, bench.family, *given, rows)}) == 3


def test_building_draws_no_random_number(bench: Any, few: None, tmp_path: Path, track: Any) -> None:
    """Else a run that found its features would go on otherwise than one that made them."""
    model = bench.model()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    features.build(tmp_path, pictures(bench), model, "internvl", bench.settings, "fp32", 0, track)
    assert torch.get_rng_state().equal(before)


def test_a_cache_goes_to_a_worker_as_its_names(bench: Any, few: None, tmp_path: Path) -> None:
    import pickle

    cache = built(bench, tmp_path)
    looked = pictures(bench)[-1]
    assert (pickle.loads(pickle.dumps(cache))[looked] == cache[looked]).all()
