"""A look at a recipe's data before it is ingested: a few hundred samples, the sizes of their pictures, how many there
are.

Bounded whatever the data's size: the first ``READ`` samples are read, and of these ``KEPT`` in seeded runs of
neighbours, which share pictures as they will in training. A large JSON file is read in pieces from all over it
(``olhar.stages._excerpt``).
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from olhar.core import pictures
from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import DataSet, Recipe
from olhar.core.types import ImageRef, Sample, VideoRef
from olhar.families import Medium
from olhar.sources import Request
from olhar.stages import _excerpt
from olhar.stages.ingest import request_for

READ, KEPT, RUN = 1600, 384, 16  # samples read, samples kept, neighbours that are kept together
MADE = 400  # samples read of a source that makes its pictures itself
UNSEEN = (640, 480)  # width and height that a picture is taken to have where there is no file
Counted = Literal["counted", "estimated", "expected", "unknown"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A sample and what its media's headers say; ``unseen`` of them had no file."""

    sample: Sample
    media: tuple[Medium, ...]
    unseen: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a data set. seen: nothing where it is not there yet. count: its samples, None where nobody
    can tell. rows: whether ``seen`` are all of them."""

    name: str
    seen: tuple[Seen, ...]
    count: int | None
    how: Counted
    whole: bool = False


def looked(data: DataSet, recipe: Recipe) -> Look:
    """A seeded look at one data set; its pictures' headers are read, nothing is decoded."""
    if missing(data):
        return _absent(data)
    with tempfile.TemporaryDirectory(prefix="olhar-plan-") as folder:
        request = request_for(data, recipe, Path(folder) / "media")
        excerpt = _excerpt.of(request.path, Path(folder), recipe.seed) if request.path else None
        if excerpt and (beside := _with_folders(request)):
            request, guess = replace(beside, path=excerpt.path), excerpt.records
        else:
            guess = None
        try:
            samples, whole = _read(request, data.source, READ if request.path else MADE)
        except UserError:  # a folder of its options is missing, which ``olhar ingest`` will say
            return _absent(data)
        kept = samples if len(samples) <= KEPT else [samples[number] for number in _runs(len(samples), recipe.seed)]
        seen = tuple(_seen(sample) for sample in kept)
    count, how = _count(data, request, samples, whole and guess is None, guess)
    return Look(data.name, seen, count, how, whole and guess is None and len(seen) == len(samples))


def missing(data: DataSet) -> bool:
    """Whether the data set names a file or folder that is not there."""
    return data.path is not None and not data.path.exists()


def _absent(data: DataSet) -> Look:
    return Look(data.name, (), data.expect, "expected" if data.expect else "unknown")


def _with_folders(request: Request) -> Request | None:
    """The request with the folder of its file named for media, so that the file may be read from elsewhere."""
    fields = type(request.options).model_fields
    if "images" not in fields or request.path is None:
        return None
    folders = {"images": getattr(request.options, "images", None) or str(request.path.parent)}
    return replace(request, options=request.options.model_copy(update=folders))


def _read(request: Request, source: str, most: int) -> tuple[list[Sample], bool]:
    """The first samples, and whether they are all."""
    found: Iterator[Any] = (item for item in choose("sources", source).read(request) if isinstance(item, Sample))
    samples = list(islice(found, most + 1))
    return samples[:most], len(samples) <= most


def _runs(count: int, seed: int) -> list[int]:
    """``KEPT`` of the numbers below ``count``, in seeded runs of neighbours, in order."""
    starts = np.arange(0, count - RUN + 1, RUN)
    chosen = np.random.default_rng(seed).choice(starts, min(KEPT // RUN, len(starts)), replace=False)
    return [int(start) + step for start in np.sort(chosen) for step in range(RUN)]


def _seen(sample: Sample) -> Seen:
    media, unseen = [], 0
    for ref in sample.media:
        kind: Literal["image", "video"] = "image" if isinstance(ref, ImageRef) else "video"
        try:
            sizes = pictures.sizes(ref)
        except UserError:
            sizes, unseen = (UNSEEN,) * _frames(ref), unseen + 1
        media.append(Medium(kind, sizes))
    return Seen(sample, tuple(media), unseen)


def _frames(ref: ImageRef | VideoRef) -> int:
    return 1 if isinstance(ref, ImageRef) else ref.frames or 8


def _count(
    data: DataSet, request: Request, samples: list[Sample], whole: bool, guess: int | None
) -> tuple[int | None, Counted]:
    """How many samples there are: counted, said by the source, expected by the recipe, or reckoned from a part."""
    said = choose("sources", data.source).count(request)
    if whole:
        return len(samples), "counted"
    if said is not None:
        return said, "counted"
    if data.expect is not None:
        return data.expect, "expected"
    if guess is not None:
        return guess, "estimated"
    scenes, last = getattr(request.options, "scenes", None), samples[-1].meta.get("scene") if samples else None
    if scenes and isinstance(last, int) and last:  # the last scene read may have further questions
        before = sum(sample.meta["scene"] < last for sample in samples)
        return round(before / last * scenes), "estimated"
    return None, "unknown"


def distinct_tiles(look: Look, family: Any, settings: Any) -> float | None:
    """Tiles of all different media of a data set; None where nobody can tell how many samples it has.

    Of a data set that is not there every sample is taken to have a picture of its own.
    """
    if look.count is None:
        return None
    if not look.seen:
        return float(look.count * family.views([Medium("image", (UNSEEN,))], settings)[0].budget.tiles)
    different: dict[Any, int] = {}
    for seen in look.seen:
        for ref, view in zip(seen.sample.media, family.views(seen.media, settings), strict=True):
            different[ref, view] = view.budget.tiles
    return sum(different.values()) / len(look.seen) * look.count
