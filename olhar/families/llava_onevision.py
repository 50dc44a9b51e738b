"""LLaVA-OneVision: a SigLIP tower, an MLP, and a language model that reads images closely and videos frame by frame.

Class ``LlavaOnevisionForConditionalGeneration``; recipe of Li et al. 2024, arXiv:2408.03326. An image that is alone in
its sample becomes a squashed whole and a grid of tiles, unpadded, a line break after each row of features; images
that share a sample become one padded tile and a line break each; a video's frames are pooled two by two, with one line
break after the last. ``olhar.families._images.anyres`` holds that arithmetic.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts
from olhar.families import _model, _parts, _towers
from olhar.families._conversion import Conversion, Source
from olhar.families._images import squares
from olhar.families._images.anyres import Settings, Tiles, all_canvases, described, pixels, usage, views
from olhar.families._layouts import llava_next, standard

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedModel

__all__ = ["Settings", "pixels", "usage", "views"]

MODEL_CLASS = "LlavaOnevisionForConditionalGeneration"
MODEL_TYPE = "llava_onevision"
TOWER_CLASS = "SiglipVisionModel"
IMAGE_TOKEN, VIDEO_TOKEN = "<image>", "<video>"
SPECIAL_TOKENS = (IMAGE_TOKEN, VIDEO_TOKEN)
TOKEN_KEYS = {"image_token_index": IMAGE_TOKEN, "video_token_index": VIDEO_TOKEN}
PREPROCESSOR = "preprocessor_config.json"
SILENT = {  # what transformers' image processor does where its file says nothing
    "image_mean": _towers.CLIP_MEAN,
    "image_std": _towers.CLIP_STD,
    "size": {"height": 384, "width": 384},
}
DISK_NAMES = (
    ("lm_head.", "language_model.lm_head."),
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("model.image_newline", "image_newline"),
)


def settings(parts: ModelParts) -> Settings:
    """The layout that the recipe's tower implies; reads only the tower's config file."""
    square = squares.settings(parts, llava_next.FITS, _towers.SIGLIP)
    return Settings(square.side, square.patch, all_canvases(square.side), mean=square.mean, std=square.std)


def spell(view: Tiles, settings: Settings) -> str:
    """One token of its kind for every feature."""
    return (VIDEO_TOKEN if view.how == "frames" else IMAGE_TOKEN) * view.budget.tokens


def compose(parts: ModelParts, settings: Settings, tokenizer: "Tokenizer") -> "LlavaOnevisionForConditionalGeneration":
    """The parts joined in transformers' own class, weights drawn from torch's current seed."""
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

    text = _parts.text_config(parts.language_model, tokenizer.get_vocab_size())
    vision = _parts.vision_config(parts.tower, llava_next.FITS, _parts.new_siglip_config)
    pooled = getattr(vision, "vision_use_head", True)  # then its last layer was trained for the pooling head
    ids: dict[str, Any] = _parts.token_ids(tokenizer, TOKEN_KEYS)
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        vision_feature_layer=-2 if pooled else -1,
        tie_word_embeddings=text.tie_word_embeddings,
        **ids,
        **described(settings),
    )
    model = LlavaOnevisionForConditionalGeneration._from_config(config, attn_implementation="eager")
    _parts.start(model, parts)
    return model


def patch_features(model: "PreTrainedModel", pixels: "torch.Tensor") -> "torch.Tensor":
    """(tiles, 3, side, side) normalised -> (tiles, patches, width) of the tower, before its last norm."""
    return squares.tower_features(model, pixels, skipped=0)


def joined(model: "PreTrainedModel", connected: "torch.Tensor", views: Sequence[Tiles]) -> "torch.Tensor":
    """(tiles, patches, hidden) -> (features, hidden), as transformers' class packs images and pools videos."""
    import torch

    parts = connected.split([view.budget.tiles for view in views])
    return torch.cat([_packed(model.model, part, view) for part, view in zip(parts, views, strict=True)])


def _packed(core: Any, tiles: "torch.Tensor", view: Tiles) -> "torch.Tensor":
    """(tiles, patches, hidden) of one image or video -> (features, hidden)."""
    import torch

    if view.how == "frames":
        return torch.cat([core.apply_pooling(tiles).flatten(0, 1), core.image_newline[None].to(tiles)])
    line_break = core.image_newline.to(tiles)
    if view.how != "anyres":
        return torch.cat([tiles[0], line_break[None]])
    rows = _map(tiles[1:], view).permute(1, 2, 0)  # (rows, columns, hidden)
    ended = torch.cat([rows, line_break.expand(len(rows), 1, -1)], dim=1)
    return torch.cat([tiles[0], ended.flatten(0, 1)])


