"""A packed sample is computed exactly as if it were alone, with plain transformers as the judge."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from olhar.core.types import ImageRef, Sample, Turn, VideoRef
from olhar.families import EncodedSample, normalised
from olhar.training.batches import Batch, Layout, collate, lay_out
from olhar.training.encode import EncodedSet
from olhar.training.objectives import AnswerLearner, answer_loss, packed_hidden_states

IGNORED = -100
TOLERANCE = 1e-5


def alone(bench: Any, model: Any, sample: Sample) -> tuple[EncodedSample, torch.Tensor, torch.Tensor]:
    """A sample through ``model(input_ids, pixel_values)``: its ids, logits (tokens, vocabulary), and loss."""
    encoded = bench.encoder.sample(sample)
    ids = torch.tensor([encoded.ids])
    labels = torch.where(torch.tensor([encoded.trained]), ids, IGNORED)
    inputs = {"input_ids": ids, "labels": labels}
    _, pixels = bench.looked(sample)
    if len(pixels):
        inputs["pixel_values"] = normalised(pixels, bench.settings)
    with torch.no_grad():
        done = model(**inputs)
    return encoded, done.logits[0], done.loss


def packed(bench: Any, encoded: EncodedSet, packs: Sequence[Sequence[int]]) -> tuple[list[Layout], Batch]:
    layouts = [lay_out(encoded, pack) for pack in packs]
    pairs, pixels = bench.looked(*(bench.samples[row] for layout in layouts for row in layout.rows))
    return layouts, collate(layouts, 0, pixels=pixels, views=[view for _, view in pairs])


def places(encoded: EncodedSet, packs: Sequence[Sequence[int]]) -> dict[int, tuple[int, list[int]]]:
    """Where every sample's tokens lie: sample -> (row of the batch, columns), by counting alone."""
    found = {}
    for row, pack in enumerate(packs):
        offset = 0
        for document in pack:
            first, last = encoded.groups[document], encoded.groups[document + 1]
            prefix = list(range(offset, offset + encoded.after_images[first]))
            offset += len(prefix)
            for sample in range(first, last):
                rest = int(encoded.starts[sample + 1] - encoded.starts[sample]) - len(prefix)
                found[sample] = (row, [*prefix, *range(offset, offset + rest)])
                offset += rest
    return found


