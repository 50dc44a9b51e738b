"""Who sees whom in a row of packs, against a definition written out token by token; and who learns what."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from olhar.core import marks, pictures
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Pen, Sample, Turn
from olhar.families import pixels_of
from olhar.training.data.batches import Batch, Look, PackedBatches, Share, StepBatch, collate
from olhar.training.data.encode import EncodedSet
from olhar.training.data.layout import ROUND, Row, empty, lay_out, rounded

DOCUMENT = st.tuples(st.integers(0, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3))  # prefix, questions
PACKS = st.lists(st.lists(DOCUMENT, min_size=1, max_size=3), min_size=1, max_size=3)


def made(by_hand: Any, documents: list[tuple[int, list[int]]]) -> EncodedSet:
    """A document's samples begin with the same ids; the last two ids of every sample are trained."""
    ids: list[int] = []
    trained: list[bool] = []
    lengths, after, groups = [], [], [0]
    for prefix, questions in documents:
        for length in questions if prefix else questions[:1]:
            ids += [*range(100 * len(groups), 100 * len(groups) + prefix), *range(-1, -1 - length, -1)]
            trained += [False] * (prefix + max(0, length - 2)) + [True] * min(length, 2)
            lengths.append(prefix + length)
            after.append(prefix)
        groups.append(len(lengths))
    return by_hand(ids, trained, np.concatenate([[0], np.cumsum(lengths)]), groups, after)


def laid(by_hand: Any, packs: list[list[tuple[int, list[int]]]], weighting: Any = "token") -> tuple[EncodedSet, Row]:
    encoded = made(by_hand, [document for pack in packs for document in pack])
    bounds = np.concatenate([[0], np.cumsum([len(pack) for pack in packs])])
    return encoded, lay_out(encoded, [encoded.spans()[a:b] for a, b in pairwise(bounds)], weighting)


def visible(row: Row) -> np.ndarray:
    """(tokens, tokens) bool by the definition of ``Segments``."""
    seen = np.zeros((len(row.ids), len(row.ids)), dtype=bool)
    for (start, end), (a, b) in zip(pairwise(row.segments.bounds), row.segments.prefix, strict=True):
        for token in range(start, end):
            seen[token, start : token + 1] = True
            seen[token, a:b] = True
    return seen


@settings(deadline=None)
@given(packs=PACKS)
def test_what_a_token_sees_is_its_sample_up_to_it(by_hand: Any, packs: Any) -> None:
    """For every sample: reading its own tokens only, at positions 0, 1, 2 ..."""
    encoded, row = laid(by_hand, packs)
    mask = visible(row)
    read = set()
    for token in range(len(row.ids)):
        seen = np.nonzero(mask[token])[0]
        assert seen[-1] == token and row.positions[seen].tolist() == list(range(len(seen)))
        read.add(tuple(row.ids[seen].tolist()))
    samples = {tuple(encoded.ids[start:end].tolist()) for start, end in pairwise(encoded.starts)}
    assert samples <= read
    assert all(any(sample[: len(part)] == part for sample in samples) for part in read)


@settings(deadline=None)
@given(packs=PACKS)
def test_a_token_is_predicted_by_the_one_before_it_in_its_sample(by_hand: Any, packs: Any) -> None:
    encoded, row = laid(by_hand, packs)
    mask = visible(row)
    for predictor, target in zip(row.predictors.tolist(), row.targets.tolist(), strict=True):
        followers = [t for t in range(predictor + 1, len(row.ids)) if mask[t, predictor]]
        next_position = [t for t in followers if row.positions[t] == row.positions[predictor] + 1]
        assert target in {int(row.ids[t]) for t in next_position}
    assert len(row.targets) == encoded.labelled.sum(), "each labelled token is learned once"


@settings(deadline=None)
@given(packs=PACKS)
def test_segments_lie_in_their_packs(by_hand: Any, packs: Any) -> None:
    _, row = laid(by_hand, packs)
    bounds, edges = row.segments.bounds, row.segments.packs
    assert bounds[0] == edges[0] == 0 and bounds[-1] == edges[-1] == len(row.ids)
    assert len(edges) == len(packs) + 1 and set(edges.tolist()) <= set(bounds.tolist())
    for (start, end), (a, b) in zip(pairwise(bounds), row.segments.prefix, strict=True):
        assert start <= end and (a <= b <= start or a == b == 0)
        assert np.searchsorted(edges, start, "right") == np.searchsorted(edges, a, "right") or a == b


