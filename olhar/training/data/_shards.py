"""A shard of encoded samples: made, kept as one file, and joined with the others without holding them all."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from olhar.core.samples import SampleFile
from olhar.core.store import writing
from olhar.core.types import Finding
from olhar.training.data.pieces import Cutter, Piece

Shard = Mapping[str, np.ndarray]
FATES = ("rejected", "truncated", "split")
PER_SAMPLE = {"rows": np.int64, "after_images": np.int32, "tiles": np.int32, "image_tokens": np.int32}
PER_SAMPLE |= {"labelled": np.int32}
STREAMED = {"ids": np.dtype(np.int32), "trained": np.dtype(bool)}


def path(folder: Path, shard: int) -> Path:
    return folder / f"{shard:05d}.npz"


def encoded(samples: SampleFile, rows: Iterable[int], cutter: Cutter, share_images: bool) -> Shard:
    """The listed rows as arrays: those of an ``EncodedSet``, but lengths and sizes (of groups) for starts and groups;
    fates (3,) of samples that were not just kept, findings (bytes,) uint8 of JSON lines."""
    made = _Growing(share_images, cutter.max_tokens)
    for row in rows:
        outcome = cutter.outcome(samples[row])
        if outcome.fate != "kept":
            made.fates[outcome.fate] += 1
        made.findings.extend(outcome.findings)
        for piece in outcome.pieces:
            made.add(row, piece)
    return made.arrays()


@dataclass(slots=True)
class _Growing:
    """A shard while it is made. ``shared``: media and ids with which the last document begins."""

    share_images: bool
    max_tokens: int
    ids: list[np.ndarray] = field(default_factory=list)
    trained: list[np.ndarray] = field(default_factory=list)
    numbers: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in (*PER_SAMPLE, "shown")})
    sizes: list[int] = field(default_factory=list)
    fates: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FATES, 0))
    findings: list[Finding] = field(default_factory=list)
    shared: tuple[Any, bytes] | None = None
    length: int = 0

    def add(self, row: int, piece: Piece) -> None:
        """One piece more, in the document before it if it begins alike and there is room."""
        prefix = piece.after_images if self.share_images and not piece.trained[: piece.after_images].any() else 0
        shared = (piece.media, piece.ids[:prefix].tobytes()) if prefix else None
        own = len(piece.ids) - prefix
        if shared is not None and shared == self.shared and self.length + own <= self.max_tokens:
            self.sizes[-1] += 1
            self.length += own
        else:
            self.sizes.append(1)
            self.length = len(piece.ids)
        self.shared = shared
        self.ids.append(piece.ids)
        self.trained.append(piece.trained)
        found = {"rows": row, "after_images": prefix, "tiles": piece.tiles, "image_tokens": piece.image_tokens}
        for name, number in {**found, "labelled": piece.labelled, "shown": piece.shown}.items():
            self.numbers[name].append(number)

    def arrays(self) -> Shard:
        lines = "".join(json.dumps(asdict(found), ensure_ascii=False) + "\n" for found in self.findings)
        return {
            "ids": np.concatenate([np.zeros(0, dtype=np.int32), *self.ids]),
            "trained": np.concatenate([np.zeros(0, dtype=bool), *self.trained]),
            "lengths": np.asarray([len(ids) for ids in self.ids], dtype=np.int64),
            "sizes": np.asarray(self.sizes, dtype=np.int64),
            "shown": np.asarray(self.numbers["shown"], dtype=np.int32).reshape(-1, 3),
            **{name: np.asarray(self.numbers[name], dtype=kind) for name, kind in PER_SAMPLE.items()},
            "fates": np.asarray([self.fates[fate] for fate in FATES], dtype=np.int64),
            "findings": np.frombuffer(lines.encode(), dtype=np.uint8),
        }


def save(made: Shard, folder: Path, shard: int) -> None:
    with writing(path(folder, shard), "wb") as handle:
        np.savez(handle, **made)  # type: ignore[arg-type]  # its stub takes the arrays for allow_pickle


class Kept(Mapping[str, np.ndarray]):
    """A shard on disk: each array is read when it is asked for, and no file stays open."""

    def __init__(self, folder: Path, shard: int) -> None:
        self.path = path(folder, shard)

    def __getitem__(self, name: str) -> np.ndarray:
        with np.load(self.path) as arrays:
            found: np.ndarray = arrays[name]
        return found

    def __iter__(self) -> Iterator[str]:
        with np.load(self.path) as arrays:
            return iter(list(arrays))

    def __len__(self) -> int:
        return len(list(iter(self)))


def join(shards: Sequence[Shard], folder: Path, findings: str) -> dict[str, int]:
    """Write the arrays of an ``EncodedSet`` and the findings; returns its counts. Tokens pass shard by shard."""
    lengths, sizes = (_together(shards, name, np.int64) for name in ("lengths", "sizes"))
    numbers = {name: _together(shards, name, kind) for name, kind in PER_SAMPLE.items()}
    starts, groups = (np.concatenate([[0], np.cumsum(counted)]).astype(np.int64) for counted in (lengths, sizes))
    shown = np.concatenate([np.zeros((0, 3), dtype=np.int32), *(shard["shown"] for shard in shards)])
    for name, array in {**numbers, "starts": starts, "groups": groups, "shown": shown}.items():
        with writing(folder / f"{name}.npy", "wb") as handle:
            np.save(handle, array)
    for name, kind in STREAMED.items():
        _stream(folder / f"{name}.npy", kind, int(starts[-1]), (shard[name] for shard in shards))
    with writing(folder / findings, "wb") as handle:
        handle.writelines(shard["findings"].tobytes() for shard in shards)
    first = groups[:-1]  # of every document: its images stand there once
    fates = sum((shard["fates"] for shard in shards), np.zeros(len(FATES), dtype=np.int64))
    after = numbers["after_images"]
    return {
        "samples": len(lengths),
        "documents": len(first),
        "tokens": int(lengths.sum() - after.sum() + after[first].sum()),
        "image_tokens": int(numbers["image_tokens"][first].sum()),
        "labelled": int(numbers["labelled"].sum()),
        **dict(zip(FATES, fates.tolist(), strict=True)),
    }


def _together(shards: Sequence[Shard], name: str, kind: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=kind), *(shard[name] for shard in shards)])


def _stream(target: Path, kind: np.dtype[Any], count: int, parts: Iterator[np.ndarray]) -> None:
    """An ``.npy`` file of shape (count,) from its parts, one of them in memory at a time."""
    described = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    with writing(target, "wb") as handle:
        np.lib.format.write_array_header_1_0(handle, described)
        for part in parts:
            handle.write(np.ascontiguousarray(part, dtype=kind).tobytes())