def packs_of(encoded: EncodedSet) -> list[list[int]]:
    """All documents in two packs of unequal length, in an order that is not theirs."""
    order = np.random.default_rng(0).permutation(encoded.documents).tolist()
    return [order[: len(order) // 3], order[len(order) // 3 :]]


def test_the_samples_cover_every_kind(bench: Any) -> None:
    samples, encoded = list(bench.samples), bench.encoded()
    assert any(isinstance(ref, VideoRef) for sample in samples for ref in sample.media)
    assert any(not sample.media for sample in samples) and any(len(sample.media) == 2 for sample in samples)
    assert np.diff(encoded.groups).max() >= 3, "no document of several questions"


@pytest.mark.parametrize("share", [True, False], ids=["shared images", "own images"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_logits_are_those_of_the_sample_alone(bench: Any, share: bool, attention: str) -> None:
    model, encoded = bench.model().eval(), bench.encoded(share=share)
    model.set_attn_implementation(attention)
    packs = packs_of(encoded)
    _, batch = packed(bench, encoded, packs)
    with torch.no_grad():
        hidden = packed_hidden_states(model, bench.family, bench.settings, batch)
        logits = model.get_output_embeddings()(hidden)
    worst = 0.0
    found = places(encoded, packs)
    assert sorted(found) == list(range(len(bench.samples)))
    for sample, (row, columns) in found.items():
        single, expected, _ = alone(bench, model, bench.samples[int(encoded.rows[sample])])
        assert batch.ids[row, columns].tolist() == single.ids
        worst = max(worst, float((logits[row, columns] - expected).abs().max()))
    assert worst <= TOLERANCE
    assert expected.abs().max() > 0.1, "logits too small to tell anything"


def test_pictures_and_neighbours_do_reach_the_logits(bench: Any) -> None:
    """The isolation test would notice: other pixels change the logits, a mask without isolation does too."""
    model, encoded = bench.model().eval(), bench.encoded()
    _, batch = packed(bench, encoded, packs_of(encoded))
    assert batch.pixels is not None
    everything, dimmed = torch.tril(torch.ones_like(batch.mask)), batch.pixels.div(4, rounding_mode="floor")
    with torch.no_grad():
        right, leaking, dark = (
            packed_hidden_states(model, bench.family, bench.settings, changed)
            for changed in (batch, replace(batch, mask=everything), replace(batch, pixels=dimmed))
        )
    assert (right - leaking).abs().max() > 1e-2 and (right - dark).abs().max() > 1e-2


@pytest.mark.parametrize("share", [True, False])
def test_packed_loss_is_the_mean_over_tokens_of_single_losses(bench: Any, share: bool) -> None:
    model, encoded = bench.model().eval(), bench.encoded(share=share)
    _, batch = packed(bench, encoded, packs_of(encoded))
    with torch.no_grad():
        loss = answer_loss(model, bench.family, bench.settings, batch)
    total = weight = 0.0
    for sample in bench.samples:
        single, _, mean = alone(bench, model, sample)
        total, weight = total + float(mean) * sum(single.trained), weight + sum(single.trained)
    assert weight == len(batch.targets)
    assert abs(float(loss) - total / weight) <= TOLERANCE


def test_only_answers_are_targets(bench: Any) -> None:
    """What is learned, decoded, is the answer of a sample and its end token; nothing else and all of them."""
    encoded = bench.encoded()
    packs = packs_of(encoded)
    layouts, batch = packed(bench, encoded, packs)
    learned = []
    for layout in layouts:
        labelled = np.nonzero(layout.predictor >= 0)[0]
        for run in np.split(labelled, np.nonzero(np.diff(labelled) > 1)[0] + 1):
            learned.append(bench.tokenizer.decode(layout.ids[run].tolist(), skip_special_tokens=False))
    assert sorted(learned) == sorted(f" {sample.turns[1].text}</s>" for sample in bench.samples)
    assert batch.targets.tolist() == [int(i) for layout in layouts for i in layout.ids[layout.predictor >= 0]]
    image = bench.tokenizer.token_to_id(bench.family.IMAGE_TOKEN)
    assert image not in batch.targets.tolist()


def test_a_first_token_is_never_predicted_from_the_document_before(bench: Any) -> None:
    """Even where it is trained: alone it would have nothing to be predicted from."""
    ids = np.arange(6, dtype=np.int32)
    starts, rows = np.array([0, 3, 6]), np.array([0, 1])
    everything = np.ones(6, dtype=bool)
    encoded = EncodedSet(ids, everything, starts, rows, np.zeros(2, dtype=np.int32), np.array([0, 1, 2]))
    assert lay_out(encoded, [0, 1]).predictor.tolist() == [-1, 0, 1, -1, 3, 4]


def test_what_precedes_the_images_is_shared_only_where_it_is_the_same(bench: Any) -> None:
    """Two conversations on the same pictures whose last one comes after different words."""
    refs = [ref for sample in bench.samples for ref in sample.media if isinstance(ref, ImageRef)][:2]

    def talk(name: str, first: str) -> Sample:
        turns = (
            Turn("user", (refs[0], first)),
            Turn("assistant", ("um",)),
            Turn("user", (refs[1], "e?")),
            Turn("assistant", ("dois",)),
        )
        return Sample(name, "pt", turns)

    file = bench.file([talk("a", "cor?"), talk("b", "nome?"), talk("c", "nome?")], "talks.jsonl")
    encoded = bench.encoded(file)
    layout = lay_out(encoded, list(range(encoded.documents)))
    found = places(encoded, [list(range(encoded.documents))])
    for sample in range(3):
        expected = bench.encoder.sample(file[int(encoded.rows[sample])]).ids
        assert layout.ids[found[sample][1]].tolist() == expected, f"sample {sample} reads another one's words"


def test_a_step_trains_only_what_the_pack_holds(bench: Any) -> None:
    """Gradients of a pack are those of its samples alone, weighted by their trained tokens."""
    model, encoded = bench.model().eval(), bench.encoded()
    packs = [[0, 1, 2]]
    _, batch = packed(bench, encoded, packs)
    AnswerLearner(model, bench.family, bench.settings).loss(batch)[0].backward()
    got = model.get_input_embeddings().weight.grad.clone()
    model.zero_grad()
    rows = [int(encoded.rows[sample]) for sample in sorted(places(encoded, packs))]
    for row in rows:
        single = bench.encoder.sample(bench.samples[row])
        ids, trained = torch.tensor([single.ids]), torch.tensor([single.trained])
        _, pixels = bench.looked(bench.samples[row])
        images = {"pixel_values": normalised(pixels, bench.settings)} if len(pixels) else {}
        logits = model(input_ids=ids, **images).logits[0, :-1][trained[0, 1:]]
        summed = functional.cross_entropy(logits, ids[0, 1:][trained[0, 1:]], reduction="sum")
        (summed / len(batch.targets)).backward()
    assert torch.allclose(got, model.get_input_embeddings().weight.grad, atol=TOLERANCE)
