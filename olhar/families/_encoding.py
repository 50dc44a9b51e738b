"""Samples become token ids as a family spells its images; the same for training and for asking."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from olhar.core import pictures
from olhar.core.types import ImageRef, Rendered, Sample, Turn, VideoRef
from olhar.languages import language
from olhar.prompts import PLACEHOLDER, encode


@dataclass(frozen=True, slots=True)
class Encoder:
    """What turns samples into ids: prompt, tokenizer and the family's image layout."""

    prompt: Any
    variant: str | None
    tokenizer: Tokenizer
    family: Any
    settings: Any

    def sample(self, sample: Sample) -> "EncodedSample":
        """A whole conversation's ids, with its answers marked as trained."""
        return self.rendered(self.prompt.render(sample.turns, language(sample.language), variant=self.variant))

    def question(self, turns: Sequence[Turn], code: str) -> "EncodedSample":
        """The ids of an unfinished conversation, up to where the assistant begins to speak."""
        return self.rendered(self.prompt.render(turns, language(code), variant=self.variant, open=True))

    def rendered(self, rendered: Rendered) -> "EncodedSample":
        encoded = encode(rendered, self.tokenizer)
        placeholder = self.tokenizer.token_to_id(PLACEHOLDER)
        ids: list[int] = []
        trained: list[bool] = []
        after_images, media = 0, iter(rendered.media)
        for token, learns in zip(encoded.ids, encoded.trained, strict=True):
            if token != placeholder:
                ids.append(token)
                trained.append(learns)
                continue
            spelled = self.spelled(next(media))
            ids.extend(spelled)
            trained.extend([False] * len(spelled))
            after_images = len(ids)
        return EncodedSample(ids, trained, after_images)

    def spelled(self, ref: ImageRef | VideoRef) -> list[int]:
        """The ids that stand for one image, or for all frames of one video."""
        return [token for count in self._tiles(ref) for token in _spelling(self, count)]

    def tiles(self, ref: ImageRef | VideoRef) -> int:
        """How many tiles of one image, or of all frames of one video, go through the tower."""
        return sum(self._tiles(ref))

    def _tiles(self, ref: ImageRef | VideoRef) -> list[int]:
        return [self.family.budget(*size, self.settings).tiles for size in pictures.sizes(ref)]


def media_pixels(media: Sequence[ImageRef | VideoRef], family: Any, settings: Any) -> np.ndarray:
    """uint8 (tiles, 3, side, side) of all pictures behind the references, in order."""
    images = [image for ref in media for image in pictures.read(ref)]
    if not images:
        return np.zeros((0, 3, settings.side, settings.side), dtype=np.uint8)
    return np.concatenate([family.pixels(image, settings) for image in images])


@lru_cache(maxsize=64)
def _spelling(encoder: Encoder, tiles: int) -> tuple[int, ...]:
    return tuple(encoder.tokenizer.encode(encoder.family.spell(tiles, encoder.settings), add_special_tokens=False).ids)


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """Ids, whether each carries the loss, and how many ids the images and what precedes them take."""

    ids: list[int]
    trained: list[bool]
    after_images: int