@settings(deadline=None)
@given(packs=PACKS)
def test_a_rounded_row_ends_in_padding_that_is_alone(by_hand: Any, packs: Any) -> None:
    _, row = laid(by_hand, packs)
    full, real = rounded(row, pad=7), len(row.ids)
    assert len(full.ids) % ROUND == 0 and len(full.ids) - real < ROUND and full.real == real
    assert full.ids[:real].tolist() == row.ids.tolist() and set(full.ids[real:]) <= {7}
    mask = visible(full)
    assert (mask[:real, :real] == visible(row)).all()
    assert not mask[:real, real:].any() and not mask[real:, :real].any()
    assert full.predictors is row.predictors and full.segments.packs[-1] == full.segments.bounds[-1] == len(full.ids)
    assert len(full.positions) == len(full.ids) and len(full.segments.prefix) == len(full.segments.bounds) - 1


def test_questions_continue_after_what_they_share(by_hand: Any, whole: Any) -> None:
    row = whole(made(by_hand, [(0, [2]), (3, [2, 4])]), [1, 0])
    assert row.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 0, 1]
    assert row.segments.bounds.tolist() == [0, 3, 5, 9, 11]
    assert row.segments.prefix.tolist() == [[0, 0], [0, 3], [0, 3], [0, 0]]
    assert row.segments.packs.tolist() == [0, 11]
    assert row.predictors.tolist() == [2, 3, 6, 7, 9], "a question's first token by the last shared one"
    assert row.shown == [1, 0] and row.samples == 3


def test_a_question_alone_with_its_images_is_one_segment(by_hand: Any, whole: Any) -> None:
    row = whole(made(by_hand, [(3, [2])]), [0])
    assert row.segments.bounds.tolist() == [0, 5] and row.predictors.tolist() == [2, 3]


def test_a_first_token_is_never_predicted_from_the_document_before(by_hand: Any, whole: Any) -> None:
    """Even where it is trained: alone it would have nothing to be predicted from."""
    row = whole(by_hand(range(6), [True] * 6, [0, 3, 6], [0, 1, 2]), [0, 1])
    assert row.predictors.tolist() == [0, 1, 3, 4] and row.targets.tolist() == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("weighting", "one", "three"), [("token", 1.0, 1.0), ("sample", 1.0, 1 / 3), ("square", 1.0, 3**-0.5)]
)
def test_weights_are_those_of_the_sample(by_hand: Any, whole: Any, weighting: Any, one: float, three: float) -> None:
    """Samples of one and of three labelled tokens, on shared images: n is the sample's, not the document's."""
    trained = [False, False, True, False, False, True, True, True]
    row = whole(by_hand(range(8), trained, [0, 3, 8], [0, 2], 1), [0], weighting=weighting)
    assert row.targets.tolist() == [2, 5, 6, 7]
    assert row.weights.tolist() == pytest.approx([one, three, three, three])


def test_an_empty_micro_batch_is_one_token_that_teaches_nothing() -> None:
    batch = collate(empty(7))
    assert batch.ids.tolist() == [7] and (batch.tokens, batch.samples, batch.weight) == (0, 0, 0.0)
    assert len(batch.predictors) == len(batch.targets) == len(batch.weights) == 0
    assert batch.segments.bounds.tolist() == [0, 1] and batch.pixels is None


def test_every_tensor_goes_to_the_device(by_hand: Any, whole: Any) -> None:
    batch = collate(whole(by_hand(range(4), [False, True] * 2, [0, 2, 4], [0, 1, 2]), [0, 1]), torch.zeros(1))
    gone = StepBatch.of([batch], 10).to("meta").parts[0]
    for name in ("ids", "positions", "predictors", "targets", "weights", "pixels"):
        assert getattr(gone, name).device.type == "meta"
    assert gone.segments is batch.segments and gone.features is None


