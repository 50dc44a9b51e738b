"""A small LLaVA and samples for it, drawn from nothing, for measurements: what ``training_speed.py`` trains.

In an environment without olhar it can be imported too.
"""

import json
import random
from pathlib import Path
from typing import Any

SAMPLES, TEXT_ONLY, WORDS, SEED = 256, 0.12, 4096, 0
SIDE, PATCH, CAPACITY, LONGEST = 168, 14, 1024, 700
PACKS = 2
RATE = 1e-3


def words(draw: random.Random, count: int) -> str:
    return " ".join(f"w{draw.randrange(WORDS - 20)}" for _ in range(count))


def conversation(draw: random.Random, budget: int) -> list[str]:
    """Questions and answers in turn, of about ``budget`` words; an answer is twice as long as its question."""
    turns = draw.choice((1, 1, 2, 3))
    each = max(3, budget // turns)
    return [words(draw, share) for _ in range(turns) for share in (each // 3, each - each // 3)]


def samples(folder: Path) -> list[dict[str, Any]]:
    """Rows of {"texts": questions and answers in turn, "image": path or None}, pictures of noise beside them."""
    import numpy as np
    from PIL import Image

    draw, noise, rows = random.Random(SEED), np.random.default_rng(SEED), list[dict[str, Any]]()
    tokens = (SIDE // PATCH) ** 2
    for number in range(SAMPLES):
        path = None
        if draw.random() >= TEXT_ONLY:
            path = str(folder / f"{number}.png")
            Image.fromarray(noise.integers(0, 256, (120, 160, 3), dtype=np.uint8)).save(path)
        budget = int(min(draw.lognormvariate(4.93, 0.75), LONGEST - tokens - 20))
        rows.append({"texts": conversation(draw, budget), "image": path})
    return rows


def prepare(folder: Path) -> None:
    """The model's folder, the samples as olhar reads them, and as TRL does."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from olhar.core.recipe import ModelParts, TowerShape
    from olhar.core.samples import writing_samples
    from olhar.core.types import ImageRef, Sample, Turn
    from olhar.families import Checkpoint, Spoken, llava

    special = ("<unk>", "<pad>", "</s>", "<|user|>", "<|assistant|>", *llava.SPECIAL_TOKENS)
    known = {word: id for id, word in enumerate((*special, *(f"w{number}" for number in range(WORDS - len(special)))))}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special[1:]])
    torch.manual_seed(SEED)
    sizes = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
    text = Qwen2Config(vocab_size=WORDS, num_key_value_heads=4, tie_word_embeddings=True, **sizes)
    Qwen2ForCausalLM(text).save_pretrained(folder / "text")
    tower = TowerShape(image_size=SIDE, patch_size=PATCH, hidden_size=96, layers=4, heads=4, intermediate_size=384)
    parts = ModelParts(family="llava", tower=tower, language_model=str(folder / "text"), tokenizer="unused")
    settings = llava.settings(parts)
    model = llava.compose(parts, settings, tokenizer)
    Checkpoint(model, tokenizer, "llava", settings, Spoken("compact", None, "pt")).save(folder / "model")
    rows = samples(folder)
    (folder / "rows.json").write_text(json.dumps(rows))
    with writing_samples(folder / "samples.jsonl", folder) as out:
        for number, row in enumerate(rows):
            image = [ImageRef(row["image"])] if row["image"] else []
            turns = [Turn("assistant" if at % 2 else "user", (text,)) for at, text in enumerate(row["texts"])]
            first = Turn("user", (*image, row["texts"][0]))
            out.write(Sample(str(number), "pt", (first, *turns[1:])))


class Counting:
    """Batches; ``places``: tokens of those that were taken, padding too."""

    def __init__(self, batches: Any) -> None:
        self.batches, self.places = batches, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Any:
        batch = self.batches[step]
        self.places += sum(len(part.ids) for part in batch.parts)
        return batch


class Bench:
    """What the variants of this environment share: the model, and the same packs for all."""

    def __init__(self, folder: Path, cached: bool = False, micro_batch: int | None = None) -> None:
        import torch

        from olhar.core.recipe import TrainStage
        from olhar.core.samples import SampleFile
        from olhar.families import Encoder, load
        from olhar.prompts import prompt, with_placeholder
        from olhar.training.data.batches import Look, PackedBatches
        from olhar.training.data.encode import encode_set

        self.folder, self.checkpoint = folder, load(folder / "model")
        self.model, self.family, self.settings = self.checkpoint.model, self.checkpoint.family, self.checkpoint.settings
        encoder = Encoder(
            prompt("compact"), None, with_placeholder(self.checkpoint.tokenizer), self.family, self.settings
        )
        rows = SampleFile(folder / "samples.jsonl", folder)
        encoded = encode_set(rows, encoder, CAPACITY, "reject", False, folder / "tokens", 0, lambda items, *_: items)
        given = {"name": "speed", "mixture": "m", "trains": {"connector": RATE, "language": RATE}, "epochs": 1000}
        self.stage = TrainStage.model_validate(given | {"batch": PACKS, "micro_batch": micro_batch})
        seen = self.looked(rows) if cached else None
        look = Look("llava", self.settings, features=seen)  # type: ignore[arg-type]
        self.batches = Counting(PackedBatches(encoded, rows, self.stage, look, capacity=CAPACITY))
        self.steps = len(self.batches) // 1000
        self.alone = [encoded.ids[start:end] for start, end in zip(encoded.starts, encoded.starts[1:], strict=False)]
        torch.manual_seed(SEED)

    def looked(self, rows: Any) -> dict[Any, Any]:
        """What the tower sees in every picture, before anything is timed."""
        import torch

        from olhar.families import normalised, pixels_of, views_of
        from olhar.training.data.batches import Look

        found = {}
        for sample in rows:
            media = Look("llava", self.settings).penned(sample.media)
            views = views_of(media, self.family, self.settings)
            for ref, view in zip(media, views, strict=True):
                pixels = torch.from_numpy(pixels_of([ref], [view], self.family, self.settings))
                with torch.no_grad():
                    features = self.family.patch_features(self.model, normalised(pixels, self.settings))
                found[ref, view] = features.half().numpy()
        return found
