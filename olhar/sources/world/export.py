"""The world as LLaVA's JSON, for tools that read nothing else (Liu et al. 2023, arXiv:2304.08485)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from olhar.core.errors import DiskError
from olhar.core.types import Sample, VideoRef
from olhar.sources import Request
from olhar.sources.world import read
from olhar.sources.world.scenes import FRAMES

PLACE = "<image>\n"  # how the format marks the place of a picture


def write_llava(request: Request, target: Path) -> int:
    """Write one record a question as a JSON array, pictures under ``request.media``; returns how many.

    A record holds ``id``, ``image`` (a path from the array's folder) or ``images`` (several; the frames of a
    video), ``conversations``, ``skill``, ``answer``, ``lang`` and ``split``. Raises ``UserError`` as ``read``
    does, and ``DiskError`` where the array cannot be written.
    """
    unfinished = target.with_name(target.name + ".part")
    written = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8") as file:
            for written, sample in enumerate(_samples(request), start=1):
                file.write("[\n" if written == 1 else ",\n")
                json.dump(_record(sample, target.parent), file, ensure_ascii=False)
            file.write("\n]\n" if written else "[]\n")
        os.replace(unfinished, target)
    except OSError as error:
        raise DiskError(
            f"cannot write the records: {error.strerror}", str(target), "free some space or choose another place"
        ) from error
    return written


def _samples(request: Request) -> Iterator[Sample]:
    return (sample for sample in read(request) if isinstance(sample, Sample))


def _record(sample: Sample, folder: Path) -> dict[str, Any]:
    question, answer = sample.turns
    images = [os.path.relpath(path, folder) for path in _pictures(sample)]
    return {
        "id": sample.id,
        **({"image": images[0]} if len(images) == 1 else {"images": images}),
        "conversations": [
            {"from": "human", "value": PLACE * len(images) + question.text},
            {"from": "gpt", "value": answer.text},
        ],
        "skill": sample.meta["skill"],
        "answer": answer.text,
        "lang": sample.language,
        "split": sample.meta["split"],
    }


def _pictures(sample: Sample) -> Iterator[str]:
    for ref in sample.media:
        if isinstance(ref, VideoRef):
            yield from (os.path.join(ref.path, f"{frame}.png") for frame in range(FRAMES))
        else:
            yield ref.path
