"""What is learned: the assistant's answers, or what every patch of a picture shows.

A learner is the module that is trained; it is called with a batch and gives the SUM of its weighted losses, so that a
step's mean is the same however the step is cut into batches and shared among processes.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional

from olhar.core.errors import UserError
from olhar.families import Medium, embedded, normalised
from olhar.training.data.batches import Batch
from olhar.training.data.patches import PatchBatch
from olhar.training.model import attention

CHUNK = 2**24  # logits that exist at once: 512 positions of a vocabulary of 32,000


def packed_hidden_states(
    model: Any, family: ModuleType, settings: Any, batch: Batch, other: torch.Tensor | None = None
) -> torch.Tensor:
    """(tokens, hidden) of a packed batch, every question seeing its own images only.

    other: (features, hidden) that take part in the computation and change nothing.
    """
    features = None if batch.features is None else batch.features.float()
    if batch.pixels is not None:
        features = family.patch_features(model, normalised(batch.pixels, settings))
    images = None if features is None else family.joined(model, family.connected(model, features), batch.views)
    embeddings = embedded(model, family, batch.ids[None], images)
    if other is not None:
        embeddings = embeddings + 0 * other.sum().to(embeddings.dtype)
    plan = attention.Plan(batch.segments)
    return family.hidden_states(model, embeddings, plan, batch.positions[None])[0]  # type: ignore[no-any-return]


def answer_loss(head: torch.nn.Module, hidden: torch.Tensor, batch: Batch, kernels: str | None = None) -> torch.Tensor:
    """Sum of weight x cross-entropy over the labelled tokens, float32, attached to the graph even where there are none.

    The language head runs on their predictors only, and logits of all of them never exist at once.
    """
    predicting = hidden.index_select(0, batch.predictors)  # (labelled, hidden)
    if kernels == "liger" and predicting.is_cuda and len(batch.targets):
        return _liger_loss(head, predicting, batch)
    if type(head) is torch.nn.Linear and head.bias is None:
        weight, kind = head.weight, predicting.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            predicting, weight = predicting.to(dtype), weight.to(dtype)
        learns = torch.is_grad_enabled()
        return _HeadLoss.apply(predicting, weight, batch.targets, batch.weights, learns)  # type: ignore[no-any-return]
    losses = functional.cross_entropy(head(predicting).float(), batch.targets, reduction="none")
    return (losses * batch.weights).sum()


class _HeadLoss(torch.autograd.Function):
    """Language head and cross-entropy in one, chunk by chunk, the gradients with the loss: logits are made once, used
    in place and forgotten (the idea of github.com/mgmalek/efficient_cross_entropy and of Liger, arXiv:2410.10989).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, learns: bool
    ) -> torch.Tensor:
        learns_hidden, learns_weight = (learns and needed for needed in ctx.needs_input_grad[:2])
        of_hidden = torch.empty_like(hidden) if learns_hidden else None
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if learns_weight else None
        total = torch.zeros((), device=hidden.device)
        rows = max(1, CHUNK // len(weight))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            states, wanted, scale = hidden[part], targets[part, None], weights[part, None]
            logits = (states @ weight.T).float()  # (chunk, vocabulary)
            most = logits.logsumexp(-1, keepdim=True)
            total += ((most - logits.gather(1, wanted)) * scale).sum()
            if not (learns_hidden or learns_weight):
                continue
            slope = logits.sub_(most).exp_().mul_(scale).scatter_add_(1, wanted, -scale).to(hidden.dtype)
            if of_hidden is not None:
                torch.mm(slope, weight, out=of_hidden[part])
            if of_weight is not None and of_weight.dtype == slope.dtype:
                of_weight.addmm_(slope.T, states)
            elif of_weight is not None:
                of_weight += slope.T @ states
        ctx.save_for_backward(of_hidden, of_weight if of_weight is None else of_weight.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scaled = (None if saved is None else saved * gradients[0].to(saved.dtype) for saved in ctx.saved_tensors)
        return (*scaled, None, None, None)


def _liger_loss(head: Any, predicting: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The same by Liger's Triton kernel."""
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError as error:
        fix = 'pip install "olhar[liger]", or leave kernels out'
        raise UserError("Liger's kernels are not installed", "train.kernels", fix) from error
    losses = LigerFusedLinearCrossEntropyLoss(reduction="none", accum_dtype=torch.float32)(
        head.weight, predicting, batch.targets
    )
    return (losses * batch.weights).sum()  # type: ignore[no-any-return]


BACKGROUND = 0  # class of a patch that shows no object
BACKGROUND_WEIGHT = 0.2  # four fifths of all patches are background
MARK_WEIGHTS = (0.3, 1.0)  # unmarked patches are many
MARK_SHARE = 0.5


class PatchHead(torch.nn.Module):
    """A linear layer thrown away after training: per patch, its class and whether a mark points at it."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.classes = torch.nn.Linear(width, classes)
        self.marked = torch.nn.Linear(width, 2)


def patch_loss(
    head: PatchHead, features: torch.Tensor, classes: torch.Tensor, marked: torch.Tensor
) -> tuple[torch.Tensor, Mapping[str, float]]:
    """Cross-entropy of (images, patches) class maps from (images, patches, width) features, plus that of marks."""
    normed = head.norm(features.float())
    logits = head.classes(normed)
    weights = torch.ones(logits.shape[-1], device=logits.device)
    weights[BACKGROUND] = BACKGROUND_WEIGHT
    loss = functional.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight=weights)
    marks = functional.cross_entropy(
        head.marked(normed).flatten(0, 1), marked.flatten(), weight=torch.tensor(MARK_WEIGHTS, device=logits.device)
    )
    seen = classes != BACKGROUND
    right = (logits.argmax(-1) == classes)[seen].float().mean()
    return loss + MARK_SHARE * marks, {"patch_accuracy": float(right)}


class AnswerLearner(torch.nn.Module):
    """Trains a model on its assistant's answers.

    Args:
        always_look: a batch without pictures runs tower and connector too, on a black one, and adds 0 times what they
            give: where processes share the work, all must do the same.
        cached: pictures come as features of the frozen tower, so that it is not run for a black one either.
        kernels: ``liger``: its kernel for the loss, on a GPU.

    Raises:
        UserError: a language model whose attention cannot be computed packed.
    """

    head_names: tuple[str, ...] = ()

    def __init__(
        self,
        model: Any,
        family: ModuleType,
        settings: Any,
        always_look: bool = False,
        cached: bool = False,
        kernels: str | None = None,
    ) -> None:
        super().__init__()
        self.model, self.family, self.settings = model, family, settings
        self.always_look, self.cached, self.kernels = always_look, cached, kernels
        attention.install(model)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, Mapping[str, float]]:
        """The sum of weight x loss over the labelled tokens of a batch (``batch.weight`` is the sum of weights)."""
        unseen = batch.pixels is None and batch.features is None
        other = self._looked(batch.ids.device) if self.always_look and unseen else None
        hidden = packed_hidden_states(self.model, self.family, self.settings, batch, other)
        return answer_loss(self.model.get_output_embeddings(), hidden, batch, self.kernels), {}

    def _looked(self, device: torch.device) -> torch.Tensor:
        """(features, hidden) of a black picture."""
        side, patch = self.settings.side, self.settings.patch
        views = self.family.views([Medium("image", ((side, side),))], self.settings)
        tiles = views[0].budget.tiles
        if self.cached:
            layers = getattr(self.model.config, "vision_feature_layer", -1)
            width = self.model.config.vision_config.hidden_size * (1 if isinstance(layers, int) else len(layers))
            features = torch.zeros(tiles, (side // patch) ** 2, width, device=device)
        else:
            black = torch.zeros(tiles, 3, side, side, dtype=torch.uint8, device=device)
            features = self.family.patch_features(self.model, normalised(black, self.settings))
        return self.family.joined(self.model, self.family.connected(self.model, features), views)  # type: ignore[no-any-return]

    def release(self) -> None:
        """The model as transformers loads it: no trace of packing."""
        attention.restore(self.model)


class PatchLearner(torch.nn.Module):
    """Trains a model's tower on what its patches show."""

    def __init__(self, model: Any, family: ModuleType, settings: Any, classes: int) -> None:
        super().__init__()
        self.model, self.family, self.settings = model, family, settings
        self.head = PatchHead(model.config.vision_config.hidden_size, classes)
        attention.look_fused(model)
        self.head_names = tuple(f"head.{name}" for name, _ in self.head.named_parameters())

    def forward(self, batch: PatchBatch) -> tuple[torch.Tensor, Mapping[str, float]]:
        """The mean loss times ``batch.weight``, and how many patches of objects are told right."""
        features = self.family.patch_features(self.model, normalised(batch.pixels, self.settings))
        loss, extras = patch_loss(self.head, features, batch.classes, batch.marked)
        return loss * batch.weight, extras
