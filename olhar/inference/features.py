"""What tower and connector make of pictures, remembered: a picture asked about twice is looked at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from olhar.core.store import state
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.families import Checkpoint, View, normalised, pixels_of, views_of

GREY = 128  # every pixel of the picture that a blind control shows
REMEMBERED = 2**28  # bytes of features kept between questions
AT_ONCE = 32  # pictures, and tiles through the tower, together: more do not fit a processor's cache


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture or video, how it is looked at, and which state of its file that was (change time, bytes)."""

    ref: ImageRef | VideoRef
    view: View
    state: tuple[int, int]


class Features:
    """The features of pictures for one checkpoint, on its device; ``REMEMBERED`` bytes of them are kept."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model, self._family, self._settings = checkpoint.model, checkpoint.family, checkpoint.settings
        vision = self._family.roles(self._model)["vision"]
        self._tower_type = self._model.get_parameter(vision[0]).dtype
        self._remembered: dict[Seen, torch.Tensor] = {}  # the longest unused first

    def seen(self, turns: Sequence[Turn]) -> list[Seen]:
        """Every medium of a conversation, in order."""
        media = [ref for turn in turns for ref in turn.media]
        views = views_of(media, self._family, self._settings)
        return [Seen(ref, view, state(ref.path)) for ref, view in zip(media, views, strict=True)]

    def of(self, seen: Sequence[Seen]) -> list[torch.Tensor]:
        """(features, hidden) of each medium, in order."""
        missing = [one for one in dict.fromkeys(seen) if one not in self._remembered]
        for start in range(0, len(missing), AT_ONCE):
            self._look(missing[start : start + AT_ONCE])
        for one in dict.fromkeys(seen):
            self._remembered[one] = self._remembered.pop(one)  # now the last to be forgotten
        found = [self._remembered[one] for one in seen]
        self._forget()
        return found

    def blank(self, seen: Sequence[Seen]) -> list[torch.Tensor]:
        """(features, hidden) of each medium, had it been grey all over."""
        side = self._settings.side
        tile = self._connected(torch.full((1, 3, side, side), GREY, dtype=torch.uint8))
        return [self._joined(tile.expand(one.view.budget.tiles, -1, -1), one.view) for one in seen]

    def _look(self, seen: Sequence[Seen]) -> None:
        views = [one.view for one in seen]
        pixels = pixels_of([one.ref for one in seen], views, self._family, self._settings)
        tiles = self._connected(torch.from_numpy(pixels))
        for one, part in zip(seen, tiles.split([view.budget.tiles for view in views]), strict=True):
            self._remembered[one] = self._joined(part, one.view)

    def _connected(self, pixels: torch.Tensor) -> torch.Tensor:
        """(tiles, 3, side, side) uint8 -> (tiles, tokens, hidden)."""
        return torch.cat(list(self._parts(pixels)))

    def _parts(self, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        for part in pixels.split(AT_ONCE):
            images = normalised(part.to(self._model.device), self._settings).to(self._tower_type)
            yield self._family.connected(self._model, self._family.patch_features(self._model, images))

    def _joined(self, connected: torch.Tensor, view: View) -> torch.Tensor:
        joined: torch.Tensor = self._family.joined(self._model, connected, [view])
        return joined.clone() if joined.untyped_storage().nbytes() > joined.nbytes else joined

    def _forget(self) -> None:
        held = sum(features.nbytes for features in self._remembered.values())
        for one in list(self._remembered):
            if held <= REMEMBERED:
                return
            held -= self._remembered.pop(one).nbytes
