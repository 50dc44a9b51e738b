"""The loss against cross-entropy written out, whatever it is cut into; the learners against what they promise."""

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional

from olhar.core.errors import UserError
from olhar.training.data.patches import PatchBatch
from olhar.training.model import attention, objectives
from olhar.training.model.objectives import AnswerLearner, PatchLearner, answer_loss, patch_loss
from tests.training.small_models import composed

TOKENS, HIDDEN, VOCABULARY = 30, 8, 50


def made(labelled: int = 17, seed: int = 0) -> tuple[torch.nn.Linear, torch.Tensor, Any]:
    """A head, (tokens, hidden) states, and what they must predict, weighted."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
    batch = SimpleNamespace(
        predictors=torch.randint(TOKENS, (labelled,)),
        targets=torch.randint(VOCABULARY, (labelled,)),
        weights=torch.rand(labelled) + 0.1,
    )
    return head, torch.randn(TOKENS, HIDDEN, requires_grad=True), batch


def written_out(head: torch.nn.Module, hidden: torch.Tensor, batch: Any) -> torch.Tensor:
    logits = head(hidden)[batch.predictors]
    return (functional.cross_entropy(logits, batch.targets, reduction="none") * batch.weights).sum()


def same(head: torch.nn.Module, hidden: torch.Tensor, batch: Any, tolerance: float = 1e-5) -> None:
    learned = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    got, expected = answer_loss(head, hidden, batch), written_out(head, hidden, batch)
    assert got.dtype == torch.float32 and torch.allclose(got, expected, rtol=tolerance, atol=tolerance)
    for scale in (1.0, 0.3):
        pairs = [torch.autograd.grad(loss * scale, learned, retain_graph=True) for loss in (got, expected)]
        assert all(torch.allclose(one, other, atol=tolerance) for one, other in zip(*pairs, strict=True))


@pytest.mark.parametrize("rows", [1, 5, 17, 1000])
def test_the_loss_and_its_gradients_are_those_of_all_logits_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "CHUNK", rows * VOCABULARY)
    same(*made())


def test_a_frozen_head_passes_gradients_on() -> None:
    head, hidden, batch = made()
    head.requires_grad_(False)
    same(head, hidden, batch)


def test_a_head_learns_on_frozen_states() -> None:
    head, hidden, batch = made()
    answer_loss(head, hidden.detach(), batch).backward()
    expected = torch.autograd.grad(written_out(head, hidden.detach(), batch), head.weight)[0]
    assert head.weight.grad is not None and torch.allclose(head.weight.grad, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["biased", "wrapped"])
def test_a_head_that_is_more_than_a_matrix_is_called(kind: str) -> None:
    """An adapter on the head, for one."""
    head, hidden, batch = made()
    other: torch.nn.Module = torch.nn.Linear(HIDDEN, VOCABULARY)
    if kind == "wrapped":
        other = torch.nn.Sequential(torch.nn.Linear(HIDDEN, HIDDEN), head)
    same(other, hidden, batch)


def test_no_logits_are_kept_and_none_exist_of_unlabelled_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "CHUNK", 4 * VOCABULARY)
    head, hidden, batch = made()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        answer_loss(head, hidden, batch)
    assert kept and max(kept) <= VOCABULARY * HIDDEN


def test_nothing_labelled_is_zero_with_zero_gradients() -> None:
    head, hidden, batch = made(0)
    loss = answer_loss(head, hidden, batch)
    assert loss.item() == 0
    loss.backward()
    assert hidden.grad is not None and not hidden.grad.any()
    assert head.weight.grad is not None and not head.weight.grad.any()


def test_without_gradients_none_are_computed() -> None:
    head, hidden, batch = made()
    with torch.no_grad():
        loss = answer_loss(head, hidden, batch)
    assert not loss.requires_grad and torch.allclose(loss, written_out(head, hidden, batch))


def test_autocast_computes_logits_in_16_bits_and_the_loss_in_32() -> None:
    head, hidden, batch = made()
    with torch.autocast("cpu", torch.bfloat16):
        loss = answer_loss(head, hidden, batch)
    exact = written_out(head, hidden, batch)
    assert loss.dtype == torch.float32 and 0 < abs(float(loss.detach() - exact.detach())) < 0.02 * float(exact.detach())
    loss.backward()
    wanted = torch.autograd.grad(exact, head.weight)[0]
    assert head.weight.grad is not None and head.weight.grad.dtype == torch.float32
    assert torch.allclose(head.weight.grad, wanted, atol=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.skipif(find_spec("liger_kernel") is None, reason="needs liger-kernel")
def test_liger_computes_the_same() -> None:
    head, hidden, batch = made()
    head, hidden = head.cuda(), hidden.detach().cuda().requires_grad_()
    batch = SimpleNamespace(**{name: value.cuda() for name, value in vars(batch).items()})
    pairs = []
    for loss in (answer_loss(head, hidden, batch, "liger"), answer_loss(head, hidden, batch)):
        pairs.append((loss, *torch.autograd.grad(loss, [hidden, head.weight])))
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(*pairs, strict=True))


@pytest.fixture
def learner() -> AnswerLearner:
    return AnswerLearner(*composed("llava"))


def test_a_learner_s_parameters_are_those_of_the_model(learner: AnswerLearner) -> None:
    """By their names in it, behind ``model.``: what a checkpoint of training keeps."""
    expected = [f"model.{name}" for name, _ in learner.model.named_parameters()]
    assert [name for name, _ in learner.named_parameters()] == expected and learner.head_names == ()


@pytest.mark.parametrize("changes", [{"layer_types": ["linear_attention"]}, {"attn_logit_softcapping": 50.0}])
def test_a_language_model_that_attends_otherwise_is_refused(changes: dict[str, Any]) -> None:
    model, family, settings = composed("llava")
    for name, value in changes.items():
        setattr(model.model.language_model.config, name, value)
    with pytest.raises(UserError, match="packed attention knows no"):
        AnswerLearner(model, family, settings)


def test_a_language_model_that_cannot_be_switched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, family, settings = composed("llava")
    kind = type(model.model.language_model)
    monkeypatch.setattr(kind, "_can_set_attn_implementation", classmethod(lambda cls: False))
    with pytest.raises(UserError, match="cannot be replaced"):
        AnswerLearner(model, family, settings)


def test_restoring_leaves_no_trace(learner: AnswerLearner) -> None:
    assert learner.model.model.language_model.config._attn_implementation == attention.NAME
    learner.release()
    assert learner.model.model.language_model.config._attn_implementation == attention.FUSED


def patches(images: int, side: int) -> PatchBatch:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, side, side), generator=random, dtype=torch.uint8)
    return PatchBatch(
        pixels,
        torch.randint(3, (images, 4), generator=random),
        torch.randint(2, (images, 4), generator=random),
    )


def test_patches_give_their_mean_loss_times_their_weight() -> None:
    model, family, settings = composed("internvl")
    torch.manual_seed(0)
    learner = PatchLearner(model, family, settings, 3)
    batch = patches(5, settings.side)
    loss, extras = learner(batch)
    features = family.patch_features(model, objectives.normalised(batch.pixels, settings))
    mean, expected = patch_loss(learner.head, features, batch.classes, batch.marked)
    assert batch.weight == 5 and torch.allclose(loss, 5 * mean) and extras == expected
    assert 0 <= extras["patch_accuracy"] <= 1
    loss.backward()
    named = dict(learner.named_parameters())
    assert learner.head_names and all(named[name].grad is not None for name in learner.head_names)
    assert {name.split(".")[0] for name in named} == {"model", "head"}


def test_background_and_unmarked_patches_count_less() -> None:
    """A head that always says the same: class 1 by 2 nats, marked by 1."""
    head = objectives.PatchHead(4, 2)
    for layer, bias in ((head.classes, [0.0, 2.0]), (head.marked, [0.0, 1.0])):
        torch.nn.init.zeros_(layer.weight)
        layer.bias.data = torch.tensor(bias)
    features = torch.randn(1, 2, 4)
    background, thing = (-torch.tensor([0.0, 2.0]).log_softmax(0)).tolist()
    unmarked, marked = (-torch.tensor([0.0, 1.0]).log_softmax(0)).tolist()
    loss, extras = patch_loss(head, features, torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    expected = (0.2 * background + thing) / 1.2 + 0.5 * (0.3 * unmarked + marked) / 1.3
    assert abs(float(loss.detach()) - expected) <= 1e-5 and extras == {"patch_accuracy": 1.0}
