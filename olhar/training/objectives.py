"""What is learned: the assistant's answers, or what every patch of a picture shows."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional

from olhar.families import embedded, normalised
from olhar.training.batches import HIDDEN, Batch
from olhar.training.patches import PatchBatch


def answer_loss(model: Any, family: ModuleType, settings: Any, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the trained tokens; the language head runs on their predictors only, so logits
    of the whole sequence (tokens x vocabulary) never exist."""
    hidden = packed_hidden_states(model, family, settings, batch)
    predicting = hidden.flatten(0, 1)[batch.predictors]  # (labelled, hidden)
    logits = model.get_output_embeddings()(predicting)
    return functional.cross_entropy(logits.float(), batch.targets)


def packed_hidden_states(model: Any, family: ModuleType, settings: Any, batch: Batch) -> torch.Tensor:
    """(rows, length, hidden) of a packed batch, every question seeing its own images only."""
    features = None if batch.features is None else batch.features.float()
    if batch.pixels is not None:
        features = family.patch_features(model, normalised(batch.pixels, settings))
    images = None if features is None else family.joined(model, family.connected(model, features), batch.views)
    embeddings = embedded(model, family, batch.ids, images)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else embeddings.dtype
    mask = torch.zeros(batch.mask.shape, dtype=dtype).masked_fill_(~batch.mask, HIDDEN)
    return family.hidden_states(model, embeddings, mask, batch.positions)


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
    weights = torch.ones(logits.shape[-1])
    weights[BACKGROUND] = BACKGROUND_WEIGHT
    loss = functional.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight=weights)
    marks = functional.cross_entropy(
        head.marked(normed).flatten(0, 1), marked.flatten(), weight=torch.tensor(MARK_WEIGHTS)
    )
    seen = classes != BACKGROUND
    right = (logits.argmax(-1) == classes)[seen].float().mean()
    return loss + MARK_SHARE * marks, {"patch_accuracy": float(right)}


class AnswerLearner:
    """Trains a model on its assistant's answers."""

    head_names: tuple[str, ...] = ()

    def __init__(self, model: Any, family: ModuleType, settings: Any) -> None:
        self.model, self.family, self.settings = model, family, settings
        self.module = torch.nn.ModuleDict({"model": model})

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Mapping[str, float]]:
        return answer_loss(self.model, self.family, self.settings, batch), {}


class PatchLearner:
    """Trains a model's tower on what its patches show."""

    def __init__(self, model: Any, family: ModuleType, settings: Any, classes: int) -> None:
        self.model, self.family, self.settings = model, family, settings
        self.head = PatchHead(model.config.vision_config.hidden_size, classes)
        self.module = torch.nn.ModuleDict({"model": model, "head": self.head})
        self.head_names = tuple(f"head.{name}" for name, _ in self.head.named_parameters())

    def loss(self, batch: PatchBatch) -> tuple[torch.Tensor, Mapping[str, float]]:
        features = self.family.patch_features(self.model, normalised(batch.pixels, self.settings))
        return patch_loss(self.head, features, batch.classes, batch.marked)
