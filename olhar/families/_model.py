"""What all families have in common whose class holds a vision tower, a projector and a language model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PREFIXES = {"vision": "model.vision_tower.", "connector": "model.multi_modal_projector."}


def roles(model: "PreTrainedModel") -> dict[str, list[str]]:
    """All parameters, by what they are for; every parameter has exactly one role."""
    parted: dict[str, list[str]] = {"vision": [], "connector": [], "language": []}
    for name, _ in model.named_parameters():
        role = next((role for role, prefix in PREFIXES.items() if name.startswith(prefix)), "language")
        parted[role].append(name)
    return parted


def normalised(pixels: "torch.Tensor", settings: Any) -> "torch.Tensor":
    """uint8 (..., 3, side, side) to normalised float32 of the same shape, on the pixels' device."""
    import torch

    mean = torch.tensor(settings.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(settings.std, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std


def flattened(model: "PreTrainedModel", connected: "torch.Tensor", views: Sequence[Any]) -> "torch.Tensor":
    """(tiles, tokens, hidden) -> (features, hidden): ``joined`` where every token of every tile is in the sequence."""
    return connected.flatten(0, 1)


def hidden_states(
    model: "PreTrainedModel", embeddings: "torch.Tensor", segments: Any, positions: "torch.Tensor"
) -> "torch.Tensor":
    """(1, tokens, hidden) embeddings and (1, tokens) positions of a flat row -> (1, tokens, hidden) last states.

    segments: who sees whom, for the attention that ``olhar.training.model.attention`` puts into the model. The empty
    mask keeps transformers from making a dense one; any other attention fails on it, where it would mix documents up.
    ``use_cache=False``: with a cache transformers ignores restarted positions.
    """
    return model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask=embeddings.new_empty(1, 1, 0, 0),
        position_ids=positions,
        use_cache=False,
        segments=segments,
    ).last_hidden_state


def feature_ids(model: "PreTrainedModel", family: Any) -> list[int]:
    """Ids of the tokens whose places features take."""
    return [getattr(model.config, key) for key in family.TOKEN_KEYS]


def embedded(
    model: "PreTrainedModel", family: Any, ids: "torch.Tensor", features: "torch.Tensor | None"
) -> "torch.Tensor":
    """(rows, tokens) ids -> (rows, tokens, hidden), with (features, hidden) in the feature tokens' places, in order.

    Raises ``RuntimeError`` where there are more or fewer places than features: the two come from the same views,
    so it is a defect.
    """
    import torch

    embeddings = model.get_input_embeddings()(ids)
    if features is None:
        return embeddings
    places = torch.isin(ids, torch.tensor(feature_ids(model, family), device=ids.device))
    where = places.flatten().nonzero().squeeze(1)
    if len(where) != len(features):
        raise RuntimeError(f"{len(where)} feature tokens for {len(features)} features")
    return embeddings.flatten(0, 1).index_copy(0, where, features.to(embeddings.dtype)).view_as(embeddings)
