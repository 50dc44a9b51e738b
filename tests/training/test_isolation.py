"""A packed sample is computed exactly as if it were alone, in every family, with plain transformers as the judge."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from olhar.core.choices import names
from olhar.core.types import VideoRef
from olhar.families import normalised
from olhar.training.data.batches import Batch, Segments
from olhar.training.model import attention
from olhar.training.model.objectives import packed_hidden_states
from tests.training.packed import Packs, packed

TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=names("families"))
def packs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packs:
    return packed(request.param, tmp_path_factory.mktemp("packs"))


def merged(segments: Segments) -> Segments:
    """A leak: the whole row is one document."""
    return replace(segments, bounds=segments.bounds[[0, -1]], prefix=np.zeros((1, 2), dtype=np.int64))


def unshared(segments: Segments) -> Segments:
    """Another: no question sees its images."""
    return replace(segments, prefix=np.zeros_like(segments.prefix))


def logits(packs: Packs, batch: Batch) -> torch.Tensor:
    packs.learner()
    with torch.no_grad():
        hidden = packed_hidden_states(packs.model, packs.family, packs.settings, batch)
        found: torch.Tensor = packs.model.get_output_embeddings()(hidden)
    return found


def test_the_samples_cover_every_kind(packs: Packs) -> None:
    samples, encoded = list(packs.samples), packs.encoded
    assert any(isinstance(ref, VideoRef) for sample in samples for ref in sample.media)
    assert any(not sample.media for sample in samples) and any(len(sample.media) == 2 for sample in samples)
    assert sorted(np.diff(encoded.groups).tolist())[-2:] == [2, 3], "no document of several questions"


@pytest.mark.parametrize("short", [attention.SHORT, 0], ids=["together", "one by one"])
def test_packed_logits_are_those_of_the_sample_alone(packs: Packs, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SHORT", short)
    batch, places, worst = packs.batch(), packs.places(), 0.0
    found = logits(packs, batch)
    assert sorted(places) == list(range(len(packs.samples)))
    for sample, columns in places.items():
        with torch.no_grad():
            ids, _, judged = packs.alone(packs.samples[int(packs.encoded.rows[sample])])
        assert batch.ids[columns].tolist() == ids
        worst = max(worst, float((found[columns] - judged.logits[0]).abs().max()))
    assert worst <= TOLERANCE
    assert judged.logits.abs().max() > 0.01, "logits too small to tell anything"


@pytest.mark.parametrize("leak", [merged, unshared])
def test_a_leak_would_be_seen(packs: Packs, leak: Any) -> None:
    batch = packs.batch()
    assert (logits(packs, batch) - logits(packs, replace(batch, segments=leak(batch.segments)))).abs().max() > 1e-2


def test_pictures_reach_the_logits(packs: Packs) -> None:
    batch = packs.batch()
    assert batch.pixels is not None
    dark = replace(batch, pixels=batch.pixels.div(4, rounding_mode="floor"))
    assert (logits(packs, batch) - logits(packs, dark)).abs().max() > 1e-3


@pytest.mark.parametrize(("weighting", "exponent"), [("token", 0), ("sample", -1), ("square", -0.5)])
def test_the_packed_loss_is_the_weighted_sum_of_single_losses(packs: Packs, weighting: str, exponent: float) -> None:
    """The class says the mean over a sample's labelled tokens."""
    batch, total, weight = packs.batch(weighting), 0.0, 0.0
    with torch.no_grad():
        loss, _ = packs.learner()(batch)
        for sample in packs.samples:
            _, trained, judged = packs.alone(sample)
            count = int(trained.sum())
            total, weight = total + float(judged.loss) * count * count**exponent, weight + count * count**exponent
    assert abs(batch.weight - weight) <= TOLERANCE
    assert abs(float(loss) / weight - total / weight) <= TOLERANCE