def steps(batches: PackedBatches) -> Iterator[StepBatch]:
    return (batches[step] for step in range(len(batches)))


def learned(batches: PackedBatches) -> list[int]:
    """The samples of the encoded set in the order in which they are drawn."""
    found: list[int] = []
    for step in range(len(batches)):
        spans = [span for pack in batches.draws[step] for span in pack.tolist()]
        taken = [sample for first, last in spans for sample in range(first, last)]
        if batches.stage.unit == "samples":  # within a step they are ordered by length
            drawn = batches.draws.order[step].tolist()
            assert sorted(taken) == sorted(drawn)
            taken = drawn
        found += taken
    return found


def packed(bench: Any, encoded: EncodedSet, stage: Any, **changes: Any) -> PackedBatches:
    given = {"capacity": 200, "seed": 5} | changes
    return PackedBatches(encoded, bench.samples, stage, given.pop("look", Look("internvl", bench.settings)), **given)


@pytest.mark.parametrize("share", [True, False], ids=["shared images", "own images"])
@pytest.mark.parametrize("unit", ["packs", "samples"])
@pytest.mark.parametrize("packing", [True, False])
def test_an_epoch_sees_every_sample_once(bench: Any, stage: Any, unit: str, packing: bool, share: bool) -> None:
    encoded = bench.encoded(share=share)
    one = stage(steps=None, epochs=2, warmup_steps=0, batch=3, unit=unit, packing=packing)
    batches = packed(bench, encoded, one)
    seen = learned(batches)
    samples = encoded.samples
    assert sorted(seen[:samples]) == sorted(seen[samples : 2 * samples]) == list(range(samples))
    assert seen[:samples] != seen[samples : 2 * samples]
    packs = [pack for step in range(len(batches)) for pack in batches.draws[step]]
    assert max(int(encoded.lengths_of(pack).sum()) for pack in packs) <= 200
    assert packing or all(len(pack) == 1 for pack in packs)
    if unit == "samples":
        assert all(sum(int(np.diff(p).sum()) for p in batches.draws[step]) == 3 for step in range(len(batches)))


@pytest.mark.parametrize("unit", ["packs", "samples"])
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("micro_batch", [None, 1, 2])
def test_processes_together_learn_what_one_would(
    bench: Any, stage: Any, unit: str, size: int, micro_batch: int | None
) -> None:
    """The same documents, the same weight; also where the batch cannot be divided among them."""
    encoded = bench.encoded()
    one = stage(batch=4, unit=unit, weighting="square", steps=3, warmup_steps=0, micro_batch=micro_batch)
    alone = packed(bench, encoded, one)
    team = [packed(bench, encoded, one, share=Share(rank, size)) for rank in range(size)]
    for step in range(3):
        whole, parts = alone[step], [batches[step] for batches in team]
        assert sum(part.weight for part in parts) == pytest.approx(whole.weight, rel=1e-12)
        assert sum(part.tokens for part in parts) == whole.tokens
        assert sum(part.samples for part in parts) == whole.samples
        assert sum(part.capacity for part in parts) == whole.capacity
        names = [name for batches in team for name in batches.sample_ids(step)]
        assert sorted(names) == sorted(alone.sample_ids(step)) and len(names) == whole.samples
        assert sorted(texts(whole)) == sorted(text for part in parts for text in texts(part))
        assert len({len(part.parts) for part in parts}) == 1


def texts(step: StepBatch) -> list[tuple[int, ...]]:
    return [
        tuple(batch.ids[start:end].tolist())
        for batch in step.parts
        if batch.tokens
        for start, end in pairwise(real_bounds(batch))
    ]


def real_bounds(batch: Batch) -> list[int]:
    """Bounds of the segments before the padding."""
    return [bound for bound in batch.segments.bounds.tolist() if bound <= batch.tokens]


