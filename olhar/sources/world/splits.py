"""What a test scene shows that no training scene shows: by hash, so that no list has to be kept.

A pair of nouns is held out by the hash of its code points, a word by its own; the drawing style of the split
``style`` is one that training never draws. Every split draws from its own stream of random numbers, except
that ``style`` shows the scenes of ``composition``.
"""

import hashlib
import random
from collections.abc import Collection
from functools import cache
from itertools import combinations
from typing import Literal

Split = Literal["train", "composition", "style", "iid"]

PAIRS = 6  # one pair of nouns in six is held out
WORDS = 5  # one word in five
TRAINING_STYLES = ("noto", "twemoji")
HELD_OUT_STYLE = "fluent"
_STREAMS = {"train": "train", "composition": "test", "style": "test", "iid": "iid"}


@cache
def held_out_pair(a: str, b: str) -> bool:
    """Whether two code points never meet in a training scene; their order does not matter."""
    low, high = sorted((a, b), key=lambda cp: int(cp, 16))
    return _hash(f"{low}-{high}") % PAIRS == 0


def held_out_word(word: str) -> bool:
    """Whether a word is never written in a training scene."""
    return _hash(word) % WORDS == 0


def allows_nouns(split: Split, cps: Collection[str]) -> bool:
    """Whether a scene with these different nouns may stand in the split."""
    if split == "iid" or len(cps) < 2:
        return True
    unseen = any(held_out_pair(a, b) for a, b in combinations(cps, 2))
    return unseen != (split == "train")


def allows_word(split: Split, word: str) -> bool:
    """Whether a word may be written in the split."""
    return split == "iid" or held_out_word(word) != (split == "train")


def styles(split: Split) -> tuple[str, ...]:
    """The drawing styles of the split."""
    return (HELD_OUT_STYLE,) if split == "style" else TRAINING_STYLES


def streams(split: Split, seed: int, scene: int) -> tuple[random.Random, random.Random]:
    """Two sources of randomness of one scene, for what it shows and for what is asked of it.

    They depend on nothing but the arguments: scene 7 is the same whether or not scene 6 was drawn.
    """
    digest = hashlib.sha256(f"{_STREAMS[split]}-{seed}-{scene}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8])), random.Random(int.from_bytes(digest[8:16]))


def _hash(text: str) -> int:
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), 16)
