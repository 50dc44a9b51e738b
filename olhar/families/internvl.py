"""InternVL: a ViT, a pixel shuffle, an MLP, and a language model that reads image tokens in its sequence.

Class ``InternVLForConditionalGeneration``; recipe of InternVL 1.5/2.5 (Chen et al. 2024, arXiv:2404.16821) and of
Vintern-3B (Doan et al. 2024, arXiv:2408.12480). An image becomes 1..max_tiles square tiles, see ``_tiles``.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts, TowerShape
from olhar.core.store import read_json
from olhar.families import _model, _parts, _towers
from olhar.families._conversion import Conversion, Source
from olhar.families._images import tiles
from olhar.families._images.tiles import DOWNSAMPLE, END, IMAGE_TOKEN, START, Settings
from olhar.families._layouts import internvl_chat, standard
from olhar.families._views import Medium

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import InternVLForConditionalGeneration, InternVLVisionModel, PreTrainedModel

MODEL_CLASS = "InternVLForConditionalGeneration"
MODEL_TYPE = "internvl"
TOWER_CLASS = "InternVLVisionModel"
PROCESSOR_CLASS = "InternVLProcessor"  # of transformers; cuts several tiles whatever its image processor says
SPECIAL_TOKENS = (START, END, IMAGE_TOKEN)
TOKEN_KEYS = {"image_token_id": IMAGE_TOKEN}
TOKEN_NAMES = {  # by which transformers' processor asks its tokenizer; a token for videos it must have, we write none
    "start_image_token": START,
    "end_image_token": END,
    "context_image_token": IMAGE_TOKEN,
    "video_token": END,
}
DISK_NAMES = (
    ("lm_head.", "language_model.lm_head."),
    ("model.language_model.", "language_model.model."),
    ("model.", ""),
)


def settings(parts: ModelParts) -> Settings:
    """The layout that the recipe's tower implies; reads only the tower's configuration files."""
    if isinstance(parts.tower, TowerShape):
        return tiles.shuffled(Settings(parts.tower.image_size, parts.tower.patch_size), "model.tower")
    config = _towers.tower_config(parts.tower, (_towers.INTERNVIT,))
    side, patch = (_towers.square(config, name, parts.tower) for name in ("image_size", "patch_size"))
    path = Path(parts.tower) / "preprocessor_config.json"
    row = read_json(path) if path.is_file() else {}
    return tiles.shuffled(tiles.of_processor(side, patch, row, row.get("crop_to_patches", False)), parts.tower)


tile_grid, views, spell, pixels = tiles.tile_grid, tiles.views, tiles.spell, tiles.pixels
usage = tiles.usage


def compose(parts: ModelParts, settings: Settings, tokenizer: "Tokenizer") -> "InternVLForConditionalGeneration":
    """The parts joined in transformers' own class; what is new is drawn from torch's current seed."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    text = _parts.text_config(parts.language_model, tokenizer.get_vocab_size())
    config = InternVLConfig(
        vision_config=_parts.vision_config(parts.tower, (_towers.INTERNVIT,), new_tower_config),
        text_config=text,
        image_token_id=_parts.token_ids(tokenizer, TOKEN_KEYS)["image_token_id"],
        image_seq_length=settings.tokens_per_tile,
        downsample_ratio=DOWNSAMPLE,
        tie_word_embeddings=text.tie_word_embeddings,
    )
    model = InternVLForConditionalGeneration._from_config(config, attn_implementation="eager")
    _parts.start(model, parts, start_tower)
    return model


def new_tower_config(shape: TowerShape) -> Any:
    """A ViT without final norm, layer scale 1: at this depth the usual 0.1 only slows the start."""
    from transformers import InternVLVisionConfig

    return InternVLVisionConfig(
        **_parts.tower_sizes(shape),
        attention_bias=True,
        initializer_range=0.05,  # as small as this tower is, 0.02 costs it hundreds of steps
        layer_scale_init_value=1.0,
        use_mean_pooling=True,
    )


