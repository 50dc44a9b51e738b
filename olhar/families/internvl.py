"""InternVL: a ViT, a pixel shuffle, an MLP, and a language model that reads image tokens in its sequence.

Class ``InternVLForConditionalGeneration``; recipe of InternVL 1.5/2.5 (Chen et al. 2024, arXiv:2404.16821) and of
Vintern-3B (Doan et al. 2024, arXiv:2408.12480). An image becomes 1..max_tiles square tiles, each tile
``(side / patch * downsample)**2`` tokens between ``<img>`` and ``</img>``.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.core.store import read_json, write_json
from olhar.families import Budget

if TYPE_CHECKING:
    import torch
    from transformers import InternVLForConditionalGeneration, InternVLVisionModel, PreTrainedModel

MODEL_CLASS = "InternVLForConditionalGeneration"
TOWER_CLASS = "InternVLVisionModel"
IMAGE_TOKEN = "<IMG_CONTEXT>"
SPECIAL_TOKENS = ("<img>", "</img>", IMAGE_TOKEN)
DOWNSAMPLE = 0.5  # pixel shuffle of every published InternVL: 2 x 2 patches become one token
PROCESSOR = "GotOcr2ImageProcessor"  # transformers' image processor for this layout


@dataclass(frozen=True, slots=True)
class Settings:
    """How an image becomes tiles and tokens. ``mean`` and ``std`` are of pixels in [0, 1]."""

    side: int
    patch: int
    max_tiles: int = 1
    thumbnail: bool = False
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def tokens_per_tile(self) -> int:
        return int((self.side // self.patch) ** 2 * DOWNSAMPLE**2)


def settings(parts: ModelParts) -> Settings:
    """The layout that the recipe's tower implies; reads only the tower's config file."""
    if isinstance(parts.tower, TowerShape):
        return _shuffled(Settings(parts.tower.image_size, parts.tower.patch_size), "model.tower")
    config = _tower_config(Path(parts.tower))
    if config.get("model_type") != "internvl_vision":
        raise UserError(
            f"a tower of type {config.get('model_type')!r} does not fit the family internvl",
            str(parts.tower),
            "give a tower of type 'internvl_vision'",
        )
    side, patch = (_side(config.get(name), name, parts.tower) for name in ("image_size", "patch_size"))
    return _shuffled(Settings(side, patch), parts.tower)


def _tower_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UserError(
            "there is no tower here (no config.json)",
            str(folder),
            "name a folder that holds a vision tower, relative to the recipe, or describe one to make: "
            "tower = { image_size = 64, patch_size = 8 }",
        )
    return read_json(folder / "config.json")


def _side(value: Any, name: str, where: str) -> int:
    """One side of a square, from a number or a pair of equal ones."""
    sides = set(value) if isinstance(value, list) else {value}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int):
        raise UserError(
            f"{name} is {value!r}, which is no square", where, "give a tower with square images and patches"
        )
    return side


def _shuffled(found: Settings, where: str) -> Settings:
    """The settings, if their patches can be shuffled: two by two become one token."""
    grid = found.side // found.patch
    if grid == 0 or grid % 2:
        what = f"{grid} x {grid} patches cannot be joined two by two"
        raise UserError(what, where, "choose image_size as an even multiple of patch_size")
    return found


def tile_grid(width: int, height: int, settings: Settings) -> tuple[int, int]:
    """(columns, rows) of the dynamic tiling: nearest aspect ratio, more tiles for large images (InternVL 1.5, 3.2)."""
    limit = settings.max_tiles
    grids = [(i, j) for i in range(1, limit + 1) for j in range(1, limit + 1) if i * j <= limit]
    best, best_difference = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(width / height - columns / rows)
        roomy = width * height > 0.5 * settings.side**2 * columns * rows
        if difference < best_difference or (difference == best_difference and roomy):
            best, best_difference = (columns, rows), difference
    return best


def budget(width: int, height: int, settings: Settings) -> Budget:
    columns, rows = tile_grid(width, height, settings)
    tiles = columns * rows + (1 if settings.thumbnail and columns * rows > 1 else 0)
    return Budget(tiles * settings.tokens_per_tile + 2, 0, tiles)  # 2: <img> and </img>


def spell(tiles: int, settings: Settings) -> str:
    return f"<img>{IMAGE_TOKEN * (tiles * settings.tokens_per_tile)}</img>"


def pixels(image: Image.Image, settings: Settings) -> np.ndarray:
    """uint8 (tiles, 3, side, side): the tiles row by row, then the thumbnail."""
    side = settings.side
    columns, rows = tile_grid(*image.size, settings)
    whole = image.resize((side * columns, side * rows), Image.Resampling.BICUBIC)
    boxes = [(c * side, r * side, (c + 1) * side, (r + 1) * side) for r in range(rows) for c in range(columns)]
    tiles = [whole.crop(box) for box in boxes] if len(boxes) > 1 else [whole]
    if settings.thumbnail and len(boxes) > 1:
        tiles.append(image.resize((side, side), Image.Resampling.BICUBIC))
    return np.stack([np.asarray(tile, dtype=np.uint8).transpose(2, 0, 1) for tile in tiles])


def compose(
    parts: ModelParts, settings: Settings, vocabulary: int, image_token_id: int
) -> "InternVLForConditionalGeneration":
    """The parts joined in transformers' own class, weights drawn from torch's current seed."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig, LlamaConfig

    if not isinstance(parts.language_model, LanguageModelShape):
        raise UserError(
            "joining a pretrained language model is not possible in this version",
            "model.language_model",
            "describe one to make: language_model = { hidden_size = 128, layers = 3 }",
        )
    shape = parts.language_model
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.max_tokens,
        initializer_range=shape.initial_std,
        tie_word_embeddings=True,
    )
    vision = new_tower_config(parts.tower) if isinstance(parts.tower, TowerShape) else _pretrained(parts.tower)
    config = InternVLConfig(
        vision_config=vision if isinstance(vision, InternVLVisionConfig) else vision.config,
        text_config=text,
        image_token_id=image_token_id,
        image_seq_length=settings.tokens_per_tile,
        downsample_ratio=DOWNSAMPLE,
        tie_word_embeddings=True,
    )
    model = InternVLForConditionalGeneration._from_config(config, attn_implementation="eager")
    _start_connector(model)
    if isinstance(vision, InternVLVisionConfig):
        start_tower(model.model.vision_tower)
    else:
        model.model.vision_tower.load_state_dict(vision.state_dict())
    return model


