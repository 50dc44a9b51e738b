"""A step's tensors: token rows, and pictures as uint8. One item is what one process learns from in one step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from olhar.core import marks
from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.core.samples import SampleFile
from olhar.core.types import USUAL_PEN, ImageRef, Pen, Sample, VideoRef
from olhar.families import View, pixels_of, views_of
from olhar.training.data.draws import draws
from olhar.training.data.encode import EncodedSet
from olhar.training.data.layout import Row, Segments, empty, lay_out, rounded
from olhar.training.data.pieces import shown_media
from olhar.training.data.shares import share_out

__all__ = ["Batch", "Features", "Look", "PackedBatches", "Segments", "StepBatch", "collate", "lay_out", "moved"]

Moved = TypeVar("Moved")
Looked = tuple[ImageRef | VideoRef, View]


def moved(batch: Moved, change: Any) -> Moved:
    """A dataclass with ``change`` done to each of its tensors."""
    tensors = {field.name: getattr(batch, field.name) for field in fields(batch)}  # type: ignore[arg-type]
    changed = {name: change(value) for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    return replace(batch, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch: packs in one row, end to end.

    ids, positions (tokens,) int64: positions restart with every document, questions continue after what they share.
    predictors, targets (labelled,) int64: index of the predicting token, and the id it must predict; weights
    (labelled,) float32. pixels (tiles, 3, side, side) uint8 in the order of the image tokens; or, where a frozen
    tower has seen them before, features (tiles, patches, width) float16. views: of every image and video, in the same
    order. tokens: real ones, 0 where a process has nothing to learn and takes one token of padding. samples: how many.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: Segments
    predictors: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    pixels: torch.Tensor | None
    features: torch.Tensor | None
    views: Sequence[View]
    tokens: int
    samples: int

    @property
    def weight(self) -> float:
        """What its labelled tokens weigh together."""
        return float(self.weights.double().sum())

    def to(self, device: torch.device | str) -> "Batch":
        """The same on a device; copies from pinned memory go on beside what the device does."""
        return moved(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        return moved(self, torch.Tensor.pin_memory)


@dataclass(frozen=True, slots=True)
class StepBatch:
    """What one process learns from in one step: micro-batches, as many on every process.

    weight, tokens, samples: their sums. capacity: tokens that the process's packs could hold.
    """

    parts: Sequence[Any]
    weight: float
    tokens: int
    samples: int
    capacity: int

    @classmethod
    def of(cls, parts: Sequence[Any], capacity: int) -> "StepBatch":
        weight = sum(part.weight for part in parts)
        return cls(parts, weight, sum(p.tokens for p in parts), sum(p.samples for p in parts), capacity)

    def to(self, device: torch.device | str) -> "StepBatch":
        return replace(self, parts=[part.to(device) for part in self.parts])

    def pin_memory(self) -> "StepBatch":
        return replace(self, parts=[part.pin_memory() for part in self.parts])


def collate(
    row: Row,
    pixels: torch.Tensor | None = None,
    features: torch.Tensor | None = None,
    views: Sequence[View] = (),
) -> Batch:
    """A row and what its image tokens show as tensors."""
    numbers = (row.predictors, row.targets, row.weights)
    tensors = [torch.from_numpy(array) for array in (row.ids, row.positions, *numbers)]
    ids, positions, predictors, targets, weights = tensors
    shown = pixels, features, views
    return Batch(ids, positions, row.segments, predictors, targets, weights, *shown, row.real, row.samples)


class Features(Protocol):
    """Patch features of a picture that was looked at this way before: float16 (tiles, patches, width)."""

    def __getitem__(self, looked: Looked) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class Look:
    """How media become tensors. family: by name, worker processes import it themselves. pen: draws the marks that
    say nothing of their own. features: of pictures that a frozen tower has seen; asked for with penned references."""

    family: str
    settings: Any
    pen: Pen = USUAL_PEN
    features: Features | None = None

    def penned(self, media: Sequence[ImageRef | VideoRef]) -> list[ImageRef | VideoRef]:
        return [marks.penned(ref, self.pen) for ref in media]


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the processes that train together this is."""

    rank: int = 0
    size: int = 1


