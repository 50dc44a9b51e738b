"""A family is one published architecture; one file each. A family file says, for one transformers class:

without torch
    ``Settings``         frozen dataclass: how images become tokens; stored beside the checkpoint
    ``settings(parts)``  the settings that a recipe's parts imply
    ``budget(width, height, settings) -> Budget``  tokens of an image of that size, inside and outside the sequence
    ``SPECIAL_TOKENS``   what a tokenizer must know
    ``spell(tiles, settings) -> str``  how an image of so many tiles is spelled; ``IMAGE_TOKEN`` carries the features
    ``pixels(image, settings) -> uint8 (tiles, 3, side, side)``

with torch, imported inside the functions
    ``compose(parts, settings, vocabulary, image_token_id) -> model``  a neutral start in transformers' own class
    ``roles(model) -> {role: [parameter names]}``  a partition of all parameters
    ``patch_features(model, pixels) -> (tiles, patches, width)`` of the tower, before the connector
    ``connected(model, features) -> (tiles, tokens, hidden)``; ``image_embeddings`` is both in one
    ``hidden_states(model, embeddings, mask, positions) -> (rows, tokens, hidden)``
    ``export(model, folder, settings)``  writes what plain transformers needs to load it again

``plan``, packing and the batcher ask only these; they never look at the class.
"""

from dataclasses import dataclass

from olhar.families._checkpoint import Checkpoint, load, read_tokenizer
from olhar.families._encoding import EncodedSample, Encoder, media_pixels

__all__ = ["Budget", "Checkpoint", "EncodedSample", "Encoder", "load", "media_pixels", "read_tokenizer"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What one image costs: tokens in the sequence, memory tokens outside it, tiles through the tower."""

    tokens: int
    memory: int
    tiles: int
