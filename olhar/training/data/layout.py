"""Packs as one flat row of tokens: who sees whom, what is predicted from where, and what it weighs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from olhar.core.recipe.training import Weighting
from olhar.training.data.encode import EncodedSet

ROUND = 16
"""A row is as many tokens as a multiple of this: tensors then come in few sizes. An allocator on a CPU finds them again
(else a fifth of the time goes into searching), and a GPU multiplies whole tiles."""
NOTHING = -1  # the predictor of a token that nothing precedes
EXPONENTS: dict[Weighting, float] = {"token": 0.0, "sample": -1.0, "square": -0.5}  # of a sample's labelled tokens


@dataclass(frozen=True, slots=True)
class Segments:
    """Who sees whom in a flat row of T tokens: each token the earlier ones of its own segment, and its prefix.

    bounds (segments + 1,) int64: segment s is tokens [bounds[s], bounds[s + 1]); the first is 0, the last T.
    prefix (segments, 2) int64: tokens [a, b) that every token of the segment sees besides, for instance images that
    several questions share; a == b: none. packs (packs + 1,) int64: bounds of the packs; a segment and its prefix
    lie in one pack.
    """

    bounds: np.ndarray
    prefix: np.ndarray
    packs: np.ndarray


@dataclass(frozen=True, slots=True)
class Row:
    """The packs of one micro-batch, one after the other, before their pictures are read.

    ids, positions (tokens,) int64; predictors, targets (labelled,) int64; weights (labelled,) float32; shown: of
    every document one sample of the encoded set, whose media fill its image tokens. real: tokens that are no padding.
    """

    ids: np.ndarray
    positions: np.ndarray
    segments: Segments
    predictors: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    shown: Sequence[int]
    samples: int
    real: int


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment: ids [start, end) of ``sample``, their first position, and what precedes them."""

    sample: int
    start: int
    end: int
    position: int
    before: int  # index in the row of the token that predicts the first one
    prefix: tuple[int, int]


def lay_out(encoded: EncodedSet, packs: Sequence[np.ndarray], weighting: Weighting = "token") -> Row:
    """Concatenate packs. Each is an array of documents, or parts of documents, given as samples [first, last):
    (documents, 2) int64. What the samples of a document share stands once, before them.

    A sample's labelled tokens weigh 1 each (``token``), together 1 (``sample``), or together the square root of their
    number (``square``), as InternVL 2.5 does (Chen et al. 2024, arXiv:2412.05271, section 3.3).
    """
    segments: list[_Segment] = []
    bounds, shown, samples, offset = [0], [], 0, 0
    for pack in packs:
        for first, last in pack.tolist():
            found = _document(encoded, first, last, offset)
            offset += sum(segment.end - segment.start for segment in found)
            segments += found
            shown.append(first)
            samples += last - first
        bounds.append(offset)
    return _row(encoded, segments, np.asarray(bounds, dtype=np.int64), weighting, shown, samples)


def _document(encoded: EncodedSet, first: int, last: int, offset: int) -> list[_Segment]:
    """The segments of the samples [first, last) of one document that begins at ``offset`` of the row."""
    start, end = int(encoded.starts[first]), int(encoded.starts[first + 1])
    if last - first == 1:
        return [_Segment(first, start, end, 0, NOTHING, (0, 0))]
    shared = int(encoded.after_images[first])
    prefix = (offset, offset + shared)
    found = [_Segment(first, start, start + shared, 0, NOTHING, (0, 0))]
    for sample in range(first, last):
        start, end = int(encoded.starts[sample]) + shared, int(encoded.starts[sample + 1])
        found.append(_Segment(sample, start, end, shared, offset + shared - 1, prefix))
    return found


def _row(
    encoded: EncodedSet,
    segments: Sequence[_Segment],
    packs: np.ndarray,
    weighting: Weighting,
    shown: Sequence[int],
    samples: int,
) -> Row:
    lengths = np.asarray([segment.end - segment.start for segment in segments], dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.concatenate([encoded.ids[segment.start : segment.end] for segment in segments]).astype(np.int64)
    trained = np.concatenate([encoded.trained[segment.start : segment.end] for segment in segments])
    within = np.arange(len(ids)) - np.repeat(bounds[:-1], lengths)
    positions = within + np.repeat([segment.position for segment in segments], lengths)
    predictor = np.arange(-1, len(ids) - 1)
    predictor[bounds[:-1][lengths > 0]] = [s.before for s in segments if s.end > s.start]
    labelled = trained & (predictor != NOTHING)
    own = np.asarray([encoded.labelled[segment.sample] for segment in segments], dtype=np.float64)
    weights = np.repeat(np.maximum(own, 1) ** EXPONENTS[weighting], lengths)
    prefixes = np.asarray([segment.prefix for segment in segments], dtype=np.int64).reshape(-1, 2)
    return Row(
        ids,
        positions,
        Segments(bounds, prefixes, packs),
        predictor[labelled],
        ids[labelled],
        weights[labelled].astype(np.float32),
        shown,
        samples,
        len(ids),
    )


def rounded(row: Row, pad: int) -> Row:
    """The row with a last segment of padding up to a multiple of ``ROUND`` tokens, which nothing sees or learns."""
    more = -len(row.ids) % ROUND
    if not more:
        return row
    end, old = len(row.ids) + more, row.segments
    segments = Segments(
        np.append(old.bounds, end), np.append(old.prefix, [[0, 0]], axis=0), np.append(old.packs[:-1], end)
    )
    ids, positions = np.append(row.ids, np.full(more, pad)), np.append(row.positions, np.arange(more))
    return replace(row, ids=ids, positions=positions, segments=segments)


def padding(tokens: float) -> float:
    """The share of padding in rows of about so many real tokens."""
    return (ROUND - 1) / 2 / (tokens + (ROUND - 1) / 2)


def empty(pad: int) -> Row:
    """What a process without packs takes through the model: one token that teaches nothing."""
    nothing = np.zeros(0, dtype=np.int64)
    segments = Segments(np.array([0, 1]), np.zeros((1, 2), dtype=np.int64), np.array([0, 1]))
    one = np.array([pad], dtype=np.int64)
    return Row(one, np.zeros(1, dtype=np.int64), segments, nothing, nothing, nothing.astype(np.float32), (), 0, 0)
