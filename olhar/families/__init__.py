"""A family is one published architecture; one file each. A family file says, for one transformers class:

without torch
    ``MODEL_CLASS``, ``TOWER_CLASS``  names of transformers' classes; ``MODEL_TYPE`` of its ``config.json``
    ``Settings``         frozen dataclass: how pictures become tokens; ``side``, ``patch``, ``mean``, ``std`` at least
    ``settings(parts)``  the settings that a recipe's parts imply
    ``SPECIAL_TOKENS``   what a tokenizer must know, in the order in which missing ones are added
    ``TOKEN_KEYS``       {key of ``config.json``: the token whose id it holds}; these tokens carry features
    ``views(media, settings) -> [View]``   how every ``Medium`` of one sample is looked at, all of them together
    ``spell(view, settings) -> str``       how it is spelled; each token of ``TOKEN_KEYS`` stands for one feature
    ``pixels(pictures, view, settings) -> uint8 (tiles, 3, side, side)``   of one medium
    ``DISK_NAMES``       ((name in the live model, name on disk), ...), prefixes; the first that fits counts
    ``configs(settings) -> {file name: content}``   the processors that plain transformers loads beside the weights
    ``picture_text(settings)``, ``video_text(settings)``   what a chat template writes for one (None: it cannot)
    ``usage(settings) -> (class of transformers that loads the processor, lines of Python)``   for model cards: how
                         ``processor`` and ``tokenizer`` make ``inputs`` of ``image`` and ``messages``
    ``recognises(source) -> bool``, ``conversion(source) -> Conversion``   see ``olhar.families._conversion``

with torch, imported inside the functions
    ``compose(parts, settings, tokenizer) -> model``  a neutral start in transformers' own class
    ``roles(model) -> {role: [parameter names]}``  a partition of all parameters
    ``patch_features(model, pixels) -> (tiles, patches, width)`` of the tower, before the connector
    ``connected(model, features) -> (tiles, tokens, hidden)``
    ``joined(model, connected, views) -> (features, hidden)``  what takes the places of the feature tokens
    ``hidden_states(model, embeddings, segments, positions) -> (1, tokens, hidden)``  of a flat row of documents

Planning, packing, batching and asking use only these; they never look at the class.
"""

from olhar.families._checkpoint import Checkpoint, Loading, load, read_sidecar, read_tokenizer
from olhar.families._encoding import EncodedSample, Encoder, pixels_of, views_of
from olhar.families._known import part_config
from olhar.families._model import embedded, feature_ids, normalised
from olhar.families._settings import changed, of_stage, settings_of
from olhar.families._spoken import Spoken
from olhar.families._tokens import add_tokens
from olhar.families._views import Budget, Medium, View, budget
from olhar.families._writing import write_tower

__all__ = [
    "Budget",
    "Checkpoint",
    "EncodedSample",
    "Encoder",
    "Loading",
    "Medium",
    "Spoken",
    "View",
    "add_tokens",
    "budget",
    "changed",
    "embedded",
    "feature_ids",
    "load",
    "normalised",
    "of_stage",
    "part_config",
    "pixels_of",
    "read_sidecar",
    "read_tokenizer",
    "settings_of",
    "views_of",
    "write_tower",
]
