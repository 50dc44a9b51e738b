"""LLaVA: a vision tower, an MLP over its patches, and a language model that reads them in its sequence.

Class ``LlavaForConditionalGeneration``; recipes of LLaVA-1.5 (Liu et al. 2023, arXiv:2310.03744), of TinyLLaVA (Zhou
et al. 2024, arXiv:2402.14289) and of ViTucano. ``olhar.families._images.squares`` holds how a picture becomes tokens.
"""

from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts, TowerShape
from olhar.families import _model, _parts, _towers
from olhar.families._conversion import Conversion, Source, Spoken
from olhar.families._images import squares
from olhar.families._layouts import flat, llava_next, planning, standard, tinyllava
from olhar.families._layouts.connectors import connector

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration, PreTrainedModel

MODEL_CLASS = "LlavaForConditionalGeneration"
MODEL_TYPE = "llava"
TOWER_CLASS = "SiglipVisionModel"
KINDS = (_towers.CLIP, _towers.SIGLIP)
Settings = squares.Settings
SPECIAL_TOKENS, TOKEN_KEYS, DISK_NAMES = squares.SPECIAL_TOKENS, squares.TOKEN_KEYS, squares.DISK_NAMES
views, spell, pixels, connected = squares.views, squares.spell, squares.pixels, squares.connected
configs, usage, picture_text, video_text = squares.configs, squares.usage, squares.picture_text, squares.video_text


def settings(parts: ModelParts) -> squares.Settings:
    """The layout that the recipe's tower implies; reads only the tower's config file."""
    return squares.settings(parts, KINDS, _towers.SIGLIP)


def compose(parts: ModelParts, settings: squares.Settings, tokenizer: "Tokenizer") -> "LlavaForConditionalGeneration":
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
    return squares.tower_features(model, pixels, int(model.config.vision_feature_select_strategy == "default"))


roles, joined, hidden_states = _model.roles, _model.flattened, _model.hidden_states


def recognises(source: Source) -> bool:
    """transformers' own layout, TinyLLaVA's, or LLaVA's where it is neither ViP-LLaVA's nor LLaVA-OneVision's."""
    if flat.is_flat(source):
        return not flat.is_vip(source) and not llava_next.recognises(source)
    return tinyllava.recognises(source) or standard.recognises(source, MODEL_TYPE, MODEL_CLASS)


def conversion(source: Source) -> Conversion:
    """What becomes of a checkpoint in any of these layouts.

    Raises:
        UserError: something that transformers' class cannot carry, or that is missing.
    """
    if not (flat.is_flat(source) or tinyllava.recognises(source)):
        return standard.conversion(source, _standard_settings(source), Spoken("vicuna", "v1", "en"))
    where = planning.where_of(source)
    original = tinyllava.original(source) if tinyllava.recognises(source) else _llava(source)
    seen = planning.tower(source, original, KINDS)
    if flat.is_flat(source) and seen.config["model_type"] == _towers.SIGLIP:
        what = "this is LLaVA's layout with a SigLIP tower, and programs that write it disagree on what they read of it"
        raise UserError(what, where, "convert it to transformers' layout with the program that trained it")
    settings = planning.settings(original, seen, where)
    projector, activation = connector(original.connector_type, planning.connector_tensors(source, original), where)
    config = {
        "vision_feature_layer": planning.feature_layer(original.layer, seen, where),
        "vision_feature_select_strategy": settings.strategy,
        "projector_hidden_act": activation,
    }
    return planning.planned(source, original, seen, settings, projector, config)


def _llava(source: Source) -> planning.Original:
    flat.refuse(source)
    kind, tower = source.config.get("mm_projector_type", "linear"), source.config["mm_vision_tower"]
    return flat.original(source, "LLaVA-1.5", str(kind), str(tower), Spoken("vicuna", "v1", "en"))


def _standard_settings(source: Source) -> squares.Settings:
    """How a checkpoint in transformers' own layout prepares pictures."""
    from transformers import LlavaConfig

    config: Any = LlavaConfig.from_dict(dict(source.config))
    where = planning.where_of(source)
    vision = _towers.checked(config.vision_config.to_dict(), KINDS, where)
    strategy = config.vision_feature_select_strategy
    return squares.prepared(vision, standard.image_processor(source), strategy, where)