def start_tower(tower: "InternVLVisionModel") -> None:
    """Position embeddings start at zero in the class, which hides where a patch lies; draw them instead."""
    import torch

    with torch.no_grad():
        tower.embeddings.position_embeddings.normal_(std=0.02)
        tower.embeddings.cls_token.normal_(std=0.02)


def patch_features(model: "PreTrainedModel", pixels: "torch.Tensor") -> "torch.Tensor":
    """(tiles, 3, side, side) normalised -> (tiles, patches, width) of the tower, without its CLS token."""
    layer = model.config.vision_feature_layer
    seen = model.model.vision_tower(pixel_values=pixels, output_hidden_states=layer != -1)
    return (seen.last_hidden_state if layer == -1 else seen.hidden_states[layer])[:, 1:]


def connected(model: "PreTrainedModel", features: "torch.Tensor") -> "torch.Tensor":
    """(tiles, patches, width) of the tower -> (tiles, tokens, hidden): pixel shuffle, then the MLP."""
    grid = int(features.shape[1] ** 0.5)
    square = features.unflatten(1, (grid, grid))
    shuffled = model.model.pixel_shuffle(square, scale_factor=model.config.downsample_ratio)
    return model.model.multi_modal_projector(shuffled.flatten(1, 2))


roles, joined, hidden_states = _model.roles, _model.flattened, _model.hidden_states


def configs(settings: Settings) -> dict[str, Any]:
    """The image processor; where it may cut several tiles, also the processor that counts their tokens."""
    files = {"preprocessor_config.json": tiles.processor(settings)}
    if settings.max_tiles > 1:
        files["processor_config.json"] = {
            "processor_class": PROCESSOR_CLASS,
            "image_seq_length": settings.tokens_per_tile,
        }
    return files


def picture_text(settings: Settings) -> str:
    """One tile is spelled out, so that a tokenizer is enough to ask; of several, the processor counts the tokens."""
    if settings.max_tiles > 1:
        return IMAGE_TOKEN
    return spell(views([Medium("image", ((settings.side, settings.side),))], settings)[0], settings)


def video_text(settings: Settings) -> str | None:
    return None


def recognises(source: Source) -> bool:
    """InternVL's own layout, or transformers'."""
    return internvl_chat.recognises(source) or standard.recognises(source, MODEL_TYPE, MODEL_CLASS)


def conversion(source: Source) -> Conversion:
    """What becomes of a checkpoint in one of these layouts; raises ``UserError`` for what the class cannot compute."""
    if internvl_chat.recognises(source):
        return internvl_chat.conversion(source)
    spoken = internvl_chat.spoken("internvl2_5")  # converted folders do not say which template they were trained with
    return standard.conversion(source, _processed(source), spoken)


def _processed(source: Source) -> Settings:
    """How transformers' processors prepare pictures for a checkpoint in its own layout."""
    config, row, where = source.config, standard.image_processor(source), str(source.folder)
    if row is None:
        what = "there is no preprocessor_config.json: nothing says how pictures are prepared"
        raise UserError(what, where, "copy it from where the checkpoint was published")
    if (ratio := config.get("downsample_ratio", DOWNSAMPLE)) != DOWNSAMPLE:
        raise UserError(f"downsample_ratio is {ratio}; only {DOWNSAMPLE} is known", where, "use another checkpoint")
    vision = {**_towers.KINDS[_towers.INTERNVIT].defaults, **(config.get("vision_config") or {})}
    size, patch = row.get("size") or {}, _towers.square(vision, "patch_size", where)
    side = _towers.square({"size": [size.get("height"), size.get("width")]}, "size", where)
    described = source.read_json("processor_config.json") or {}
    several = PROCESSOR_CLASS in (row.get("processor_class"), described.get("processor_class"))
    found = tiles.of_processor(side, patch, row, several or row.get("crop_to_patches", False))
    return tiles.shuffled(tiles.labelled(found), where)
