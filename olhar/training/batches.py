"""Packs become tensors: token rows, who sees whom, what is predicted from where, and pictures as uint8."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from olhar.core.choices import choose
from olhar.core.samples import SampleFile
from olhar.core.types import ImageRef, VideoRef
from olhar.families import View, pixels_of, views_of
from olhar.training.encode import EncodedSet

NOTHING = -1  # the predictor of a token that is not learned
HIDDEN = -1e9  # added to an attention score that must not be seen


@dataclass(frozen=True, slots=True)
class Layout:
    """One pack before it is padded; every array is (tokens,).

    document, question: which one a token belongs to; question 0 is the shared image prefix.
    positions restart per document, and every question continues right after the prefix.
    predictor: index of the token that predicts this one, -1 where nothing is learned.
    """

    ids: np.ndarray
    document: np.ndarray
    question: np.ndarray
    positions: np.ndarray
    predictor: np.ndarray
    rows: list[int]  # into the samples file, one per document: whose pictures fill the image tokens


def lay_out(encoded: EncodedSet, pack: Sequence[int]) -> Layout:
    """Concatenate the documents of one pack, images of a document once."""
    pieces: list[tuple[np.ndarray, ...]] = []
    rows, offset = [], 0
    for number, document in enumerate(pack):
        first, last = int(encoded.groups[document]), int(encoded.groups[document + 1])
        prefix = int(encoded.after_images[first])
        rows.append(int(encoded.rows[first]))
        before = NOTHING  # a document's first token is predicted by nothing, least of all by its neighbour
        if prefix:
            start = int(encoded.starts[first])
            pieces.append(_piece(encoded, start, start + prefix, number, 0, 0, offset, before))
            offset += prefix
            before = offset - 1
        for question, sample in enumerate(range(first, last), start=1):
            start, end = int(encoded.starts[sample]) + prefix, int(encoded.starts[sample + 1])
            pieces.append(_piece(encoded, start, end, number, question, prefix, offset, before))
            offset += end - start
    ids, numbers, questions, positions, predictor = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Layout(ids, numbers, questions, positions, predictor, rows)


def _piece(
    encoded: EncodedSet, start: int, end: int, document: int, question: int, position: int, offset: int, before: int
) -> tuple[np.ndarray, ...]:
    """Ids [start, end) as arrays of a Layout; ``before`` is the index of the token that precedes the piece."""
    count = end - start
    predictor = np.arange(offset - 1, offset + count - 1)
    predictor[0] = before
    return (
        np.asarray(encoded.ids[start:end], dtype=np.int64),
        np.full(count, document),
        np.full(count, question),
        np.arange(position, position + count),
        np.where(encoded.trained[start:end], predictor, NOTHING),
    )


def visible(document: np.ndarray, question: np.ndarray) -> np.ndarray:
    """Who sees whom, (..., tokens, tokens) bool: earlier tokens of the same document, in its prefix or the same
    question. Padding has document -1 and sees only itself."""
    length = document.shape[-1]
    causal = np.tril(np.ones((length, length), dtype=bool))
    same_document = document[..., :, None] == document[..., None, :]
    same_question = (question[..., None, :] == 0) | (question[..., :, None] == question[..., None, :])
    real = document[..., :, None] >= 0
    return (causal & same_document & same_question & real) | np.eye(length, dtype=bool)


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tensors.

    ids, positions (rows, length) int64; mask (rows, 1, length, length) bool, True where visible;
    predictors, targets (labelled,) int64: flat index of the predicting position, and the id it must predict;
    pixels (tiles, 3, side, side) uint8, in the order of the image tokens, or, where a frozen tower has seen
    them before, features (tiles, patches, width) float16; views: of every image and video, in the same order;
    tokens: how many are not padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    pixels: torch.Tensor | None
    features: torch.Tensor | None
    views: Sequence[View]
    tokens: int

    @property
    def weight(self) -> int:
        """How many tokens are learned: what a mean over several batches weighs them by."""
        return len(self.targets)


def collate(
    layouts: Sequence[Layout],
    pad: int,
    pixels: torch.Tensor | None = None,
    features: torch.Tensor | None = None,
    views: Sequence[View] = (),
) -> Batch:
    """Pad the packs of one step to their longest, rounded up to a multiple of 8."""
    length = -(-max(len(layout.ids) for layout in layouts) // 8) * 8
    ids, positions = _padded(layouts, "ids", length, pad), _padded(layouts, "positions", length, 0)
    document, question = _padded(layouts, "document", length, -1), _padded(layouts, "question", length, 0)
    predictor = _padded(layouts, "predictor", length, NOTHING)
    row, column = np.nonzero(predictor != NOTHING)
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(visible(document, question)[:, None]),
        torch.from_numpy(row * length + predictor[row, column]),
        torch.from_numpy(ids[row, column]),
        pixels,
        features,
        views,
        int(sum(len(layout.ids) for layout in layouts)),
    )


def _padded(layouts: Sequence[Layout], field: str, length: int, value: int) -> np.ndarray:
    rows = np.full((len(layouts), length), value, dtype=np.int64)
    for row, layout in zip(rows, layouts, strict=True):
        array = getattr(layout, field)
        row[: len(array)] = array
    return rows


class Features(Protocol):
    """Patch features of a picture that was looked at this way before: float16 (tiles, patches, width)."""

    def __getitem__(self, looked: tuple[ImageRef | VideoRef, View]) -> np.ndarray: ...


class PackedBatches(torch.utils.data.Dataset[Batch]):
    """A step's batch by the step's number: resuming is an index, never a replay."""

    def __init__(
        self,
        encoded: EncodedSet,
        samples: SampleFile,
        packs: Sequence[Sequence[int]],
        order: np.ndarray,
        family: str,
        settings: Any,
        pad: int,
        features: Features | None = None,
    ) -> None:
        self.encoded, self.samples, self.packs, self.order = encoded, samples, packs, order
        self.family, self.settings, self.pad = family, settings, pad  # by name: workers import it themselves
        self.features = features

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> Batch:
        layouts = [lay_out(self.encoded, self.packs[pack]) for pack in self.order[step]]
        family = choose("families", self.family)
        documents = [self.samples[row].media for layout in layouts for row in layout.rows]
        views = [view for media in documents for view in views_of(media, family, self.settings)]
        media = [ref for document in documents for ref in document]
        if not media:
            return collate(layouts, self.pad)
        if self.features is not None:
            seen = [self.features[looked] for looked in zip(media, views, strict=True)]
            return collate(layouts, self.pad, features=torch.from_numpy(np.concatenate(seen)), views=views)
        pixels = pixels_of(media, views, family, self.settings)
        return collate(layouts, self.pad, pixels=torch.from_numpy(pixels), views=views)
