"""Samples of every kind in two packs, for every family, and plain transformers to judge them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.choices import choose
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.types import ImageRef, Sample, Turn, VideoRef
from olhar.families import Encoder, embedded, normalised, pixels_of, views_of
from olhar.prompts import prompt, with_placeholder
from olhar.training.data.batches import Batch, collate
from olhar.training.data.encode import EncodedSet, encode_set
from olhar.training.data.layout import lay_out
from olhar.training.model.objectives import AnswerLearner

IGNORED = -100
SIDE, PATCH, HIDDEN = 28, 14, 16
WORDS = ("<unk>", "<pad>", "um", "dois", "três", "quatro", "cinco", "?", "Image-1", "Image-2", "Frame-1", "Frame-2")
SIZES = {"square": (28, 28), "wide": (75, 30), "tall": (25, 65)}


@dataclass(frozen=True)
class Packs:
    """Samples of every kind in two packs; ``judge`` is the same model as transformers makes it."""

    model: Any
    judge: Any
    family: ModuleType
    settings: Any
    encoder: Encoder
    samples: SampleFile
    encoded: EncodedSet

    def batch(self, weighting: Any = "token", documents: Sequence[int] | None = None) -> Batch:
        """The documents in an order that is not theirs, in two packs of unequal length."""
        order = np.random.default_rng(0).permutation(self.encoded.documents) if documents is None else documents
        spans = self.encoded.spans()[np.asarray(order)]
        row = lay_out(self.encoded, [spans[: len(spans) // 3], spans[len(spans) // 3 :]], weighting)
        media = [ref for number in row.shown for ref in self.samples[int(self.encoded.rows[number])].media]
        views = views_of_each(self, row.shown)
        if not media:
            return collate(row)
        return collate(row, pixels=torch.from_numpy(pixels_of(media, views, self.family, self.settings)), views=views)

    def places(self) -> dict[int, list[int]]:
        """Where the tokens of every sample of ``batch()`` lie, by counting alone."""
        order, found, offset = np.random.default_rng(0).permutation(self.encoded.documents), {}, 0
        for document in order:
            first, last = self.encoded.groups[document], self.encoded.groups[document + 1]
            shared = int(self.encoded.after_images[first]) if last - first > 1 else 0
            prefix = list(range(offset, offset + shared))
            offset += shared
            for sample in range(first, last):
                rest = int(self.encoded.starts[sample + 1] - self.encoded.starts[sample]) - shared
                found[sample] = [*prefix, *range(offset, offset + rest)]
                offset += rest
        return found

    def learner(self, **options: Any) -> AnswerLearner:
        return AnswerLearner(self.model, self.family, self.settings, **options)

    def alone(self, sample: Sample) -> tuple[list[int], torch.Tensor, Any]:
        """A sample through the class's own forward: its ids, which are trained (tokens,), and what the class says."""
        encoded = self.encoder.sample(sample)
        ids, trained = torch.tensor([encoded.ids]), torch.from_numpy(encoded.trained)[None]
        inputs: dict[str, Any] = {"labels": torch.where(trained, ids, IGNORED)}
        media, views = list(sample.media), views_of(sample.media, self.family, self.settings)
        pixels = None
        if media:
            found = pixels_of(media, views, self.family, self.settings)
            pixels = normalised(torch.from_numpy(found), self.settings)
        if pixels is None or self.family.MODEL_TYPE != "llava_onevision":
            inputs |= {"input_ids": ids} | ({} if pixels is None else {"pixel_values": pixels})
        else:  # its forward wants canvases and videos apart; that it looks at them as we do is tested with the family
            features = self.family.connected(self.judge, self.family.patch_features(self.judge, pixels))
            images = self.family.joined(self.judge, features, views)
            inputs["inputs_embeds"] = embedded(self.judge, self.family, ids, images)
        return encoded.ids, trained[0], self.judge(**inputs)


def views_of_each(packs: Packs, shown: Sequence[int]) -> list[Any]:
    samples = [packs.samples[int(packs.encoded.rows[number])] for number in shown]
    return [view for sample in samples for view in views_of(sample.media, packs.family, packs.settings)]


def tokenizer_of(family: ModuleType) -> Tokenizer:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = ("</s>", "<|user|>", "<|assistant|>", *family.SPECIAL_TOKENS)
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return words


def talked(name: str, media: Sequence[Any], *words: str) -> Sample:
    """A conversation whose first question has the media; every second text is an answer."""
    turns = [Turn("assistant" if number % 2 else "user", (text,)) for number, text in enumerate(words)]
    return Sample(name, "pt", (Turn("user", (*media, words[0])), *turns[1:]))


def conversations(folder: Path) -> list[Sample]:
    """Text alone, one picture, several, a video, and neighbours that ask about the same pictures."""
    random = np.random.default_rng(0)

    def drawn(path: Path, size: tuple[int, int]) -> str:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return str(path)

    square, wide, tall = (ImageRef(drawn(folder / f"{name}.png", size)) for name, size in SIZES.items())
    for number in range(2):
        drawn(folder / "frames" / f"{number}.png", (40, 30))
    video = VideoRef(str(folder / "frames"))
    return [
        talked("text", [], "um dois ?", "três", "quatro ?", "cinco cinco um"),
        talked("wide 1", [wide], "um ?", "dois"),
        talked("wide 2", [wide], "dois três ?", "um dois três"),
        talked("wide 3", [wide], "cinco ?", "quatro", "um ?", "um"),
        talked("two", [square, tall], "dois ?", "cinco um"),
        talked("video 1", [video], "três ?", "dois dois"),
        talked("video 2", [video], "um um ?", "quatro"),
        talked("again", [tall], "um ?", "dois"),
        talked("short", [], "?", "um"),
    ]


def packed(name: str, root: Path) -> Packs:
    """The samples in a folder, for a family's smallest model."""
    with writing_samples(root / "samples.jsonl", root) as out:
        for sample in conversations(root):
            out.write(sample)
    family = choose("families", name)
    tower = TowerShape(image_size=SIDE, patch_size=PATCH, hidden_size=HIDDEN, layers=10, heads=2, intermediate_size=24)
    text = LanguageModelShape(hidden_size=HIDDEN, layers=2, heads=2, intermediate_size=24, max_tokens=4096)
    parts = ModelParts(family=name, tower=tower, language_model=text, tokenizer="unused")
    settings, tokenizer = family.settings(parts), tokenizer_of(family)
    torch.manual_seed(0)
    model = family.compose(parts, settings, tokenizer).eval()
    encoder = Encoder(prompt("compact"), None, with_placeholder(tokenizer), family, settings)
    samples = SampleFile(root / "samples.jsonl", root)
    encoded = encode_set(
        samples, encoder, 10_000, "reject", True, root / "tokens", 0, lambda rows, label, total=None: rows
    )
    return Packs(model, copy.deepcopy(model), family, settings, encoder, samples, encoded)
