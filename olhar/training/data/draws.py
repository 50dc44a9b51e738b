"""What every step learns from: packs drawn from a plan of all packs, or samples drawn and packed anew."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from olhar.core.recipe import TrainStage
from olhar.training.data.encode import EncodedSet
from olhar.training.data.packs import Order, Packs, plan_packs, steps_of


class Draws(Protocol):
    """The packs of each step, each as its documents' samples [first, last): (documents, 2) int64."""

    def __len__(self) -> int: ...

    def __getitem__(self, step: int) -> Sequence[np.ndarray]: ...


class PackDraws:
    """Steps of ``stage.batch`` packs out of one plan of the whole set; each pack is seen once in an epoch."""

    def __init__(self, encoded: EncodedSet, stage: TrainStage, capacity: int, max_tiles: int | None, seed: int) -> None:
        self.spans = encoded.spans()
        tiles = np.asarray(encoded.tiles)[self.spans[:, 0]]
        self.packs = planned(encoded.lengths(), tiles, stage.packing, capacity, max_tiles)
        steps = steps_of(stage, len(self.packs), encoded.samples)
        self.order = Order(len(self.packs), stage.batch, steps, seed)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> list[np.ndarray]:
        return [self.spans[self.packs[pack]] for pack in self.order[step].tolist()]


class SampleDraws:
    """Steps of ``stage.batch`` samples, packed within the step; each sample is seen once in an epoch.

    Samples that share their images are drawn one after the other, so that they share them here too; where a step ends
    among them, the next one shows the images again.
    """

    def __init__(self, encoded: EncodedSet, stage: TrainStage, capacity: int, max_tiles: int | None, seed: int) -> None:
        self.encoded, self.packing, self.capacity, self.max_tiles = encoded, stage.packing, capacity, max_tiles
        steps = steps_of(stage, 0, encoded.samples)
        groups = encoded.groups if encoded.documents < encoded.samples else None
        self.order = Order(encoded.samples, stage.batch, steps, seed, groups)
        self.first = np.zeros(encoded.samples, dtype=bool)  # of a document
        self.first[encoded.groups[:-1]] = True

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> list[np.ndarray]:
        drawn = self.order[step]
        begins = np.concatenate([[True], (np.diff(drawn) != 1) | self.first[drawn[1:]]])
        ends = np.append(np.nonzero(begins)[0][1:], len(drawn)) - 1
        spans = np.stack([drawn[begins], drawn[ends] + 1], axis=1)
        lengths, tiles = self.encoded.lengths_of(spans), np.asarray(self.encoded.tiles[spans[:, 0]])
        packs = planned(lengths, tiles, self.packing, self.capacity, self.max_tiles)
        return [spans[pack] for pack in packs]


def draws(encoded: EncodedSet, stage: TrainStage, capacity: int, max_tiles: int | None, seed: int) -> Draws:
    """The draws of a stage, by its ``unit``."""
    kind = PackDraws if stage.unit == "packs" else SampleDraws
    return kind(encoded, stage, capacity, max_tiles, seed)


def planned(lengths: np.ndarray, tiles: np.ndarray, packing: bool, capacity: int, max_tiles: int | None) -> Packs:
    """A plan of packs; without packing, every document is one."""
    if packing:
        return plan_packs(lengths, capacity, tiles, max_tiles)
    return Packs(np.arange(len(lengths)), np.arange(len(lengths) + 1))
