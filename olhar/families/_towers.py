"""What is known of vision towers without torch: their configurations, their pixel statistics, how a picture is fitted.

CLIP: Radford et al. 2021, arXiv:2103.00020. SigLIP: Zhai et al. 2023, arXiv:2303.15343.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from olhar.core.errors import UserError
from olhar.families import _known

Statistics = tuple[float, float, float]
CLIP, SIGLIP, INTERNVIT = "clip_vision_model", "siglip_vision_model", "internvl_vision"
CLIP_MEAN: Statistics = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Statistics = (0.26862954, 0.26130258, 0.27577711)
HALF: Statistics = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)
STEPS = ("do_resize", "do_rescale", "do_normalize")  # of transformers' image processors


@dataclass(frozen=True, slots=True)
class Kind:
    """One vision architecture: whether a class token leads its patches, and the statistics of published towers.

    ``defaults`` are transformers' values of what a configuration may leave out.
    """

    class_token: bool
    mean: Statistics
    std: Statistics
    defaults: Mapping[str, Any]


KINDS = {
    CLIP: Kind(True, CLIP_MEAN, CLIP_STD, {"image_size": 224, "patch_size": 32, "num_hidden_layers": 12}),
    SIGLIP: Kind(False, HALF, HALF, {"image_size": 224, "patch_size": 16, "num_hidden_layers": 12}),
    INTERNVIT: Kind(True, IMAGENET_MEAN, IMAGENET_STD, {"image_size": 448, "patch_size": 14, "num_hidden_layers": 24}),
}


KNOWN = {  # by hub name: what checkpoints refer to without repeating it
    name: config for name, config in _known.published_towers().items() if config["model_type"] in (CLIP, SIGLIP)
}


def tower_config(folder: str | Path, fits: Collection[str]) -> dict[str, Any]:
    """The vision configuration in a tower's folder, or in that of a full CLIP or SigLIP; no key is left out.

    Args:
        folder: or the hub name of a tower that is known here or lies in the hub's cache.
        fits: the values of ``model_type`` that the family can take.

    Raises:
        UserError: there is none, or it is of another type.
    """
    found = _known.part_config(str(folder), "tower")
    if found is None:
        raise UserError(
            "there is no tower here (no config.json)",
            str(folder),
            "name a folder that holds a vision tower, relative to the recipe, or describe one to make: "
            "tower = { image_size = 64, patch_size = 8 }",
        )
    return checked(vision_part(found), fits, str(folder))


def vision_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tower's configuration, taken out of that of a full CLIP or SigLIP where it is one."""
    whole = config.get("model_type")
    if "vision_config" in config and whole in ("clip", "siglip"):
        return {"model_type": f"{whole}_vision_model", **config["vision_config"]}
    return dict(config)


def checked(config: Mapping[str, Any], fits: Collection[str], where: str) -> dict[str, Any]:
    """A vision configuration of a type that fits, with the values that it left out; raises ``UserError``."""
    kind = config.get("model_type")
    if kind not in fits:
        raise UserError(
            f"a tower of type {kind!r} does not fit here", where, f"give a tower of type {' or '.join(sorted(fits))}"
        )
    return {**KINDS[str(kind)].defaults, **config}


def square(config: Mapping[str, Any], name: str, where: str) -> int:
    """One side of a square, from a number or a pair of equal ones; raises ``UserError`` for anything else."""
    value = config.get(name)
    sides = set(value) if isinstance(value, list | tuple) else {value}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int):
        what = f"{name} is {value!r}, which is no square"
        raise UserError(what, where, "give a tower with square images and patches")
    return side


Fit = Literal["squash", "pad", "crop"]
"""How a picture becomes a square: both sides resized; laid in the middle of a square of the mean colour; its
shorter side resized and the middle cut out."""


def fitted(image: Image.Image, side: int, fit: Fit, mean: Statistics) -> Image.Image:
    """An RGB picture as a square of ``side`` pixels, bicubic, exactly as transformers' PIL processors do it."""
    if fit == "pad":
        image = padded(image, mean)
    width, height = image.size
    if fit == "crop":
        short = min(width, height)
        width, height = (int(side * extent / short) for extent in (width, height))
        left, top = (width - side) // 2, (height - side) // 2
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + side, top + side))
    return image.resize((side, side), Image.Resampling.BICUBIC)


def padded(image: Image.Image, mean: Statistics) -> Image.Image:
    """The picture in the middle of a square of the mean colour, as LLaVA-1.5 does it."""
    width, height = image.size
    side = max(width, height)
    red, green, blue = (int(value * 255) for value in mean)
    canvas = Image.new("RGB", (side, side), (red, green, blue))
    canvas.paste(image, ((side - width) // 2, (side - height) // 2))
    return canvas


def stacked(images: Sequence[Image.Image]) -> np.ndarray:
    """uint8 (pictures, 3, height, width) of RGB pictures of one size."""
    return np.stack([np.asarray(image, dtype=np.uint8).transpose(2, 0, 1) for image in images])


def processor(side: int, fit: Fit, mean: Statistics, std: Statistics) -> dict[str, Any]:
    """The ``preprocessor_config.json`` with which transformers prepares pictures as ``fitted`` does."""
    row = {
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    whole = {"height": side, "width": side}
    if fit == "squash":
        return {"image_processor_type": "SiglipImageProcessor", **row, "size": whole}
    row |= {"size": {"shortest_edge": side}, "crop_size": whole, "do_center_crop": True}
    if fit == "crop":
        return {"image_processor_type": "CLIPImageProcessor", **row}
    return {"image_processor_type": "LlavaImageProcessor", **row, "do_pad": True}


def read_processor(row: Mapping[str, Any], where: str) -> tuple[int, Fit, Statistics, Statistics]:
    """Side, fit, mean and standard deviation that a ``preprocessor_config.json`` asks for.

    Raises ``UserError`` where ``fitted`` would prepare a picture in any other way.
    """
    size, crop = row.get("size"), row.get("crop_size")
    cropped = bool(row.get("do_center_crop", crop is not None))  # as CLIP's, whose default it is
    if isinstance(size, int) and cropped:  # transformers before 4.25 wrote the shorter side so
        size = {"shortest_edge": size}
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    if not isinstance(size, Mapping) or any(row.get(step) is False for step in STEPS) or not _usual(row):
        raise _other_processor(row, where)
    side = size.get("shortest_edge", size.get("height"))
    whole = {"height": side, "width": side}
    if dict(size) == whole and not cropped:
        fit: Fit = "squash"
    elif dict(size) == {"shortest_edge": side} and cropped and crop == whole:
        fit = "pad" if row.get("do_pad") else "crop"
    else:
        raise _other_processor(row, where)
    mean, std = (tuple(float(value) for value in row[name]) for name in ("image_mean", "image_std"))
    return int(side), fit, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def _usual(row: Mapping[str, Any]) -> bool:
    """Bicubic, and 255 is one."""
    resample, scale = row.get("resample"), row.get("rescale_factor")
    return resample in (None, 3) and (scale is None or abs(scale * 255 - 1) < 1e-6)


def _other_processor(row: Mapping[str, Any], where: str) -> UserError:
    told = {name: row[name] for name in ("size", "crop_size", "resample", "rescale_factor", *STEPS) if name in row}
    what = f"pictures are prepared in a way that is not known here: {told}"
    return UserError(what, where, "only squares that are squashed, or padded or cropped about the middle, are known")
