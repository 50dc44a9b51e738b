"""How many samples a second are ready for training: JPEGs decoded and resized, beside transformers' image processor.

    python benchmarks/pictures.py [--pictures 256] [--batch 8] [--workers 0 1 2 4] [--rounds 3] [--record]

Pictures of 1024 x 768 pixels become 336 x 336, once by ``PackedBatches`` (the whole path: sample, tokens, packs,
pixels as uint8) and once by transformers' PIL processor in a collator (pixels only, as float32), both in the same
``DataLoader`` with so many worker processes; in turn, medians. Everything runs on the processor: how long an
accelerator would wait is not measured. Normalising, which is left to the device here, is part of the collator's work
there. ``--record`` appends a JSON line for each number of workers to benchmarks/results/pictures.jsonl.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _results import record
from PIL import Image

from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape, TrainStage
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.types import ImageRef, Sample, Turn
from olhar.families import Encoder, llava, normalised
from olhar.prompts import prompt, with_placeholder
from olhar.training.data.batches import Look, PackedBatches
from olhar.training.data.encode import encode_set
from olhar.training.model import vocabulary

WIDTH, HEIGHT = 1024, 768
PARTS = ModelParts(
    family="llava",
    tower=TowerShape(image_size=336, patch_size=14),
    language_model=LanguageModelShape(),
    tokenizer="learned below",
)
QUESTION, ANSWER = "Que coisa é esta?", "É um gato."


def photographs(folder: Path, count: int) -> list[Sample]:
    """Samples about JPEGs with shades and grain, of the size of photographs."""
    random = np.random.default_rng(0)
    found = []
    for number in range(count):
        shades = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
        grain = random.normal(0, 8, (HEIGHT, WIDTH, 3))
        path = folder / f"{number:05d}.jpg"
        Image.fromarray(np.clip(np.asarray(shades) + grain, 0, 255).astype(np.uint8)).save(path, quality=90)
        turns = (Turn("user", (ImageRef(str(path)), QUESTION)), Turn("assistant", (ANSWER,)))
        found.append(Sample(str(number), "pt", turns))
    return found


def packed(samples: Sequence[Sample], folder: Path, batch: int) -> PackedBatches:
    settings = llava.settings(PARTS)
    tokenizer = vocabulary.learn([QUESTION, ANSWER], 300, ["</s>", *llava.SPECIAL_TOKENS])
    encoder = Encoder(prompt("vicuna"), None, with_placeholder(tokenizer), llava, settings)
    with writing_samples(folder / "samples.jsonl", folder) as out:
        for sample in samples:
            out.write(sample)
    file = SampleFile(folder / "samples.jsonl", folder)
    encoded = encode_set(file, encoder, 4096, "reject", False, folder / "tokens", 0, lambda items, *_: items)
    given = {"name": "s", "mixture": "m", "trains": {"language": 1e-4}, "epochs": 1.0, "warmup_steps": 0}
    stage = TrainStage.model_validate({**given, "batch": batch, "unit": "samples"})
    return PackedBatches(encoded, file, stage, Look("llava", settings), capacity=4096)


class Paths(torch.utils.data.Dataset[str]):
    """What the collator gets."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.paths = [sample.media[0].path for sample in samples]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> str:
        return self.paths[index]


class Collator:
    """Transformers' PIL processor on the pictures of a batch."""

    def __init__(self) -> None:
        row = dict(llava.configs(llava.settings(PARTS))["preprocessor_config.json"])
        self.processor = getattr(transformers, f"{row['image_processor_type']}Pil").from_dict(row)

    def __call__(self, paths: Sequence[str]) -> torch.Tensor:
        pictures = [Image.open(path).convert("RGB") for path in paths]
        return self.processor(pictures, return_tensors="pt")["pixel_values"]


def timed(loader: Callable[[], Any], count: int) -> float:
    """Samples a second of a pass, worker processes' start included."""
    began = time.perf_counter()
    for _ in loader():
        pass
    return count / (time.perf_counter() - began)


def one_thread(_: int) -> None:
    torch.set_num_threads(1)


def measured(
    batches: PackedBatches, samples: Sequence[Sample], workers: int, batch: int, rounds: int
) -> dict[str, Any]:
    paths, collator = Paths(samples), Collator()
    common: dict[str, Any] = {"num_workers": workers, "worker_init_fn": one_thread}
    ways = {
        "olhar": lambda: torch.utils.data.DataLoader(batches, batch_size=None, **common),
        "transformers": lambda: torch.utils.data.DataLoader(paths, batch, collate_fn=collator, **common),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, loader in ways.items():
            found[way].append(timed(loader, len(samples)))
    medians = {way: round(statistics.median(speeds), 1) for way, speeds in found.items()}
    return {
        "workers": workers,
        "samples_per_second": medians,
        "rounds": {way: [round(speed, 1) for speed in speeds] for way, speeds in found.items()},
        "ratio": round(medians["olhar"] / medians["transformers"], 3),
        "pictures": len(samples),
        "batch": batch,
        "device": "cpu",
    }


def difference(batches: PackedBatches, samples: Sequence[Sample]) -> float:
    """The largest difference of a normalised pixel between the two ways: 0 but for rounding."""
    (part,) = batches[0].parts
    paths = [samples[int(name)].media[0].path for name in batches.sample_ids(0)]
    return float((normalised(part.pixels, llava.settings(PARTS)) - Collator()(paths)).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = photographs(folder, arguments.pictures)
        batches = packed(samples, folder, arguments.batch)
        differs = difference(batches, samples)
        for workers in arguments.workers:
            result = measured(batches, samples, workers, arguments.batch, arguments.rounds)
            result["largest_difference"] = differs
            if arguments.record:
                record(__file__, result)
            print(json.dumps(result))


if __name__ == "__main__":
    main()