def _map(tiles: "torch.Tensor", view: Tiles) -> "torch.Tensor":
    """(tiles, patches, hidden) of a canvas -> (hidden, rows, columns), unpadded and shrunk as the view says.

    What transformers' ``pack_image_features`` does, but on the view's own canvas: a stage of training may look at
    images on other canvases than the model's configuration will name.
    """
    import torch

    across, down = view.grid
    side = round(tiles.shape[1] ** 0.5)
    whole = tiles.view(down, across, side, side, -1).permute(4, 0, 2, 1, 3).flatten(1, 2).flatten(2, 3)
    columns, rows = view.unpadded
    left, top = (across * side - columns) // 2, (down * side - rows) // 2
    kept = whole[:, top : top + rows, left : left + columns]
    if view.shape == view.unpadded:
        return kept
    size = view.shape[1], view.shape[0]
    return torch.nn.functional.interpolate(kept[None], size, mode="bilinear")[0]


roles, connected, hidden_states = _model.roles, squares.connected, _model.hidden_states


def configs(settings: Settings) -> dict[str, Any]:
    """The processors of images, of videos and of both with text; the class's own statistics would be CLIP's.

    Raises ``UserError`` for a layout without canvases: transformers always cuts an image's tiles.
    """
    if not settings.pinpoints:
        fix = "leave pinpoints out of [model], and write it in the stages of training that do without tiles"
        raise UserError("transformers always cuts an image's tiles, and this layout has none", "pinpoints = []", fix)
    row = _towers.processor(settings.side, "squash", settings.mean, settings.std) | {
        "processor_class": "LlavaOnevisionProcessor"
    }
    layout = described(settings)
    images = {"do_pad": True, "image_grid_pinpoints": layout.pop("image_grid_pinpoints")}
    processor = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": settings.patches**2,
        "image_token": IMAGE_TOKEN,
        "video_token": VIDEO_TOKEN,
        **layout,
    }
    return {
        PREPROCESSOR: row | {"image_processor_type": "LlavaOnevisionImageProcessor", **images},
        "video_preprocessor_config.json": row | {"video_processor_type": "LlavaOnevisionVideoProcessor"},
        "processor_config.json": processor,
    }


def picture_text(settings: Settings) -> str:
    return IMAGE_TOKEN  # how many it stands for depends on the image: the processor repeats it


def video_text(settings: Settings) -> str | None:
    return VIDEO_TOKEN


def recognises(source: Source) -> bool:
    """The published layout of the LLaVA-NeXT repository, or transformers' own."""
    return llava_next.recognises(source) or standard.recognises(source, MODEL_TYPE, MODEL_CLASS)


def conversion(source: Source) -> Conversion:
    if llava_next.recognises(source):
        return llava_next.conversion(source)
    return standard.conversion(source, _settings_of(source), llava_next.SPOKEN)


def _settings_of(source: Source) -> Settings:
    """The layout of a checkpoint in transformers' own layout; raises ``UserError`` for one that is not spelled here."""
    from transformers import LlavaOnevisionConfig

    config: Any = LlavaOnevisionConfig.from_dict(dict(source.config))
    where, tower = str(source.folder / "config.json"), config.vision_config.to_dict()
    _towers.checked(tower, llava_next.FITS, where)
    strategy, layout = config.vision_feature_select_strategy, config.vision_aspect_ratio
    ratio = re.fullmatch(r"anyres_max_(\d+)", layout)
    if strategy != "full" or ratio is None:
        what = f"{strategy!r} features of the layout {layout!r} are not known here"
        raise UserError(what, where, "only 'full' features of 'anyres_max_N' are")
    side, patch = (_towers.square(tower, name, where) for name in ("image_size", "patch_size"))
    pinpoints = tuple((int(high), int(wide)) for high, wide in config.image_grid_pinpoints)
    found = standard.image_processor(source) or configs(Settings(side, patch, pinpoints))[PREPROCESSOR]
    row = {**SILENT, "image_grid_pinpoints": config.image_grid_pinpoints, **found}
    prepared, fit, mean, std = _towers.read_processor(row, where)
    if prepared != side or fit != "squash" or row["image_grid_pinpoints"] != config.image_grid_pinpoints:
        what = "images are prepared for other tiles or canvases than those of the model"
        raise UserError(what, str(source.folder / PREPROCESSOR), "copy the file anew: it belongs to another checkpoint")
    return Settings(side, patch, pinpoints, int(ratio[1]), mean, std)
