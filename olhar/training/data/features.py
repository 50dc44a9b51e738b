"""What a frozen tower sees in every picture, computed once: no decoding, no tower while the rest trains.

Stored are the tower's patch features before the connector (the connector trains), as float16, in shards that are
each written whole; an interrupted run goes on with the first shard that is missing. The folder is named by a hash of
the tower's weights, of how pictures are looked at and of the pictures themselves: nothing else can be found in it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from olhar.core.choices import choose
from olhar.core.store import digest, state, writing
from olhar.core.types import ImageRef, VideoRef
from olhar.families import View, normalised, pixels_of

SHARD, SHARD_BYTES = 1024, 2**26  # most references in a shard, and about how many bytes of pixels
AT_ONCE = 64  # tiles through the tower
Looked = tuple[ImageRef | VideoRef, View]  # a picture, and how it is looked at


class FeatureCache:
    """Patch features by picture and view: ``cache[ref, view]`` is float16 (tiles, patches, width), memory-mapped."""

    def __init__(self, folder: Path, pictures: Sequence[Looked], size: int) -> None:
        self.folder, self.pictures, self.size = folder, pictures, size
        self._place = {looked: divmod(number, size) for number, looked in enumerate(pictures)}
        self._shards: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __getitem__(self, looked: Looked) -> np.ndarray:
        shard, number = self._place[looked]
        if shard not in self._shards:
            features, ends = (np.load(path, mmap_mode="r") for path in shard_files(self.folder, shard))
            self._shards[shard] = features, np.concatenate([[0], ends])
        features, ends = self._shards[shard]
        return features[ends[number] : ends[number + 1]]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "pictures": self.pictures, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def shard_files(folder: Path, shard: int) -> tuple[Path, Path]:
    """Features (tiles, patches, width), and where each reference's tiles end. The second is written last."""
    return folder / f"{shard:05d}.npy", folder / f"{shard:05d}.ends.npy"


def key(model: Any, family: ModuleType, settings: Any, precision: str, pictures: Sequence[Looked]) -> str:
    """A short hash of everything that the features depend on."""
    parameters = dict(model.named_parameters())
    weights = hashlib.sha256()
    for name in sorted(family.roles(model)["vision"]):
        weights.update(parameters[name].detach().cpu().contiguous().view(torch.uint8).numpy().data)
    layer = getattr(model.config, "vision_feature_layer", None)
    files = {path: state(path) for path in dict.fromkeys(ref.path for ref, _ in pictures)}
    return digest([weights.hexdigest(), repr(layer), repr(settings), precision, repr(pictures), files])


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
    """Look at every distinct picture once, into a folder of its own inside ``folder``.

    On a CPU the tower runs in ``workers`` processes beside each other; on a GPU they only read the pictures.
    """
    distinct = tuple(dict.fromkeys(pictures))
    size = max(1, min(SHARD, SHARD_BYTES // (3 * settings.side**2)))
    target = folder / f"features-{key(model, choose('families', family), settings, precision, distinct)}"
    shards = range(-(-len(distinct) // size))
    missing = [shard for shard in shards if not shard_files(target, shard)[1].exists()]
    looking = _Looking(distinct, size, model, family, settings, precision)
    loader = torch.utils.data.DataLoader(
        looking,
        batch_size=None,
        sampler=missing,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        generator=torch.Generator(),  # never the global one: whether pictures were looked at must not show later
    )
    if missing:
        seen = (picture for shard in _kept(looking, loader, target) for picture in looking.of(shard))
        for _ in track(seen, "look at pictures", sum(len(looking.of(shard)) for shard in missing)):
            pass
    return FeatureCache(target, distinct, size)


def _kept(looking: "_Looking", loader: Iterable[Any], target: Path) -> Iterator[int]:
    """Write shards as they come; the number of each."""
    for shard, found, ends in loader:
        features = looking.features(found) if found.dtype == torch.uint8 else found
        for path, array in zip(shard_files(target, shard), (features, ends), strict=True):
            with writing(path, "wb") as handle:
                np.save(handle, array.numpy())
        yield shard


@dataclass(frozen=True, slots=True)
class _Looking(torch.utils.data.Dataset[tuple[int, torch.Tensor, torch.Tensor]]):
    """A shard's features by the shard's number; where the model is on a GPU, the shard's pixels."""

    pictures: Sequence[Looked]
    size: int
    model: Any
    family: str
    settings: Any
    precision: str

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.size)

    def of(self, shard: int) -> Sequence[Looked]:
        """What a shard shows."""
        return self.pictures[shard * self.size : (shard + 1) * self.size]

    def __getitem__(self, shard: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        torch.set_num_threads(1)
        family = choose("families", self.family)
        pixels = [torch.from_numpy(pixels_of([ref], [view], family, self.settings)) for ref, view in self.of(shard)]
        ends = torch.tensor([len(tiles) for tiles in pixels]).cumsum(0)
        found = torch.cat(pixels)
        return shard, self.features(found) if self.model.device.type == "cpu" else found, ends

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(tiles, 3, side, side) uint8 -> (tiles, patches, width) float16 of the tower, on the CPU."""
        family, device = choose("families", self.family), self.model.device
        bf16 = torch.autocast(device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with torch.no_grad(), bf16:
            seen = [
                family.patch_features(self.model, normalised(part.to(device), self.settings)).to(torch.float16).cpu()
                for part in pixels.split(AT_ONCE)
            ]
        return torch.cat(seen).clone()
