"""A small world on disk, an untrained model of a few thousand parameters, and the samples encoded for it."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape, TrainStage
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.types import Sample, Turn
from olhar.families import Encoder, View, pixels_of, views_of
from olhar.languages import language
from olhar.prompts import prompt, special_tokens, with_placeholder
from olhar.sources import Request, world
from olhar.training.data.encode import EncodedSet, encode_set
from olhar.training.data.layout import Row, lay_out
from olhar.training.model import vocabulary

PARTS = ModelParts(
    family="internvl",
    tower=TowerShape(image_size=64, patch_size=16, hidden_size=32, layers=1, heads=2, intermediate_size=48),
    language_model=LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48),
    tokenizer="unused",
)


def untracked(rows: Any, label: str, total: int | None = None) -> Any:
    """A progress bar that shows nothing."""
    return rows


@dataclass(frozen=True)
class Bench:
    """What training starts from: samples, tokenizer and a family's settings."""

    root: Path
    samples: SampleFile
    tokenizer: Tokenizer
    family: ModuleType
    settings: Any
    encoder: Encoder

    def model(self, seed: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.family.compose(PARTS, self.settings, self.tokenizer)

    def looked(self, *samples: Sample) -> tuple[list[tuple[Any, View]], torch.Tensor]:
        """Every picture with its view, and all their pixels."""
        pairs = [pair for s in samples for pair in zip(s.media, self.views(s), strict=True)]
        media, views = [ref for ref, _ in pairs], [view for _, view in pairs]
        return pairs, torch.from_numpy(pixels_of(media, views, self.family, self.settings))

    def views(self, sample: Sample) -> list[View]:
        return views_of(sample.media, self.family, self.settings)

    def file(self, samples: list[Sample], name: str) -> SampleFile:
        with writing_samples(self.root / name, self.root) as out:
            for sample in samples:
                out.write(sample)
        return SampleFile(self.root / name, self.root)

    def encoded(self, samples: SampleFile | None = None, share: bool = True, **changes: Any) -> EncodedSet:
        """The samples encoded in a folder of its own; ``changes`` of what ``encode_set`` is given."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        given = {"max_tokens": 10_000, "overlong": "reject", "workers": 0, "track": untracked} | changes
        samples = self.samples if samples is None else samples
        return encode_set(samples, self.encoder, share_images=share, **{"folder": folder} | given)


def spoken(name: str, question: str, answer: str) -> Sample:
    """A sample without a picture."""
    return Sample(name, "pt", (Turn("user", (question,)), Turn("assistant", (answer,))))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Twenty scenes (with pairs of pictures and videos), two text-only samples between them."""
    root = tmp_path_factory.mktemp("bench")
    options = world.Options(scenes=20, kinds={"obj": 2, "pair": 1, "video": 1}, seed=3)
    read = world.read(Request(None, options, "pt", "world", root / "media"))
    drawn = [sample for sample in read if isinstance(sample, Sample)]
    texts = [spoken("text-1", "um, dois?", "três"), spoken("text-2", "quatro, cinco, seis?", "sete oito")]
    samples = [*drawn[:7], texts[0], *drawn[7:], texts[1]]
    with writing_samples(root / "samples.jsonl", root) as out:
        for sample in samples:
            out.write(sample)
    form = prompt("compact")
    family = choose("families", "internvl")
    specials = [*special_tokens(form, language("pt")), *family.SPECIAL_TOKENS]
    tokenizer = vocabulary.learn((f" {turn.text}" for s in samples for turn in s.turns), 400, specials)
    settings = family.settings(PARTS)
    encoder = Encoder(form, None, with_placeholder(tokenizer), family, settings)
    return Bench(root, SampleFile(root / "samples.jsonl", root), tokenizer, family, settings, encoder)


def _by_hand(ids: Any, trained: Any, starts: Any, groups: Any, after_images: Any = 0) -> EncodedSet:
    """An encoded set without pictures, a row a sample."""
    starts, trained = np.asarray(starts), np.asarray(trained, dtype=bool)
    samples = len(starts) - 1
    pairs = pairwise(starts.tolist())
    labelled = np.asarray([trained[start:end][1:].sum() for start, end in pairs], dtype=np.int32)
    nothing = np.zeros(samples, dtype=np.int32)
    return EncodedSet(
        ids=np.asarray(ids, dtype=np.int32),
        trained=trained,
        starts=starts,
        rows=np.arange(samples),
        after_images=nothing + np.asarray(after_images, dtype=np.int32),
        groups=np.asarray(groups),
        tiles=nothing,
        image_tokens=nothing,
        labelled=labelled,
        shown=np.zeros((samples, 3), dtype=np.int32),
    )


def _whole(encoded: EncodedSet, *packs: Any, weighting: Any = "token") -> Row:
    """Packs, given as whole documents, as one row."""
    return lay_out(encoded, [encoded.spans()[np.asarray(pack, dtype=int)] for pack in packs], weighting)


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., EncodedSet]:
    return _by_hand


@pytest.fixture(scope="session")
def whole() -> Callable[..., Row]:
    return _whole


@pytest.fixture
def track() -> Callable[..., Any]:
    return untracked


@pytest.fixture
def stage() -> Callable[..., TrainStage]:
    def make(**changes: Any) -> TrainStage:
        given = {"name": "s", "mixture": "m", "trains": {"language": 1e-2}, "steps": 6, "batch": 2, "warmup_steps": 2}
        return TrainStage.model_validate(given | changes)

    return make


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The same sums in the same order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