@pytest.mark.parametrize("recomputed", [False, True], ids=["kept", "recomputed"])
def test_packed_gradients_are_those_of_the_samples_alone(packs: Packs, recomputed: bool) -> None:
    """Of every parameter, tower and connector too; also where activations are computed again backwards."""
    batch, learner = packs.batch(), packs.learner()
    layers = packs.model.model.language_model.layers if recomputed else []
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    (learner(batch)[0] / batch.weight).backward()
    for layer in layers:
        del layer.forward
    for sample in packs.samples:
        _, trained, judged = packs.alone(sample)
        (judged.loss * int(trained.sum()) / batch.weight).backward()
    worst = 0.0
    for one, other in zip(packs.model.parameters(), packs.judge.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        worst = max(worst, 0.0 if one.grad is None else float((one.grad - other.grad).abs().max()))
    packs.model.zero_grad(), packs.judge.zero_grad()
    assert worst <= TOLERANCE


def test_batches_add_up(packs: Packs) -> None:
    """Documents in two micro-batches: the sums are those of one."""
    learner, half = packs.learner(), packs.encoded.documents // 2
    with torch.no_grad():
        whole, *parts = (
            learner(packs.batch(documents=documents))[0]
            for documents in (
                range(packs.encoded.documents),
                range(half),
                range(half, packs.encoded.documents),
            )
        )
    assert abs(float(whole - sum(parts))) <= TOLERANCE * float(whole)


def test_only_answers_are_targets(packs: Packs) -> None:
    """What is learned, decoded, is the answers of a sample and their end tokens; nothing else and all of them."""
    batch = packs.batch()
    said = [turn.text for sample in packs.samples for turn in sample.turns if turn.role == "assistant"]
    words = packs.encoder.tokenizer.decode(batch.targets.tolist(), skip_special_tokens=False)
    assert sorted(words.split()) == sorted(f"{' </s> '.join(said)} </s>".split())
    assert torch.equal(batch.weights, torch.ones(len(batch.targets)))


def test_a_first_token_is_never_predicted_from_the_document_before(packs: Packs) -> None:
    """Alone it would have nothing to be predicted from."""
    batch = packs.batch()
    assert (batch.positions == 0).sum() == packs.encoded.documents
    firsts = set(torch.nonzero(batch.positions == 0).flatten().tolist())
    trained = {
        tokens[place]
        for sample, tokens in packs.places().items()
        for place in np.nonzero(packs.encoder.sample(packs.samples[int(packs.encoded.rows[sample])]).trained)[0]
    }
    assert not firsts & trained and len(trained) == batch.targets.numel()


def test_a_loss_that_is_none_is_still_attached(packs: Packs) -> None:
    """A process with nothing to learn from must still take part in the sum of gradients."""
    text = next(
        number for number in range(packs.encoded.documents) if not packs.encoded.tiles[packs.encoded.groups[number]]
    )
    batch = packs.batch(documents=[text])
    nothing = torch.zeros(0, dtype=torch.int64)
    silent = replace(batch, predictors=nothing, targets=nothing, weights=torch.zeros(0))
    packs.learner(always_look=True)(silent)[0].backward()
    read = {name for name, parameter in packs.model.named_parameters() if parameter.grad is not None}
    packs.model.zero_grad()
    packs.learner()(packs.batch())[0].backward()
    learned = {name for name, parameter in packs.model.named_parameters() if parameter.grad is not None}
    packs.model.zero_grad()
    assert read == learned


def test_looking_at_nothing_changes_nothing(packs: Packs) -> None:
    text = next(
        number for number in range(packs.encoded.documents) if not packs.encoded.tiles[packs.encoded.groups[number]]
    )
    batch, found = packs.batch(documents=[text]), []
    assert batch.pixels is None
    for options in ({}, {"always_look": True}, {"always_look": True, "cached": True}):
        loss, _ = packs.learner(**options)(batch)
        loss.backward()
        looked = {
            role: any(packs.model.get_parameter(name).grad is not None for name in of)
            for role, of in packs.family.roles(packs.model).items()
        }
        found.append((float(loss.detach()), looked, packs.model.get_input_embeddings().weight.grad.clone()))
        packs.model.zero_grad()
    assert [looked["vision"] for _, looked, _ in found] == [False, True, False]
    assert [looked["connector"] for _, looked, _ in found] == [False, True, True]
    assert all(loss == found[0][0] and torch.equal(grad, found[0][2]) for loss, _, grad in found)


def test_cached_features_are_the_tower_s(packs: Packs) -> None:
    batch, learner = packs.batch(), packs.learner()
    assert batch.pixels is not None
    with torch.no_grad():
        features = packs.family.patch_features(packs.model, normalised(batch.pixels, packs.settings))
        looked = learner(batch)[0]
        cached = learner(replace(batch, pixels=None, features=features.half()))[0]
    assert abs(float(looked - cached)) / batch.weight <= 1e-3


def test_generating_and_publishing_know_nothing_of_packing(packs: Packs, tmp_path: Path) -> None:
    """Under training the model answers as ever (padding included), and no file names what trained it."""
    learner = packs.learner()
    ids = torch.randint(2, 7, (2, 5), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    asked = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": 6, "do_sample": False, "pad_token_id": 1}
    answers = [model.generate(**asked).tolist() for model in (packs.model, packs.judge)]
    assert answers[0] == answers[1]
    for model, name in ((packs.model, "packed"), (packs.judge, "plain")):
        model.config.save_pretrained(tmp_path / name)
    packed, plain = ((tmp_path / name / "config.json").read_text() for name in ("packed", "plain"))
    assert packed == plain and "olhar" not in packed
    learner.release()
    parts = (packs.model.model.language_model, packs.model.model.vision_tower)
    assert {part.config._attn_implementation for part in parts} == {"sdpa"}
    with pytest.raises(RuntimeError):  # a model without it mixes nothing up in silence
        packed_hidden_states(packs.model, packs.family, packs.settings, packs.batch())