def test_a_step_is_the_same_whenever_it_is_asked_for_and_in_any_process(bench: Any, stage: Any) -> None:
    one = stage(steps=5)
    batches, encoded = packed(bench, bench.encoded(), one), bench.encoded()
    last = batches[4].parts[0]
    _ = [batches[step] for step in range(4)]
    loader = torch.utils.data.DataLoader(packed(bench, encoded, one), batch_size=None, num_workers=2)
    for again in (batches[4].parts[0], list(loader)[4].parts[0]):
        for name in ("ids", "positions", "predictors", "targets", "weights", "pixels"):
            assert getattr(last, name).equal(getattr(again, name))


def test_pictures_are_those_of_their_samples(bench: Any, stage: Any) -> None:
    encoded = bench.encoded(share=False)
    batches = packed(bench, encoded, stage(batch=3, steps=4, unit="samples"))
    for step in range(4):
        (batch,) = batches[step].parts
        rows = [int(encoded.rows[first]) for pack in ordered(batches, step) for first, _ in pack.tolist()]
        _, expected = bench.looked(*(bench.samples[row] for row in rows))
        assert batch.pixels is None if not len(expected) else batch.pixels.equal(expected)
        assert sum(view.budget.tiles for view in batch.views) == len(expected)


def ordered(batches: PackedBatches, step: int) -> list[np.ndarray]:
    """A step's packs, the longest first: as a process takes them."""
    return sorted(batches.draws[step], key=lambda pack: -int(batches.encoded.lengths_of(pack).sum()))


def test_one_micro_batch_holds_samples_of_like_length_where_nothing_is_packed(bench: Any, stage: Any) -> None:
    batches = packed(bench, bench.encoded(share=False), stage(batch=8, packing=False, micro_batch=2))
    for step in steps(batches):
        lengths = [np.diff(real_bounds(batch)).tolist() for batch in step.parts]
        assert [len(found) for found in lengths] == [2] * 4
        taken = [length for part in lengths for length in part]
        assert taken == sorted(taken, reverse=True)


def shown(bench: Any, tmp_path: Path, **changes: Any) -> tuple[Any, Path]:
    """A sample about a marked picture."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), "grey").save(path)
    ref = ImageRef(str(path), (marks.mark("box 0.2 0.2 0.8 0.8 red"),))
    sample = Sample("shown", "pt", (Turn("user", (ref, "qual?")), Turn("assistant", ("gato",))))
    return bench.file([sample], "shown.jsonl"), path


def of(bench: Any, samples: Any, stage: Any, **look: Any) -> PackedBatches:
    encoded = bench.encoded(samples)
    return PackedBatches(encoded, samples, stage(batch=1), Look("internvl", bench.settings, **look), capacity=200)


def test_marks_that_say_nothing_are_drawn_with_the_pen(bench: Any, stage: Any, tmp_path: Path) -> None:
    samples, _ = shown(bench, tmp_path)
    thin, thick = (of(bench, samples, stage, pen=pen)[0].parts[0] for pen in (Pen(), Pen(width=40.0, alpha=255)))
    ref = marks.penned(samples[0].media[0], Pen(40.0, 255))
    assert ref.marks[0].width == 40.0 and ref.marks[0].alpha == 255
    expected = pixels_of([ref], thick.views, bench.family, bench.settings)
    assert thick.pixels.equal(torch.from_numpy(expected)) and not thick.pixels.equal(thin.pixels)


def test_a_picture_of_another_size_than_was_counted_is_told(bench: Any, stage: Any, tmp_path: Path) -> None:
    samples, path = shown(bench, tmp_path)
    batches = of(bench, samples, stage)
    batches.encoded = replace(batches.encoded, tiles=batches.encoded.tiles + 1)
    with pytest.raises(UserError, match="2 tiles were counted") as caught:
        batches[0]
    assert "'shown'" in caught.value.where and str(path) in caught.value.where


@pytest.mark.parametrize("content", [None, b"no picture", "cut"])
def test_a_picture_that_cannot_be_read_names_sample_and_file(
    bench: Any, stage: Any, tmp_path: Path, content: Any
) -> None:
    samples, path = shown(bench, tmp_path)
    batches = of(bench, samples, stage)
    assert isinstance(batches[0].parts[0], Batch)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    pictures._size.cache_clear()
    with pytest.raises(UserError) as caught:
        batches[0]
    assert "'shown'" in caught.value.where and str(path) in caught.value.where
