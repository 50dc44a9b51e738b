"""Keys and values of what a model has read, kept for a prompt that begins alike."""

from collections.abc import Hashable, Sequence
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class PrefixCache:
    """One key/value cache, and what was read at each of its positions. Who takes the cache out gives it back."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._cache: DynamicCache | None = None
        self._read: list[Hashable] = []

    def take(self, prompt: Sequence[Hashable]) -> DynamicCache:
        """A cache that holds the longest beginning of the prompt that was read before, never all of it.

        The model has to read at least one token to say what comes next. A cache that keeps a sliding window only
        cannot be shortened: it begins anew.
        """
        cache, read = self._cache, self._read
        self.clear()
        if cache is not None and all(type(layer) is DynamicLayer for layer in cache.layers):
            same = min(_same(read, prompt), len(prompt) - 1)
            if same:
                shorten(cache, same)
                return cache
        return DynamicCache(config=self._config)

    def keep(self, read: Sequence[Hashable], cache: DynamicCache) -> None:
        """Give a cache back, with all that was read or generated; the last token need not be in the cache yet."""
        self._cache, self._read = cache, list(read[: cache.get_seq_length()])

    def clear(self) -> None:
        """Forget everything."""
        self._cache, self._read = None, []

    @property
    def tokens(self) -> int:
        """How many positions are kept."""
        return len(self._read)


def shorten(cache: DynamicCache, tokens: int) -> None:
    """Crop a cache to its first tokens."""
    if surplus := cache.get_seq_length() - tokens:
        cache.crop(-surplus)


def _same(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many positions the two begin alike."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
