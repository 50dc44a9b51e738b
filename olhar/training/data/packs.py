"""Planning packs: best-fit decreasing over the whole set, from lengths alone.

Every document lies whole in one pack; a plan is the same on every machine and in every process.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage

Numbers = Sequence[int] | np.ndarray
Room = tuple[int, int]  # what is free in a pack: tokens, tiles


@dataclass(frozen=True, slots=True)
class Packs:
    """Which documents lie together. order (documents,) int64: the documents of pack 0, then of pack 1, and so on;
    bounds (packs + 1,) int64: where each pack begins in ``order``."""

    order: np.ndarray
    bounds: np.ndarray

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, pack: int) -> np.ndarray:
        """The documents of one pack: (documents,) int64."""
        number = range(len(self))[pack]
        return self.order[self.bounds[number] : self.bounds[number + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))


def plan_packs(lengths: Numbers, capacity: int, tiles: Numbers | None = None, max_tiles: int | None = None) -> Packs:
    """Packs of documents of at most ``capacity`` tokens and, where given, ``max_tiles`` image tiles together.

    Best fit decreasing (Johnson 1974): the largest document first, each into the fullest pack that still holds it.
    With tiles, a size is tokens / capacity + tiles / max_tiles, each part weighted by how scarce it is in the whole
    set (Panigrahy et al. 2011, "Heuristics for Vector Bin Packing"). Documents of one size are placed
    together, and packs with the same room are one entry: time grows with the number of distinct sizes.

    Raises ``UserError`` for a document that no pack holds: nothing is cut in silence.
    """
    tokens = np.asarray(lengths, dtype=np.int64)
    bounded = tiles is not None and max_tiles is not None
    pictures = np.asarray(tiles, dtype=np.int64) if bounded else np.zeros_like(tokens)
    most = max_tiles if bounded and max_tiles is not None else 0
    _refuse(tokens, capacity, "tokens")
    if bounded:
        _refuse(pictures, most, "tiles")
    if not len(tokens):
        return Packs(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64))
    weights = float(tokens.sum()) / capacity**2, float(pictures.sum()) / most**2 if most else 0.0
    size = tokens * weights[0] + pictures * weights[1]
    order = np.lexsort((pictures, -tokens, -size))  # stable: of equal ones the first comes first
    rooms = _Rooms((capacity, most), weights)
    ends = np.nonzero(np.append(np.diff(tokens[order]) | np.diff(pictures[order]), 1))[0] + 1
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        first = order[start]
        rooms.place(end - start, (int(tokens[first]), int(pictures[first])))
    chosen = np.concatenate(rooms.chosen)
    together = np.argsort(chosen, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(chosen, minlength=rooms.packs))])
    return Packs(order[together], bounds.astype(np.int64))


def _refuse(sizes: np.ndarray, limit: int, what: str) -> None:
    if sizes.size and int(sizes.max()) > limit:
        longest = int(sizes.max())
        raise UserError(
            f"{int((sizes > limit).sum())} samples are longer than a pack (longest {longest} {what})",
            f"train.max_{what} = {limit}",
            f"raise train.max_{what} to {longest} or reject those samples",
        )


@dataclass(slots=True)
class _Rooms:
    """The open packs by what is free in them, and the pack of every document placed so far.

    shelves: free tiles -> the free tokens that packs with so many tiles have, sorted. packs_of: the packs of one
    room as pieces of an array, taken from the end.
    """

    whole: Room
    weights: tuple[float, float]
    packs: int = 0
    chosen: list[np.ndarray] = field(default_factory=list)
    shelves: dict[int, list[int]] = field(default_factory=dict)
    packs_of: dict[Room, list[np.ndarray]] = field(default_factory=dict)

    def place(self, count: int, size: Room) -> None:
        """Place that many documents of one size."""
        while count:
            room = self._fullest(size)
            if room is None:
                each = min(_fits(self.whole, size), count)
                opened = np.arange(self.packs, self.packs + max(count // each, 1))
                self.packs += len(opened)
                self._fill(opened, self.whole, size, each)
                count -= len(opened) * each
            else:
                count -= self._refill(room, size, count)

    def _refill(self, room: Room, size: Room, count: int) -> int:
        """Fill packs that have this room; returns how many documents they took."""
        pieces = self.packs_of[room]
        packs = pieces.pop()
        each = min(_fits(room, size), count)
        taken, left = packs[: count // each], packs[count // each :]
        if len(left):
            pieces.append(left)
        elif not pieces:
            self._forget(room)
        self._fill(taken, room, size, each)
        return len(taken) * each

    def _fullest(self, size: Room) -> Room | None:
        """The smallest room that holds a document: once it is chosen, what is left of it is again the smallest."""
        best, best_room = float("inf"), None
        for tiles, shelf in self.shelves.items():
            if tiles < size[1] or (found := bisect_left(shelf, size[0])) == len(shelf):
                continue
            space = shelf[found] * self.weights[0] + tiles * self.weights[1]
            if space < best:
                best, best_room = space, (shelf[found], tiles)
        return best_room

    def _fill(self, packs: np.ndarray, room: Room, size: Room, each: int) -> None:
        self.chosen.append(np.repeat(packs, each))
        free = room[0] - each * size[0], room[1] - each * size[1]
        if not free[0]:
            return
        if free not in self.packs_of:
            self.packs_of[free] = []
            insort(self.shelves.setdefault(free[1], []), free[0])
        self.packs_of[free].append(packs)

    def _forget(self, room: Room) -> None:
        del self.packs_of[room]
        shelf = self.shelves[room[1]]
        del shelf[bisect_left(shelf, room[0])]
        if not shelf:
            del self.shelves[room[1]]


def _fits(room: Room, size: Room) -> int:
    """How many documents of one size fit."""
    by_tokens = room[0] // size[0]
    return min(by_tokens, room[1] // size[1]) if size[1] else by_tokens


def fill(packs: Packs | Sequence[Sequence[int]], lengths: Numbers, capacity: int) -> float:
    """The share of all pack positions that hold a token."""
    return float(np.sum(lengths)) / (len(packs) * capacity) if len(packs) else 0.0


def steps_of(stage: TrainStage, packs: int, samples: int) -> int:
    """How many steps a stage takes: as many as it says, or its epochs over all packs or samples, rounded up."""
    if stage.steps is not None:
        return stage.steps
    assert stage.epochs is not None  # the recipe has one of the two
    each = packs if stage.unit == "packs" and stage.objective == "answers" else samples
    return int(-(-Fraction(str(stage.epochs)) * each // stage.batch))


class Order:
    """Which of so many things each step learns from: ``order[step]`` is (batch,) int64.

    Every epoch is a new seeded permutation in which each stands once; the end of one and the beginning of the next
    may lie in one step. Permutations are drawn when a step asks for them. With ``groups`` (groups + 1,), bounds of
    things that belong together, groups are permuted and the things of a group stay neighbours.
    """

    def __init__(self, things: int, batch: int, steps: int, seed: int, groups: np.ndarray | None = None) -> None:
        self.things, self.batch, self.steps, self.seed, self.groups = things, batch, steps, seed, groups
        self._drawn: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> np.ndarray:
        first = range(self.steps)[step] * self.batch
        last = first + self.batch
        parts = []
        for epoch in range(first // self.things, -(-last // self.things)):
            begin = epoch * self.things
            parts.append(self._epoch(epoch)[max(first - begin, 0) : last - begin])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._drawn:
            while len(self._drawn) > 1:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[epoch] = self._permutation(np.random.default_rng([self.seed, epoch]))
        return self._drawn[epoch]

    def _permutation(self, random: np.random.Generator) -> np.ndarray:
        if self.groups is None:
            return random.permutation(self.things)
        starts, sizes = np.asarray(self.groups[:-1]), np.diff(self.groups)
        chosen = random.permutation(len(sizes))
        before = np.cumsum(sizes[chosen]) - sizes[chosen]
        return np.repeat(starts[chosen] - before, sizes[chosen]) + np.arange(self.things)