def _pretrained(folder: str) -> "PreTrainedModel":
    from transformers import InternVLVisionModel

    return InternVLVisionModel.from_pretrained(folder)


def new_tower_config(shape: TowerShape) -> Any:
    """A ViT without final norm, layer scale 1: at this depth the usual 0.1 only slows the start."""
    from transformers import InternVLVisionConfig

    return InternVLVisionConfig(
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
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


def _start_connector(model: "InternVLForConditionalGeneration") -> None:
    """Linear layers start at 1/sqrt(fan-in), so that image tokens are as large as word embeddings."""
    import torch

    projector = model.model.multi_modal_projector
    with torch.no_grad():
        for layer in (projector.linear_1, projector.linear_2):
            layer.weight.normal_(std=layer.in_features**-0.5)


def roles(model: "PreTrainedModel") -> dict[str, list[str]]:
    """All parameters, by what they are for; every parameter has exactly one role."""
    prefixes = {"vision": "model.vision_tower.", "connector": "model.multi_modal_projector."}
    parted: dict[str, list[str]] = {"vision": [], "connector": [], "language": []}
    for name, _ in model.named_parameters():
        role = next((role for role, prefix in prefixes.items() if name.startswith(prefix)), "language")
        parted[role].append(name)
    return parted


def normalised(pixels: "torch.Tensor", settings: Settings) -> "torch.Tensor":
    """uint8 (..., 3, side, side) to normalised float32 of the same shape, on the pixels' device."""
    import torch

    mean = torch.tensor(settings.mean, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(settings.std, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std


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


def image_embeddings(model: "PreTrainedModel", pixels: "torch.Tensor") -> "torch.Tensor":
    """(tiles, 3, side, side) normalised -> (tiles, tokens, hidden) in the language model's width."""
    return connected(model, patch_features(model, pixels))


def hidden_states(
    model: "PreTrainedModel", embeddings: "torch.Tensor", mask: "torch.Tensor", positions: "torch.Tensor"
) -> "torch.Tensor":
    """(rows, tokens, hidden) embeddings and an additive (rows, 1, tokens, tokens) mask -> last hidden states.

    ``use_cache=False`` is needed for isolation: with a cache transformers ignores restarted positions.
    """
    return model.model.language_model(
        inputs_embeds=embeddings, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state


def export(model: "PreTrainedModel", folder: Path, settings: Settings) -> None:
    """Weights, config and image processor, as plain transformers reads them."""
    model.save_pretrained(folder)
    _export_processor(folder, settings)


def export_tower(model: "PreTrainedModel", folder: Path, settings: Settings) -> None:
    """The vision tower alone, for other recipes to start from."""
    model.model.vision_tower.save_pretrained(folder)
    _export_processor(folder, settings)


def _export_processor(folder: Path, settings: Settings) -> None:
    if settings.max_tiles > 1 and not settings.thumbnail:
        raise UserError(
            "transformers always adds a thumbnail to several tiles", "thumbnail = false", "train with thumbnail = true"
        )
    processor = {
        "image_processor_type": PROCESSOR,
        "size": {"height": settings.side, "width": settings.side},
        "crop_to_patches": settings.max_tiles > 1,
        "min_patches": 1,
        "max_patches": settings.max_tiles,
        "image_mean": list(settings.mean),
        "image_std": list(settings.std),
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
    }
    write_json(folder / "preprocessor_config.json", processor)


def settings_to_json(settings: Settings) -> dict[str, Any]:
    return asdict(settings)


def settings_from_json(row: dict[str, Any]) -> Settings:
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Settings(**known)
