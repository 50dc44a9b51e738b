"""LLaVA: a vision tower, an MLP over its patches, and a language model that reads them in its sequence.

Class ``LlavaForConditionalGeneration``; recipes of LLaVA-1.5 (Liu et al. 2023, arXiv:2310.03744), of TinyLLaVA (Zhou
et al. 2024, arXiv:2402.14289) and of ViTucano. ``olhar.families._squares`` holds how a picture becomes tokens.
"""

from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts, TowerShape
from olhar.families import _flat, _llava_next, _model, _original, _parts, _squares, _standard, _tinyllava, _towers
from olhar.families._connectors import connector
from olhar.families._conversion import Conversion, Source, Spoken
from olhar.families._squares import (
    DISK_NAMES,
    SPECIAL_TOKENS,
    TOKEN_KEYS,
    Settings,
    configs,
    connected,
    picture_text,
    pixels,
    spell,
    usage,
    video_text,
    views,
)

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration, PreTrainedModel

__all__ = [
    "DISK_NAMES",
    "SPECIAL_TOKENS",
    "TOKEN_KEYS",
    "Settings",
    "configs",
    "connected",
    "picture_text",
    "pixels",
    "spell",
    "usage",
    "video_text",
    "views",
]

MODEL_CLASS = "LlavaForConditionalGeneration"
MODEL_TYPE = "llava"
TOWER_CLASS = "SiglipVisionModel"
KINDS = (_towers.CLIP, _towers.SIGLIP)


def settings(parts: ModelParts) -> Settings:
    """The layout that the recipe's tower implies; reads only the tower's config file."""
    return _squares.settings(parts, KINDS, _towers.SIGLIP)


def compose(parts: ModelParts, settings: Settings, tokenizer: "Tokenizer") -> "LlavaForConditionalGeneration":
    """The parts joined in transformers' own class, weights drawn from torch's current seed."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    ids: dict[str, Any] = _parts.token_ids(tokenizer, TOKEN_KEYS)
    text = _parts.text_config(parts.language_model, tokenizer.get_vocab_size())
    config = LlavaConfig(
        vision_config=_parts.vision_config(parts.tower, KINDS, _parts.new_siglip_config),
        text_config=text,
        # a published tower's last layer was trained for its pooling head; of a new one nothing is wasted
        vision_feature_layer=-1 if isinstance(parts.tower, TowerShape) else -2,
        vision_feature_select_strategy=settings.strategy,
        image_seq_length=settings.tokens,
        tie_word_embeddings=text.tie_word_embeddings,
        **ids,
    )
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager")
    _parts.start(model, parts)
    return model


def patch_features(model: "PreTrainedModel", pixels: "torch.Tensor") -> "torch.Tensor":
    """(tiles, 3, side, side) normalised -> (tiles, patches, width) of the layer that the configuration names."""
    return _squares.tower_features(model, pixels, int(model.config.vision_feature_select_strategy == "default"))


roles, joined, hidden_states = _model.roles, _model.flattened, _model.hidden_states


def recognises(source: Source) -> bool:
    """transformers' own layout, TinyLLaVA's, or LLaVA's where it is neither ViP-LLaVA's nor LLaVA-OneVision's."""
    if _flat.is_flat(source):
        return not _flat.is_vip(source) and not _llava_next.recognises(source)
    return _tinyllava.recognises(source) or _standard.recognises(source, MODEL_TYPE, MODEL_CLASS)


def conversion(source: Source) -> Conversion:
    """What becomes of a checkpoint in any of these layouts.

    Raises:
        UserError: something that transformers' class cannot carry, or that is missing.
    """
    if not (_flat.is_flat(source) or _tinyllava.recognises(source)):
        return _standard.conversion(source, _standard_settings(source), Spoken("vicuna", "v1", "en"))
    where = _original.where_of(source)
    original = _tinyllava.original(source) if _tinyllava.recognises(source) else _llava(source)
    seen = _original.tower(source, original, KINDS)
    if _flat.is_flat(source) and seen.config["model_type"] == _towers.SIGLIP:
        what = "this is LLaVA's layout with a SigLIP tower, and programs that write it disagree on what they read of it"
        raise UserError(what, where, "convert it to transformers' layout with the program that trained it")
    settings = _original.settings(original, seen, where)
    projector, activation = connector(original.connector_type, _original.connector_tensors(source, original), where)
    config = {
        "vision_feature_layer": _original.feature_layer(original.layer, seen, where),
        "vision_feature_select_strategy": settings.strategy,
        "projector_hidden_act": activation,
    }
    return _original.planned(source, original, seen, settings, projector, config)


def _llava(source: Source) -> _original.Original:
    _flat.refuse(source)
    kind, tower = source.config.get("mm_projector_type", "linear"), source.config["mm_vision_tower"]
    return _flat.original(source, "LLaVA-1.5", str(kind), str(tower), Spoken("vicuna", "v1", "en"))


def _standard_settings(source: Source) -> Settings:
    """How a checkpoint in transformers' own layout prepares pictures."""
    from transformers import LlavaConfig

    config: Any = LlavaConfig.from_dict(dict(source.config))
    where = _original.where_of(source)
    vision = _towers.checked(config.vision_config.to_dict(), KINDS, where)
    strategy = config.vision_feature_select_strategy
    return _squares.prepared(vision, _standard.image_processor(source), strategy, where)
