"""Samples become token ids once, before training: flat arrays on disk, read by memory map.

Lengths are exact (images are counted from their headers), so packs are planned without decoding a picture.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from olhar.core.errors import UserError
from olhar.core.samples import SampleFile
from olhar.core.store import writing
from olhar.families import Encoder


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """All samples of a mixture as flat arrays.

    ids (tokens,) int32; trained (tokens,) bool; starts (samples + 1,) int64; rows (samples,) int64 into the
    samples file; after_images (samples,) int32; groups (documents + 1,) int64 into samples: neighbours that
    share their images.
    """

    ids: np.ndarray
    trained: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    after_images: np.ndarray
    groups: np.ndarray

    FIELDS = ("ids", "trained", "starts", "rows", "after_images", "groups")

    @property
    def documents(self) -> int:
        return len(self.groups) - 1

    def lengths(self) -> np.ndarray:
        """Tokens of every document, its shared images counted once: (documents,) int64."""
        samples = np.diff(self.starts)
        tails = np.concatenate([[0], np.cumsum(samples - self.after_images)])
        first = self.groups[:-1]
        return tails[self.groups[1:]] - tails[first] + self.after_images[first]


def encode_set(
    samples: SampleFile, rows: Sequence[int], encoder: Encoder, share_images: bool, track: Callable[..., Iterable]
) -> EncodedSet:
    """Encode the listed rows. With ``share_images``, neighbours that begin with the same words and images become
    one document, in which these stand once.

    Raises ``UserError`` when a sample holds no trained token: it would cost time and teach nothing.
    """
    flat: list[np.ndarray] = []
    flat_trained: list[np.ndarray] = []
    lengths, after, groups = [], [], [0]
    previous: tuple[Any, ...] | None = None
    for position, row in enumerate(track(rows, "tokens")):
        sample = samples[row]
        encoded = encoder.sample(sample)
        if not any(encoded.trained):
            raise UserError("this sample has no trained token", f"sample {sample.id!r}", "reject it with a check")
        prefix = encoded.after_images if share_images and not any(encoded.trained[: encoded.after_images]) else 0
        shared = (sample.media, encoded.ids[:prefix]) if prefix else None
        if position and (shared is None or shared != previous):
            groups.append(position)
        previous = shared
        flat.append(np.asarray(encoded.ids, dtype=np.int32))
        flat_trained.append(np.asarray(encoded.trained, dtype=bool))
        lengths.append(len(encoded.ids))
        after.append(prefix)
    groups.append(len(rows))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EncodedSet(
        np.concatenate(flat),
        np.concatenate(flat_trained),
        starts,
        np.asarray(rows, dtype=np.int64),
        np.asarray(after, dtype=np.int32),
        np.asarray(groups, dtype=np.int64),
    )


def save(encoded: EncodedSet, folder: Path) -> None:
    for name in EncodedSet.FIELDS:
        with writing(folder / f"{name}.npy", "wb") as handle:
            np.save(handle, getattr(encoded, name))


def load(folder: Path) -> EncodedSet | None:
    """The set saved in ``folder``, memory-mapped; None unless every array is there."""
    files = [folder / f"{name}.npy" for name in EncodedSet.FIELDS]
    if not all(file.exists() for file in files):
        return None
    return EncodedSet(*(np.load(file, mmap_mode="r") for file in files))
