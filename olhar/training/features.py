"""What a frozen tower sees in every picture, computed once: no decoding, no tower while the rest trains.

Stored are the tower's patch features before the connector (the connector trains), as float16, in shards that are
each written whole; an interrupted run goes on with the first shard that is missing.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from olhar.core.choices import choose
from olhar.core.store import writing
from olhar.core.types import ImageRef, VideoRef
from olhar.families import View, normalised, pixels_of

SHARD = 1024  # references a shard
Looked = tuple[ImageRef | VideoRef, View]  # a picture, and how it is looked at


class FeatureCache:
    """Patch features by picture and view: ``cache[ref, view]`` is float16 (tiles, patches, width), memory-mapped."""

    def __init__(self, folder: Path, pictures: Sequence[Looked]) -> None:
        self.folder, self.pictures = folder, pictures
        self._place = {looked: divmod(number, SHARD) for number, looked in enumerate(pictures)}
        self._shards: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, looked: Looked) -> np.ndarray:
        shard, number = self._place[looked]
        if shard not in self._shards:
            features, ends = (np.load(path, mmap_mode="r") for path in shard_files(self.folder, shard))
            self._shards[shard] = features, np.concatenate([[0], ends])
        features, ends = self._shards[shard]
        return features[ends[number] : ends[number + 1]]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "pictures": self.pictures}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def shard_files(folder: Path, shard: int) -> tuple[Path, Path]:
    """Features (tiles, patches, width), and where each reference's tiles end. The second is written last."""
    return folder / f"{shard:05d}.npy", folder / f"{shard:05d}.ends.npy"


def build(
    folder: Path,
    pictures: Iterable[Looked],
    model: Any,
    family: str,
    settings: Any,
    precision: str,
    workers: int,
    track: Callable[..., Iterable[Any]],
) -> FeatureCache:
    """Look at every distinct picture once, in ``workers`` processes beside each other."""
    distinct = tuple(dict.fromkeys(pictures))
    shards = range(-(-len(distinct) // SHARD))
    missing = [shard for shard in shards if not shard_files(folder, shard)[1].exists()]
    looking = _Looking(distinct, model, family, settings, precision)
    loader = torch.utils.data.DataLoader(
        looking,
        batch_size=None,
        sampler=missing,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        generator=torch.Generator(),  # never the global one: whether pictures were looked at must not show later
    )
    for shard, features, ends in track(loader, "look at pictures", len(missing)) if missing else ():
        for path, array in zip(shard_files(folder, shard), (features, ends), strict=True):
            with writing(path, "wb") as handle:
                np.save(handle, array.numpy())
    return FeatureCache(folder, distinct)


@dataclass(frozen=True, slots=True)
class _Looking(torch.utils.data.Dataset[tuple[int, torch.Tensor, torch.Tensor]]):
    """A shard's features by the shard's number."""

    pictures: Sequence[Looked]
    model: Any
    family: str
    settings: Any
    precision: str

    def __len__(self) -> int:
        return -(-len(self.pictures) // SHARD)

    def __getitem__(self, shard: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        torch.set_num_threads(1)
        family = choose("families", self.family)
        found, ends = [], [0]
        bf16 = torch.autocast("cpu", torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with torch.no_grad(), bf16:
            for ref, view in self.pictures[shard * SHARD : (shard + 1) * SHARD]:
                pixels = torch.from_numpy(pixels_of([ref], [view], family, self.settings))
                found.append(pixels)
                ends.append(ends[-1] + len(pixels))
            features = [
                family.patch_features(self.model, normalised(part, self.settings)).to(torch.float16)
                for part in torch.cat(found).split(64)
            ]
        return shard, torch.cat(features).clone(), torch.tensor(ends[1:])
