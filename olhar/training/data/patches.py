"""Dense pretraining of a vision tower: which class does every patch show, and does a mark point at it?

Labels come from boxes in ``Sample.meta["objects"]``: per picture a list of
``[label, x0, y0, x1, y1, marked]`` in pixels. A patch shows an object when its centre lies inside the box.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from olhar.core import pictures
from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Sample
from olhar.families import Medium
from olhar.training.data.batches import StepBatch, moved
from olhar.training.data.packs import Order

CHROMATIC = "shape:"  # labels of this kind name a colour, so their pictures keep their hue
DIRECTED = "letter:"  # and of this kind change when mirrored


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture and its boxes: label, x0, y0, x1, y1 in pixels, marked."""

    path: str
    objects: tuple[tuple[str, float, float, float, float, bool], ...]


def labelled_pictures(samples: Iterable[Sample]) -> list[Labelled]:
    """Every distinct picture of the samples, with its boxes."""
    found: dict[str, Labelled] = {}
    for sample in samples:
        boxes = sample.meta.get("objects")
        if boxes is None:
            raise UserError("this sample has no boxes to learn from", f"sample {sample.id!r}", "use objective answers")
        paths = [path for ref in sample.media for path in _paths(ref)]
        if len(paths) != len(boxes):
            what = f"{len(boxes)} lists of boxes for {len(paths)} pictures"
            raise UserError(what, f"sample {sample.id!r}", "give one list a picture, empty where nothing is marked")
        for path, objects in zip(paths, boxes, strict=True):
            if path not in found:
                found[path] = Labelled(path, tuple(tuple(entry) for entry in objects))
    return list(found.values())


def _paths(ref: object) -> Sequence[str]:
    return (ref.path,) if isinstance(ref, ImageRef) else pictures.frames(ref)  # type: ignore[arg-type]


def class_names(labelled: Sequence[Labelled]) -> list[str]:
    """All labels, sorted; class 0 is the background."""
    return ["background", *sorted({entry[0] for picture in labelled for entry in picture.objects})]


@dataclass(frozen=True, slots=True)
class PatchBatch:
    """pixels (images, 3, side, side) uint8; classes and marked (images, patches) int64."""

    pixels: torch.Tensor
    classes: torch.Tensor
    marked: torch.Tensor

    @property
    def tokens(self) -> int:
        return self.classes.numel()

    @property
    def samples(self) -> int:
        return len(self.classes)

    @property
    def weight(self) -> int:
        """Pictures. The loss inside a batch is weighted by class, so its mean over processes is nearly, not
        exactly, that of one process."""
        return len(self.classes)

    def to(self, device: torch.device | str) -> "PatchBatch":
        return moved(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "PatchBatch":
        return moved(self, torch.Tensor.pin_memory)


class PatchBatches(torch.utils.data.Dataset[StepBatch]):
    """A process's share of a step's pictures and label maps, by the step's number: one micro-batch.

    order: which pictures each step sees, on all processes together.
    """

    def __init__(
        self,
        labelled: Sequence[Labelled],
        order: Order | np.ndarray,
        family: str,
        settings: object,
        augment: bool,
        seed: int,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.labelled, self.order, self.family, self.settings = labelled, order, family, settings
        self.augment, self.seed, self.rank, self.size = augment, seed + rank, rank, size
        if len(order) and len(order[0]) < size:
            what = f"{len(order[0])} pictures a step for {size} processes"
            raise UserError(what, "train.stages: batch", "raise batch, or lower train.processes")
        self.classes = {name: number for number, name in enumerate(class_names(labelled))}

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> StepBatch:
        batch = self._batch(step)
        return StepBatch.of([batch], batch.tokens)

    def _batch(self, step: int) -> PatchBatch:
        family = choose("families", self.family)
        chosen = [self.labelled[index] for index in self.order[step][self.rank :: self.size]]
        images = [pictures.read(ImageRef(picture.path))[0] for picture in chosen]
        # a video of one frame: every family squashes a frame into one tile, whatever it does with an image
        views = [family.views([Medium("video", (image.size,))], self.settings)[0] for image in images]
        looked = zip(images, views, strict=True)
        pixels = np.concatenate([family.pixels([image], view, self.settings) for image, view in looked])
        sizes = [image.size for image in images]
        maps = [self._maps(picture, size) for picture, size in zip(chosen, sizes, strict=True)]
        classes, marked = (np.stack(part) for part in zip(*maps, strict=True))
        if self.augment:
            self._augment(step, chosen, pixels, classes, marked)
        flat = (len(chosen), -1)
        return PatchBatch(
            torch.from_numpy(pixels),
            torch.from_numpy(classes.reshape(flat)),
            torch.from_numpy(marked.reshape(flat)),
        )

    def _maps(self, picture: Labelled, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Class and mark of every patch: two (rows, columns) int64 maps."""
        grid = self.settings.side // self.settings.patch  # type: ignore[attr-defined]
        x, y = ((np.arange(grid) + 0.5) / grid * extent for extent in size)
        classes, marked = np.zeros((grid, grid), dtype=np.int64), np.zeros((grid, grid), dtype=np.int64)
        for label, x0, y0, x1, y1, is_marked in picture.objects:
            inside = ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))[None, :]
            classes[inside] = self.classes[label]
            marked[inside] = int(is_marked)
        return classes, marked

    def _augment(
        self, step: int, chosen: Sequence[Labelled], pixels: np.ndarray, classes: np.ndarray, marked: np.ndarray
    ) -> None:
        """In place: mirrored pictures and shifted colours, so that the drawing counts and not its palette."""
        random = np.random.default_rng([self.seed, step])
        for index, picture in enumerate(chosen):
            kinds = tuple(entry[0] for entry in picture.objects)
            if random.random() < 0.5 and not any(kind.startswith(DIRECTED) for kind in kinds):
                for array in (pixels, classes, marked):
                    array[index] = array[index][..., ::-1].copy()
            hue = 0.0 if any(kind.startswith(CHROMATIC) for kind in kinds) else random.normal(0, 0.3)
            pixels[index] = recoloured(pixels[index], hue, random)


def recoloured(pixels: np.ndarray, hue: float, random: np.random.Generator) -> np.ndarray:
    """uint8 (3, height, width) with its hue turned by ``hue`` radians, its saturation, contrast and light shifted."""
    grey = np.full((3, 3), 1 / 3)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(hue) * (np.eye(3) - grey) + np.sin(hue) * axis  # rotation about the grey axis (Rodrigues)
    matrix = grey + random.uniform(0.4, 1.4) * turn
    contrast, light = random.uniform(0.7, 1.3), random.uniform(-25, 25)
    coloured = np.einsum("ij,jhw->ihw", matrix, pixels.astype(np.float32) - 128) * contrast + 128 + light
    return np.clip(coloured, 0, 255).astype(np.uint8)
