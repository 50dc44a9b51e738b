"""ViP-LLaVA: LLaVA with the states of five tower layers side by side, for the fine lines of visual prompts.

Class ``VipLlavaForConditionalGeneration``; recipe of Cai et al. 2024, arXiv:2312.00784. The prompts are drawn on the
picture (``olhar.core.marks``), so nothing else differs. How a picture becomes tokens: ``_images.squares``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts, TowerShape
from olhar.families import _model, _parts, _towers
from olhar.families._conversion import Conversion, Source, Spoken, renamed
from olhar.families._images import squares
from olhar.families._layouts import flat, planning, standard

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, VipLlavaForConditionalGeneration

MODEL_CLASS = "VipLlavaForConditionalGeneration"
MODEL_TYPE = "vipllava"
TOWER_CLASS = "CLIPVisionModel"
KINDS = (_towers.CLIP,)
LAYERS = (-2, -5, -8, -11, 6)  # of the tower, in the order in which their states lie in the width
LEAST_LAYERS = 10  # the states are one more, and -11 counts from their end
NORM_EPSILON = 1e-5
PUBLISHED_TOWER = "openai/clip-vit-large-patch14-336"  # written into the original's code, whatever a checkpoint says
CONNECTOR_RULES = tuple(
    (old, f"model.multi_modal_projector.{new}")
    for old, new in (
        ("clip_layernorm.", "projector_layernorm."),
        ("final_linear.0.", "linear_1."),
        ("final_linear.2.", "linear_2."),
    )
)
Settings = squares.Settings
SPECIAL_TOKENS, TOKEN_KEYS, DISK_NAMES = squares.SPECIAL_TOKENS, squares.TOKEN_KEYS, squares.DISK_NAMES
views, spell, pixels, connected = squares.views, squares.spell, squares.pixels, squares.connected
configs, usage, picture_text, video_text = squares.configs, squares.usage, squares.picture_text, squares.video_text


def settings(parts: ModelParts) -> squares.Settings:
    """The layout that the recipe's tower implies; reads only the tower's config file."""
    if isinstance(parts.tower, TowerShape):
        _check_layers(parts.tower.layers, "model.tower")
    else:
        _check_tower(_towers.tower_config(parts.tower, KINDS), parts.tower)
    return squares.settings(parts, KINDS, _towers.CLIP)


def _check_tower(config: Mapping[str, Any], where: str) -> None:
    _check_layers(config["num_hidden_layers"], where)


def _check_layers(layers: int, where: str) -> None:
    if layers < LEAST_LAYERS:
        what = f"the tower has {layers} layers, and ViP-LLaVA reads its {-min(LAYERS)}th state from the end"
        raise UserError(what, where, f"give a tower with at least {LEAST_LAYERS} layers")


def compose(
    parts: ModelParts, settings: squares.Settings, tokenizer: "Tokenizer"
) -> "VipLlavaForConditionalGeneration":
    """The parts joined in transformers' own class, weights drawn from torch's current seed."""
    from transformers import VipLlavaConfig, VipLlavaForConditionalGeneration

    ids: dict[str, Any] = _parts.token_ids(tokenizer, TOKEN_KEYS)
    text = _parts.text_config(parts.language_model, tokenizer.get_vocab_size())
    config = VipLlavaConfig(
        vision_config=_parts.vision_config(parts.tower, KINDS, _parts.new_clip_config),
        text_config=text,
        tie_word_embeddings=text.tie_word_embeddings,
        **_described(settings),
        **ids,
    )
    model = VipLlavaForConditionalGeneration._from_config(config, attn_implementation="eager")
    _parts.start(model, parts)
    return model


def _described(settings: Settings) -> dict[str, Any]:
    """What transformers' configuration says of the layout."""
    return {
        "vision_feature_layer": list(LAYERS),
        "projector_layernorm_eps": NORM_EPSILON,
        "image_seq_length": settings.tokens,
    }


def patch_features(model: "PreTrainedModel", pixels: "torch.Tensor") -> "torch.Tensor":
    """(tiles, 3, side, side) normalised -> (tiles, patches, 5 x width) of five layers, without the class token."""
    return squares.tower_features(model, pixels, 1)


roles, joined, hidden_states = _model.roles, _model.flattened, _model.hidden_states


def recognises(source: Source) -> bool:
    """transformers' own layout, or the published one, told by its tower's name or its norm before the projector."""
    return flat.is_vip(source) or standard.recognises(source, MODEL_TYPE, MODEL_CLASS)


def conversion(source: Source) -> Conversion:
    """What becomes of a checkpoint in either layout.

    Raises:
        UserError: something that transformers' class cannot carry, or that is missing.
    """
    if not flat.is_flat(source):
        return standard.conversion(source, _standard_settings(source), Spoken("vicuna", "v0", "en"))
    flat.refuse(source)
    where, kind = planning.where_of(source), source.config.get("mm_projector_type")
    if kind != "mlp2x_gelu":
        what = f"the connector {kind!r} cannot be carried over: transformers' class has a norm and two layers"
        raise UserError(what, where, "use a checkpoint whose connector is mlp2x_gelu")
    original = flat.original(source, "ViP-LLaVA", kind, PUBLISHED_TOWER, Spoken("vicuna", "human", "en"))
    seen = planning.tower(source, original, KINDS)
    _check_tower(seen.config, where)
    settings = planning.settings(original, seen, where)
    projector, _ = renamed(planning.connector_tensors(source, original), CONNECTOR_RULES)
    return planning.planned(source, original, seen, settings, projector, _described(settings))


def _standard_settings(source: Source) -> squares.Settings:
    """How a checkpoint in transformers' own layout prepares pictures."""
    from transformers import VipLlavaConfig

    config: Any = VipLlavaConfig.from_dict(dict(source.config))
    where = planning.where_of(source)
    vision = _towers.checked(config.vision_config.to_dict(), KINDS, where)
    return squares.prepared(vision, standard.image_processor(source), "default", where)
