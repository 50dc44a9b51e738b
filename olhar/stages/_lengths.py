"""How long a mixture's samples are, from the look that was taken at its data: tokens, image tokens, tiles, labels.

With the real tokenizer the lengths are those that training will find. Without it, text is ``BYTES_A_TOKEN`` bytes a
token; a tokenizer that is still to be learned is learned from the same look. Data that is not there yet is taken to
be pictures of ``UNSEEN`` pixels with ``ASSUMED`` tokens of text, and all of that is marked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from olhar.core.errors import UserError
from olhar.core.recipe import Mixture, Recipe, Taking, TokenizerShape
from olhar.core.types import ImageRef, Rendered, Sample, Turn
from olhar.families import Medium, View
from olhar.languages import language
from olhar.prompts import PLACEHOLDER, Prompt, encode, prompt, special_tokens, with_placeholder
from olhar.stages._sampling import UNSEEN, Look, Seen
from olhar.stages.mix import copies
from olhar.training.model import vocabulary

BYTES_A_TOKEN = 3.5  # of UTF-8; English with its own tokenizer has about 4.3, other languages with an English one 2.5
ASSUMED = (50, 100)  # tokens of a question and of its answer, of samples that nobody has seen
DRAWN = 8192  # documents that stand for a mixture whose data sets were not read whole: many, as the packs will be
Words = Literal["tokenizer", "learned from a look", "bytes"]


@dataclass(frozen=True, slots=True)
class Row:
    """One sample. shared: tokens up to behind its images, which neighbours of the same ``key`` may share."""

    tokens: int
    images: int
    tiles: int
    labelled: int
    shared: int = 0
    key: Any = None


@dataclass(frozen=True, slots=True)
class Lengths:
    """A mixture's samples and documents: ``rows`` are samples, the arrays (documents,) int64 are what packs hold,
    where neighbours may share their images.

    weights: (rows,) share of the mixture that each row stands for.
    total: samples of the whole mixture; None where a data set's size is not known. counted: how that is known.
    whole: whether the arrays are all of the mixture. assumed: share of samples that nobody has seen. unseen: share
    of media of which no header was read. words: how text became tokens. refused: rows that no prompt can write.
    """

    rows: tuple[Row, ...]
    weights: np.ndarray
    tokens: np.ndarray
    tiles: np.ndarray
    labelled: np.ndarray
    samples: np.ndarray
    total: int | None
    counted: str
    whole: bool
    assumed: float
    unseen: float
    words: Words
    refused: int

    @property
    def documents(self) -> int | None:
        """Of the whole mixture."""
        return None if self.total is None else max(1, round(self.total / float(self.samples.mean())))

    def spread(self, name: str) -> dict[str, float] | None:
        """Median, mean and maximum of a field of the rows, each weighing what it stands for."""
        if not self.rows:
            return None
        values = np.array([getattr(row, name) for row in self.rows], dtype=float)
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(self.weights[order])
        middle = values[order][int(np.searchsorted(reached, reached[-1] / 2))]
        mean = float(np.average(values, weights=self.weights))
        return {"median": float(middle), "mean": mean, "max": float(values.max())}

    def kept(self, capacity: int, max_tiles: int | None, overlong: str) -> tuple["Lengths", int]:
        """What is left for packs of this capacity, and how many documents were too long: cut or left out."""
        long = self.tokens > capacity
        wide = self.tiles > max_tiles if max_tiles is not None else np.zeros_like(long)
        gone = wide | (long if overlong == "reject" else np.zeros_like(long))
        left = {name: getattr(self, name)[~gone] for name in ("tiles", "labelled", "samples")}
        tokens = np.minimum(self.tokens, capacity)[~gone]
        share = left["samples"].sum() / max(self.samples.sum(), 1)
        total = None if self.total is None else round(self.total * float(share))
        return replace(self, tokens=tokens, total=total, **left), int((long | wide).sum())


@dataclass(frozen=True, slots=True)
class Speaker:
    """What turns samples into lengths: ``Encoder`` without pictures, and without a tokenizer where there is none."""

    prompt: Prompt
    variant: str | None
    family: ModuleType
    settings: Any
    tokenizer: Tokenizer | None
    words: Words
    spelled: dict[View, int] = field(default_factory=dict)

    def row(self, seen: Seen) -> Row:
        """Raises ``UserError`` for a sample that the prompt cannot write."""
        sample = seen.sample
        rendered = self.prompt.render(sample.turns, language(sample.language), variant=self.variant)
        views = self.family.views(seen.media, self.settings)
        images, tiles = sum(map(self._spelled, views)), sum(view.budget.tiles for view in views)
        text, labelled, before = self._text(rendered)
        return Row(text + images, images, tiles, labelled, before + images if views else 0, sample.media)

    def assumed(self, code: str) -> Row:
        """A sample that nobody has seen: one picture, one question, one answer."""
        turns = (Turn("user", (ImageRef(""), "?")), Turn("assistant", ("!",)))
        media = (Medium("image", (UNSEEN,)),)
        row = self.row(Seen(Sample("", code, turns), media, 1))
        question, answer = ASSUMED
        return replace(row, tokens=row.tokens + question + answer, labelled=row.labelled + answer, key=None)

    def _text(self, rendered: Rendered) -> tuple[int, int, int]:
        """(tokens, of these labelled, tokens up to the last picture) of a prompt without what its pictures become."""
        last = rendered.text.rfind(PLACEHOLDER)
        if self.tokenizer is None:
            labelled = sum(_tokens(rendered.text[start:end]) for start, end in rendered.trained)
            bare = rendered.text.replace(PLACEHOLDER, "")
            return _tokens(bare), labelled, _tokens(rendered.text[: max(last, 0)].replace(PLACEHOLDER, ""))
        encoded = encode(rendered, self.tokenizer)
        pictures = encoded.placeholders
        before = pictures[-1] + 1 - len(pictures) if pictures else 0
        return len(encoded.ids) - len(pictures), int(encoded.trained.sum()), before

    def _spelled(self, view: View) -> int:
        if view not in self.spelled:
            text = self.family.spell(view, self.settings)
            real = len(self.tokenizer.encode(text, add_special_tokens=False).ids) if self.tokenizer else 0
            self.spelled[view] = real or view.budget.tokens
        return self.spelled[view]


def _tokens(text: str) -> int:
    return round(len(text.encode()) / BYTES_A_TOKEN)


def speaker(
    recipe: Recipe, name: str, variant: str | None, family: ModuleType, settings: Any, at_hand: Tokenizer | None,
    seen: Sequence[Seen],
) -> Speaker:  # fmt: skip
    """Who speaks with this prompt. at_hand: the real tokenizer; seen: what one is learned from that is not made yet."""
    words: Words = "tokenizer" if at_hand else "bytes"
    shape = getattr(recipe.model, "tokenizer", None)
    chosen: Tokenizer | None = None
    if at_hand:
        chosen = Tokenizer.from_str(at_hand.to_str())  # a copy: it gets further tokens
        chosen.add_special_tokens(list(family.SPECIAL_TOKENS))
    elif isinstance(shape, TokenizerShape) and seen:
        special = [*special_tokens(prompt(name), language(recipe.language), variant), *family.SPECIAL_TOKENS]
        texts = (f" {turn.text}" for each in seen for turn in each.sample.turns)
        chosen, words = vocabulary.learn(texts, shape.vocabulary, special), "learned from a look"
    return Speaker(prompt(name), variant, family, settings, with_placeholder(chosen) if chosen else None, words)


def lengths(mixture: Mixture, looks: Mapping[str, Look], recipe: Recipe, speaking: Speaker, share: bool) -> Lengths:
    """The mixture's lengths. ``share``: neighbours on the same images are one document, in which these stand once."""
    parts = [_part(looks[taking.data], taking, speaking, recipe) for taking in mixture.take]
    documents = [_documents(part.rows, share) for part in parts]
    whole = all(part.whole for part in parts)
    total = None if any(part.total is None for part in parts) else sum(part.total or 0 for part in parts)
    sizes = np.array([part.total if total else len(part.rows) for part in parts], dtype=float)
    shares = sizes / max(sizes.sum(), 1)
    chosen = documents if whole else [*_drawn(documents, shares, recipe.seed)]
    table = np.array([document for found in chosen for document in found], dtype=np.int64).reshape(-1, 4)
    media = sum(part.media for part in parts)
    return Lengths(
        tuple(row for part in parts for row in part.rows),
        np.array([size / len(part.rows) for size, part in zip(sizes, parts, strict=True) for _ in part.rows]),
        tokens=table[:, 0],
        tiles=table[:, 1],
        labelled=table[:, 2],
        samples=table[:, 3],
        total=total,
        counted=min((part.how for part in parts), key=("unknown", "expected", "estimated", "counted").index),
        whole=whole,
        assumed=float(sum(part_share for part_share, part in zip(shares, parts, strict=True) if part.assumed)),
        unseen=sum(part.unseen for part in parts) / media if media else 0.0,
        words=speaking.words,
        refused=sum(part.refused for part in parts),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What a mixture takes of one data set."""

    rows: tuple[Row, ...]
    total: int | None
    how: str
    whole: bool
    assumed: bool
    media: int = 0
    unseen: int = 0
    refused: int = 0


def _part(look: Look, taking: Taking, speaking: Speaker, recipe: Recipe) -> _Part:
    if not look.seen:
        total = None if look.count is None else round(look.count * taking.repeat)
        return _Part((speaking.assumed(recipe.language),), total, look.how, False, True)
    rows: list[Row] = []
    media, unseen, refused = 0, 0, 0
    for seen in look.seen:
        count = copies(seen.sample, taking, recipe.seed)
        if not count:
            continue
        media, unseen = media + len(seen.media), unseen + seen.unseen
        try:
            rows += [speaking.row(seen)] * count
        except UserError:
            refused += 1
    expected = None if look.count is None else round(look.count * len(rows) / len(look.seen))
    total = len(rows) if look.whole else expected
    return _Part(tuple(rows), total, look.how, look.whole, False, media, unseen, refused)


def _documents(rows: Sequence[Row], share: bool) -> list[tuple[int, int, int, int]]:
    """(tokens, tiles, labelled, samples) of every document."""
    found: list[tuple[int, int, int, int]] = []
    before = None
    for row in rows:
        key = (row.key, row.shared) if share and row.shared and row.key is not None else None
        if key is not None and key == before:
            tokens, tiles, labelled, samples = found[-1]
            found[-1] = tokens + row.tokens - row.shared, tiles, labelled + row.labelled, samples + 1
        else:
            found.append((row.tokens, row.tiles, row.labelled, 1))
        before = key
    return found


def _drawn(
    documents: Sequence[Sequence[tuple[int, int, int, int]]], shares: np.ndarray, seed: int
) -> Iterator[list[tuple[int, int, int, int]]]:
    """Of every data set as many documents as is its share of the mixture, each about equally often."""
    random = np.random.default_rng(seed)
    for found, share in zip(documents, shares, strict=True):
        if not found:
            continue
        wanted = max(1, round(DRAWN * float(share)))
        order = np.concatenate([random.permutation(len(found)) for _ in range(-(-wanted // len(found)))])[:wanted]
        yield [found[number] for number in order]
