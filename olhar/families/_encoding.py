"""Samples become token ids as a family spells its images; the same for training and for asking."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from olhar.core import pictures
from olhar.core.types import ImageRef, Rendered, Sample, Turn, VideoRef
from olhar.families._views import Medium, View
from olhar.languages import language
from olhar.prompts import encode


@dataclass(frozen=True, slots=True)
class Encoder:
    """What turns samples into ids: prompt, tokenizer and the family's image layout."""

    prompt: Any
    variant: str | None
    tokenizer: Tokenizer
    family: Any
    settings: Any
    system: str | None = None

    def sample(self, sample: Sample) -> "EncodedSample":
        """A whole conversation's ids, with its answers marked as trained."""
        return self.rendered(
            self.prompt.render(sample.turns, language(sample.language), variant=self.variant, system=self.system)
        )

    def question(self, turns: Sequence[Turn], code: str) -> "EncodedSample":
        """The ids of an unfinished conversation, up to where the assistant begins to speak."""
        return self.rendered(
            self.prompt.render(turns, language(code), variant=self.variant, system=self.system, open=True)
        )

    def rendered(self, rendered: Rendered) -> "EncodedSample":
        encoded = encode(rendered, self.tokenizer)
        views = views_of(rendered.media, self.family, self.settings)
        ids, trained, told, after_images = list[int](), list[np.ndarray](), 0, 0
        for place, view in zip(encoded.placeholders, views, strict=True):
            spelled = _spelling(self, view)
            ids += encoded.ids[told:place]
            ids += spelled
            trained += (encoded.trained[told:place], np.zeros(len(spelled), dtype=bool))
            told, after_images = place + 1, len(ids)
        ids += encoded.ids[told:]
        return EncodedSample(ids, np.concatenate([*trained, encoded.trained[told:]]), after_images, views)


def views_of(media: Sequence[ImageRef | VideoRef], family: Any, settings: Any) -> list[View]:
    """How the family looks at all media of one sample, from their headers."""
    kinds: list[Medium] = [
        Medium("image" if isinstance(ref, ImageRef) else "video", pictures.sizes(ref)) for ref in media
    ]
    views: list[View] = family.views(kinds, settings)
    return views


def pixels_of(media: Sequence[ImageRef | VideoRef], views: Sequence[View], family: Any, settings: Any) -> np.ndarray:
    """uint8 (tiles, 3, side, side) of all pictures behind the references, in order, each looked at as its view says."""
    tiles = [
        family.pixels(pictures.read(ref, settings.side), view, settings) for ref, view in zip(media, views, strict=True)
    ]
    return np.concatenate(tiles) if tiles else np.zeros((0, 3, settings.side, settings.side), dtype=np.uint8)


@lru_cache(maxsize=64)
def _spelling(encoder: Encoder, view: View) -> tuple[int, ...]:
    """The ids that stand for one image, or for all frames of one video."""
    return tuple(encoder.tokenizer.encode(encoder.family.spell(view, encoder.settings), add_special_tokens=False).ids)


@dataclass(frozen=True, slots=True)
class EncodedSample:
    """The ids; trained (ids,) bool: whether each carries the loss; how many ids the images and what precedes them take,
    and how each medium is looked at."""

    ids: list[int]
    trained: np.ndarray
    after_images: int
    views: Sequence[View]