class PackedBatches(torch.utils.data.Dataset[StepBatch]):
    """What a process learns from in a step, by the step's number: resuming is an index, never a replay.

    ``len`` is the number of steps of the stage. Lengths were planned from headers; pictures that have changed since,
    or cannot be decoded, are a ``UserError`` naming sample and file, never another sample in their place.
    """

    def __init__(
        self,
        encoded: EncodedSet,
        samples: SampleFile,
        stage: TrainStage,
        look: Look,
        *,
        capacity: int,
        max_tiles: int | None = None,
        seed: int = 0,
        pad: int = 0,
        share: Share | None = None,
    ) -> None:
        self.encoded, self.samples, self.stage, self.look = encoded, samples, stage, look
        self.capacity, self.pad, self.share = capacity, pad, share or Share()
        self.draws = draws(encoded, stage, capacity, max_tiles, seed)

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, step: int) -> StepBatch:
        mine = self._mine(step)
        return StepBatch.of([self._batch(packs) for packs in mine], sum(map(len, mine)) * self.capacity)

    def sample_ids(self, step: int) -> list[str]:
        """What this process learns from in a step, by the names of the samples."""
        spans = [span for packs in self._mine(step) for pack in packs for span in pack.tolist()]
        return [self.samples[int(row)].id for first, last in spans for row in self.encoded.rows[first:last]]

    def _mine(self, step: int) -> list[list[np.ndarray]]:
        """The packs of each of this process's micro-batches."""
        packs = self.draws[step]
        tokens = np.asarray([self.encoded.lengths_of(pack).sum() for pack in packs])
        tiles = np.asarray([self.encoded.tiles[pack[:, 0]].sum() for pack in packs])
        shares = share_out(tokens, tiles, self.share.size, self.stage.micro_batch)
        return [[packs[pack] for pack in part.tolist()] for part in shares[self.share.rank]]

    def _batch(self, packs: Sequence[np.ndarray]) -> Batch:
        if not packs:
            return collate(empty(self.pad))
        row = rounded(lay_out(self.encoded, packs, self.stage.weighting), self.pad)
        views: list[View] = []
        arrays: list[np.ndarray] = []
        for number in row.shown:
            seen, arrays_of = self._shown(number)
            views += seen
            arrays += arrays_of
        if not arrays:
            return collate(row)
        tensor = torch.from_numpy(np.concatenate(arrays))
        if self.look.features is not None:
            return collate(row, features=tensor, views=views)
        return collate(row, pixels=tensor, views=views)

    def _shown(self, number: int) -> tuple[list[View], list[np.ndarray]]:
        """Views and pixels (or features) of the media of one sample of the encoded set."""
        if not self.encoded.shown[number, 0] and self.encoded.shown[number, 1] == self.encoded.shown[number, 2]:
            return [], []
        sample, family = self.samples[int(self.encoded.rows[number])], choose("families", self.look.family)
        media = self.look.penned(list(shown_media(sample, self.encoded.shown[number].tolist())))
        with _naming(sample):
            views = views_of(media, family, self.look.settings)
        self._verify(number, sample, views)
        arrays = []
        for ref, view in zip(media, views, strict=True):
            if self.look.features is not None:
                arrays.append(self.look.features[ref, view])
            else:
                with _naming(sample, ref):
                    arrays.append(pixels_of([ref], [view], family, self.look.settings))
        return views, arrays

    def _verify(self, number: int, sample: Sample, views: Sequence[View]) -> None:
        """Raises ``UserError`` where the pictures on disk are not those whose tokens were counted."""
        now = sum(view.budget.tokens for view in views), sum(view.budget.tiles for view in views)
        then = int(self.encoded.image_tokens[number]), int(self.encoded.tiles[number])
        if now != then:
            raise UserError(
                f"{then[0]} tokens in {then[1]} tiles were counted for its pictures; now it is {now[0]} in {now[1]}",
                f"sample {sample.id!r}, {', '.join(dict.fromkeys(ref.path for ref in sample.media))}",
                "a picture was replaced by one of another size: put the old one back, or encode the samples again",
            )


@contextmanager
def _naming(sample: Sample, ref: ImageRef | VideoRef | None = None) -> Iterator[None]:
    """A ``UserError`` inside says whose picture it is about."""
    try:
        yield
    except UserError as error:
        place = ref.path if ref is not None and ref.path not in error.where else ""
        where = ", ".join(filter(None, (f"sample {sample.id!r}", place, error.where)))
        raise UserError(error.what, where, error.fix) from error
