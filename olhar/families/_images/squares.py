"""One picture, one square: every picture becomes the same number of tokens, one for each patch that the tower gives.

The image layout of LLaVA and ViP-LLaVA. A video is its frames one after the other, each a picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from olhar.core.errors import UserError
from olhar.core.recipe import ModelParts, TowerShape
from olhar.families import _towers
from olhar.families._towers import Fit, Statistics
from olhar.families._views import Budget, Medium

if TYPE_CHECKING:
    import torch

IMAGE_TOKEN = "<image>"
SPECIAL_TOKENS = (IMAGE_TOKEN,)
TOKEN_KEYS = {"image_token_index": IMAGE_TOKEN}
DISK_NAMES = (
    ("lm_head.", "language_model.lm_head."),
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
)
Strategy = Literal["default", "full"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a picture becomes tokens.

    strategy: ``default`` leaves the tower's first feature out, which is CLIP's class token and SigLIP's first patch.
    class_token: whether the tower puts one before its patches.
    mean, std: of pixels in [0, 1].
    """

    side: int
    patch: int
    fit: Fit
    strategy: Strategy
    class_token: bool
    mean: Statistics
    std: Statistics

    @property
    def tokens(self) -> int:
        """Of one picture."""
        return (self.side // self.patch) ** 2 + self.class_token - (self.strategy == "default")


def settings(parts: ModelParts, kinds: Sequence[str], new: str) -> Settings:
    """The layout that a recipe's tower implies: SigLIP squashes and keeps every patch, CLIP pads and drops its class.

    Args:
        kinds: values of ``model_type`` that the family takes.
        new: the kind of a tower to make anew.

    Raises:
        UserError: a tower that does not fit.
    """
    if isinstance(parts.tower, TowerShape):
        shape = parts.tower
        config: Mapping[str, Any] = {"image_size": shape.image_size, "patch_size": shape.patch_size}
        return of_tower({**config, "model_type": new}, "model.tower")
    return of_tower(_towers.tower_config(parts.tower, kinds), parts.tower)


def of_tower(config: Mapping[str, Any], where: str) -> Settings:
    """The settings that are usual for a tower of this configuration."""
    kind = _towers.KINDS[config["model_type"]]
    side, patch = (_towers.square(config, name, where) for name in ("image_size", "patch_size"))
    if side < patch:
        what = f"no patch of {patch} pixels fits into an image of {side}"
        raise UserError(what, where, "choose image_size as a multiple of patch_size")
    fit: Fit = "pad" if kind.class_token else "squash"
    strategy: Strategy = "default" if kind.class_token else "full"
    return Settings(side, patch, fit, strategy, kind.class_token, kind.mean, kind.std)


def prepared(tower: Mapping[str, Any], processor: Mapping[str, Any] | None, strategy: Strategy, where: str) -> Settings:
    """The settings of a published checkpoint.

    Args:
        tower: the vision configuration.
        processor: content of ``preprocessor_config.json``; None: as towers of this kind are published.

    Raises:
        UserError: pictures that are prepared in a way that is not known here, or not for this tower.
    """
    usual = of_tower(tower, where)
    if processor is None:
        return replace(usual, fit="crop" if usual.class_token else "squash", strategy=strategy)
    statistics = {"image_mean": usual.mean, "image_std": usual.std}  # where the file is silent
    side, fit, mean, std = _towers.read_processor({**statistics, **processor}, where)
    if side != usual.side:
        what = f"pictures are prepared for {side} pixels, and the tower is made for {usual.side}"
        raise UserError(what, where, "correct preprocessor_config.json")
    return replace(usual, fit=fit, strategy=strategy, mean=mean, std=std)


@dataclass(frozen=True, slots=True)
class Squares:
    """An image as one square, or every frame of a video as one."""

    budget: Budget


def views(media: Sequence[Medium], settings: Settings) -> list[Squares]:
    counts = [len(medium.sizes) for medium in media]
    return [Squares(Budget(count * settings.tokens, 0, count)) for count in counts]


def spell(view: Squares, settings: Settings) -> str:
    """One token for every feature."""
    return IMAGE_TOKEN * view.budget.tokens


def pixels(pictures: Sequence[Image.Image], view: Squares, settings: Settings) -> np.ndarray:
    """uint8 (pictures, 3, side, side)."""
    return _towers.stacked(
        [_towers.fitted(picture, settings.side, settings.fit, settings.mean) for picture in pictures]
    )


def configs(settings: Settings) -> dict[str, Any]:
    """The image processor, and how many tokens transformers' processor writes for its pictures."""
    processor = {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE_TOKEN,
        "patch_size": settings.patch,
        "vision_feature_select_strategy": settings.strategy,
        "num_additional_image_tokens": int(settings.class_token),
    }
    images = _towers.processor(settings.side, settings.fit, settings.mean, settings.std)
    return {
        "preprocessor_config.json": {"processor_class": "LlavaProcessor", **images},
        "processor_config.json": processor,
    }


def picture_text(settings: Settings) -> str:
    return IMAGE_TOKEN  # transformers' processor repeats it


def video_text(settings: Settings) -> str | None:
    return None


USAGE = """\
text = processor.apply_chat_template(messages, add_generation_prompt=True)
inputs = processor(images=image, text=text, return_tensors="pt")"""


def usage(settings: Settings) -> tuple[str, str]:
    return "AutoProcessor", USAGE


def tower_features(model: Any, pixels: "torch.Tensor", skipped: int) -> "torch.Tensor":
    """(tiles, 3, side, side) normalised -> (tiles, patches, width) of the layer that the configuration names.

    Several layers lie one after the other in the width. ``skipped`` features are left out in front.
    """
    import torch

    layers = model.config.vision_feature_layer
    states = model.model.vision_tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    if isinstance(layers, int):
        return states[layers][:, skipped:]
    return torch.cat([states[layer][:, skipped:] for layer in layers], dim=-1)


def connected(model: Any, features: "torch.Tensor") -> "torch.Tensor":
    """(tiles, patches, width) of the tower -> (tiles, tokens, hidden): one token a patch."""
    return model.model.multi_modal_projector(features)
