"""Who sees whom in a pack, against a definition written out token by token."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from olhar.training.batches import Layout, collate, lay_out, visible
from olhar.training.encode import EncodedSet

DOCUMENT = st.tuples(st.integers(0, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3))  # prefix, questions


def made(documents: list[tuple[int, list[int]]]) -> EncodedSet:
    """An encoded set; a document's samples begin with the same ids; the last two ids of every sample are trained."""
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
    return EncodedSet(
        np.asarray(ids, dtype=np.int32),
        np.asarray(trained),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.arange(len(lengths)),
        np.asarray(after, dtype=np.int32),
        np.asarray(groups),
    )


def sees(layout: Layout, one: int, other: int) -> bool:
    """Whether token ``one`` may look at ``other``: itself, or an earlier one of its document that all its questions
    share or that is of its own question."""
    if one == other:
        return True
    if other > one or layout.document[one] != layout.document[other]:
        return False
    return layout.question[other] in (0, layout.question[one])


@settings(deadline=None)
@given(st.lists(DOCUMENT, min_size=1, max_size=4))
def test_the_mask_is_its_definition(documents: list[tuple[int, list[int]]]) -> None:
    layout = lay_out(made(documents), list(range(len(documents))))
    count = len(layout.ids)
    expected = [[sees(layout, one, other) for other in range(count)] for one in range(count)]
    assert visible(layout.document, layout.question).tolist() == expected


@settings(deadline=None)
@given(st.lists(DOCUMENT, min_size=1, max_size=4))
def test_what_a_token_sees_is_its_sample_up_to_it(documents: list[tuple[int, list[int]]]) -> None:
    """For every sample: reading its own tokens only, at positions 0, 1, 2 ..., each predicted by the one before."""
    encoded = made(documents)
    layout = lay_out(encoded, list(range(len(documents))))
    mask = visible(layout.document, layout.question)
    for index in range(len(layout.ids)):
        seen = np.nonzero(mask[index])[0]
        assert layout.positions[seen].tolist() == list(range(len(seen)))
        if layout.predictor[index] >= 0:
            assert len(seen) > 1, "the first token of a document is predicted"
            assert layout.predictor[index] == seen[-2], "a token is predicted by the one before it in its sample"
    ends = [index for index in range(len(layout.ids)) if mask[:, index].sum() == 1]  # nobody reads on from there
    read = {tuple(layout.ids[mask[index]].tolist()) for index in ends}
    assert read == {tuple(encoded.ids[start:end].tolist()) for start, end in pairwise(encoded.starts)}


def test_padding_sees_only_itself_and_teaches_nothing() -> None:
    encoded = made([(2, [3, 3]), (0, [2])])
    long, short = lay_out(encoded, [0]), lay_out(encoded, [1])
    batch = collate([long, short], pad=7)
    assert batch.ids.shape == (2, 8) and batch.tokens == 10
    assert batch.ids[1, 2:].tolist() == [7] * 6
    assert torch.equal(batch.mask[1, 0, 2:], torch.eye(8, dtype=torch.bool)[2:])
    assert not batch.mask[1, 0, :2, 2:].any()
    rows, columns = batch.predictors // 8, batch.predictors % 8
    assert all(column < (8 if row == 0 else 2) for row, column in zip(rows.tolist(), columns.tolist(), strict=True))
    assert set(batch.targets.tolist()) <= set(encoded.ids[encoded.trained].tolist())


def test_questions_continue_after_their_shared_prefix() -> None:
    layout = lay_out(made([(0, [2]), (3, [2, 4])]), [1, 0])
    assert layout.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 0, 1]
    assert layout.document.tolist() == [0] * 9 + [1] * 2
    assert layout.question.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 1, 1]
    assert layout.predictor[:9].tolist() == [-1, -1, -1, 2, 3, -1, -1, 6, 7]
    assert layout.rows == [1, 0]
