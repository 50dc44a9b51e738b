"""The published layout of LLaVA-OneVision, as the LLaVA-NeXT repository writes it (model type ``llava_qwen``).

One flat configuration: a Qwen2 model's, with ``mm_`` keys for what sees. The tower's weights lack the tower's last
layer and pooling head, which are never run, and its number of attention heads stands nowhere beside them. A file of
the connector alone, from alignment, lies over its base language model and takes the tower from the tower's own folder.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.families import _towers
from olhar.families._conversion import Conversion, Made, Source, Spoken, renamed
from olhar.families._images.anyres import Pair, Settings, all_canvases, described
from olhar.families._layouts import flat

if TYPE_CHECKING:
    import torch

FITS = (_towers.SIGLIP,)
SPOKEN = Spoken("chatml", "qwen", "en")
QWEN = ("llava_qwen", "LlavaQwenForCausalLM")  # model_type (edited in released files), architectures
TOWER = "model.vision_tower.vision_tower.vision_model."
NEWLINE = "model.image_newline"
HEAD = "lm_head.weight"
EMBEDDINGS = "model.language_model.embed_tokens.weight"
RULES = (
    (TOWER, "model.vision_tower."),
    ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
    ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
    (NEWLINE, NEWLINE),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
    ("lm_head.", "lm_head."),
)
CONNECTOR = (  # key, the only value that transformers' class can carry, what no value means, why no other
    ("mm_projector_type", "mlp2x_gelu", "linear", "its projector is two layers with a GELU between"),
    ("mm_resampler_type", None, None, "it has no resampler"),
    ("mm_use_im_start_end", False, False, "it puts nothing around an image"),
)
LAYOUT = (
    ("mm_patch_merge_type", "spatial_unpad", "flat", "it cuts an image's padding off and ends its rows with a newline"),
    ("mm_newline_position", "one_token", "one_token", "it ends a whole video, and no frame or row, with one newline"),
    ("mm_spatial_pool_mode", "bilinear", "bilinear", "it pools the frames of a video bilinearly"),
)


def recognises(source: Source) -> bool:
    """Told from LLaVA's layout, which has the same keys, by its line breaks or its language model, and its SigLIP."""
    config = source.config
    if not flat.is_flat(source):
        return False
    spatial = str(config.get("mm_patch_merge_type")).startswith("spatial") or NEWLINE in source.tensors
    return (spatial or _is_qwen(config)) and _sees_by_siglip(source)


def _is_qwen(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") == QWEN[0] or QWEN[1] in (config.get("architectures") or ())


def _sees_by_siglip(source: Source) -> bool:
    """Whether the tower in the weights is a SigLIP; where there is none, the one that the configuration names."""
    if _holds_tower(source):
        return f"{TOWER}embeddings.class_embedding" not in source.tensors
    found = source.tower.config if source.tower else _towers.KNOWN.get(source.config["mm_vision_tower"], {})
    return found.get("model_type") == _towers.SIGLIP


def _holds_tower(source: Source) -> bool:
    return any(name.startswith(TOWER) for name in source.tensors)


def conversion(source: Source) -> Conversion:
    """What becomes of it in ``LlavaOnevisionForConditionalGeneration``.

    Raises:
        UserError: a setting that the class cannot carry, a tower whose numbers are not known, or an unknown tensor.
    """
    whole = NEWLINE in source.tensors or _holds_tower(source)
    _check(source, CONNECTOR + LAYOUT if whole else CONNECTOR)
    tower, unread = _tower_tensors(source)
    vision = _vision_config(source, tower)
    settings, notes = _layout(source, vision, whole)
    text, tied = flat.text_config(source), _tied(source)
    if text.pop("rope_scaling", None):
        notes += ("rope_scaling is left out: the published class never applies it",)
    others = {name: made for name, made in source.tensors.items() if not name.startswith(TOWER)}
    tensors, left_out = renamed(others | tower, RULES, unread)
    if not whole:
        tensors[NEWLINE] = _new_newline(tensors[EMBEDDINGS])
        notes += ("image_newline is drawn anew: a file of the connector alone does not hold it",)
    config = {
        "vision_config": vision,
        "text_config": text | {"tie_word_embeddings": tied},
        "vision_feature_layer": -1,
        "tie_word_embeddings": tied,
        **described(settings),
    }
    layout = "LLaVA-OneVision, as published" if whole else "connector of LLaVA-OneVision, as published"
    return Conversion(layout, config, settings, tensors, SPOKEN, left_out, notes)


def _where(source: Source) -> str:
    return str(source.folder / "config.json")


def _check(source: Source, wanted: tuple[tuple[str, Any, Any, str], ...]) -> None:
    if not _is_qwen(source.config):
        what = f"the language model of {source.config.get('model_type')!r} is not known here"
        raise UserError(what, _where(source), f"convert checkpoints whose architecture is {QWEN[1]}")
    for key, value, absent, reason in wanted:
        found = source.config.get(key)
        found = absent if found is None else found
        if found != value:
            what = f"{key} is {found!r}, which transformers' class cannot carry: {reason}"
            raise UserError(what, _where(source), f"use a checkpoint that was trained with {value!r}")


def _tied(source: Source) -> bool:
    """Whether the output layer is the input embeddings; raises ``UserError`` where it is neither that nor there."""
    tied = bool(source.config.get("tie_word_embeddings", False))
    if not tied and HEAD not in source.tensors:
        raise UserError(
            f"there is no {HEAD}, and the configuration does not say that it is the input embeddings",
            _where(source),
            "if the base language model ties its embeddings, set tie_word_embeddings to true there",
        )
    return tied


def _tower_tensors(source: Source) -> tuple[dict[str, Made], dict[str, str]]:
    """The tower's tensors by their published names, and the prefixes of those that are never run."""
    own = {name: made for name, made in source.tensors.items() if name.startswith(TOWER)}
    unread = {f"{TOWER}head.": "the pooling head is never run"}
    if own:
        return own, unread
    if source.tower is None or not source.tower.tensors:
        what = f"the weights hold no vision tower, and those of {source.config['mm_vision_tower']!r} are not here"
        raise UserError(what, str(source.folder), "give its folder: --tower PATH")
    found = {TOWER + name.removeprefix("vision_model."): made for name, made in source.tower.tensors.items()}
    last = f"{TOWER}encoder.layers.{_layers(found) - 1}."
    return found, unread | {last: "the tower's last layer is never run"}


def _layers(tower: Mapping[str, Made]) -> int:
    """How many layers the names count."""
    numbers = (re.match(rf"{re.escape(TOWER)}encoder\.layers\.(\d+)\.", name) for name in tower)
    return 1 + max((int(number[1]) for number in numbers if number), default=-1)


def _vision_config(source: Source, tower: Mapping[str, Made]) -> dict[str, Any]:
    """The tower's configuration: what its weights show of it, and the rest as its own repository says.

    Raises ``UserError`` where nothing says how many heads it has, or the two disagree.
    """
    said, where = _said_of_tower(source)
    layers = _layers(tower)
    try:
        width, _, _, patch = tower[f"{TOWER}embeddings.patch_embedding.weight"].shape
        places, _ = tower[f"{TOWER}embeddings.position_embedding.weight"].shape
        wide, _ = tower[f"{TOWER}encoder.layers.0.mlp.fc1.weight"].shape
    except KeyError as error:
        raise UserError(f"the vision tower lacks {error}", str(source.folder), "check that it is whole") from error
    side = _towers.square(said, "image_size", where)
    seen = {"hidden_size": width, "intermediate_size": wide, "patch_size": patch}
    differing = [f"{key} {said[key]}" for key, value in seen.items() if said.get(key, value) != value]
    if differing or (side // patch) ** 2 != places:
        what = f"the tower is said to have {', '.join(differing) or f'images of {side} pixels'}, but its weights do not"
        raise UserError(what, where, "name the tower that the checkpoint was trained with: --tower PATH")
    kept: dict[str, Any] = {
        key: said[key] for key in ("hidden_act", "layer_norm_eps", "attention_dropout") if key in said
    }
    return {
        "model_type": _towers.SIGLIP,
        "image_size": side,
        "num_channels": 3,
        "num_attention_heads": said["num_attention_heads"],
        "num_hidden_layers": layers if _holds_tower(source) else layers - 1,
        "vision_use_head": False,
        **seen,
        **kept,
    }


def _said_of_tower(source: Source) -> tuple[dict[str, Any], str]:
    """The tower's configuration as its own repository publishes it, and where that stands."""
    name = source.config["mm_vision_tower"]
    beside = source.read_json("vision_tower_config.json")
    if source.tower is not None:
        where = str(source.tower.folder)
        said = _towers.checked(source.tower.config, FITS, where)
    elif beside is not None:
        where = str(source.folder / "vision_tower_config.json")
        said = _towers.checked(beside, FITS, where)
    elif name in _towers.KNOWN:
        said, where = _towers.checked(_towers.KNOWN[name], FITS, name), f"the tower {name}"
    else:
        raise UserError(
            f"the number of attention heads of the tower {name!r} is not known",
            _where(source),
            "give the tower's folder: --tower PATH; its config.json says it",
        )
    return {"num_attention_heads": 12, **said}, where  # 12: transformers' SigLIP where its file says nothing


def _layout(source: Source, vision: Mapping[str, Any], whole: bool) -> tuple[Settings, tuple[str, ...]]:
    """How images become tokens; of a connector alone, as the recipe's later stages do it."""
    side, patch = vision["image_size"], vision["patch_size"]
    ratio = source.config.get("image_aspect_ratio")
    most = re.fullmatch(r"anyres_max_(\d+)", str(ratio))
    if not whole and most is None:
        note = "a connector alone says nothing of the image layout: anyres_max_9 with canvases up to 6x6 tiles is taken"
        return Settings(side, patch, all_canvases(side)), (note,)
    canvases = _canvases(source, side)
    if most is not None:
        return Settings(side, patch, canvases, int(most[1])), ()
    if ratio != "anyres":
        what = f"image_aspect_ratio is {ratio!r}, and transformers' class always tiles an image that is alone"
        raise UserError(what, _where(source), "use a checkpoint that was trained with 'anyres' or 'anyres_max_N'")
    return Settings(side, patch, canvases, max(high * wide for high, wide in canvases) // side**2), ()


def _canvases(source: Source, side: int) -> tuple[Pair, ...]:
    """The published pairs are (width, height), transformers' (height, width); a text gives the first and last pair."""
    pairs = source.config.get("image_grid_pinpoints")
    if isinstance(pairs, str) and (found := re.findall(r"\((\d+)x(\d+)\)", pairs)):
        (left, top), (right, bottom) = (tuple(map(int, found[end])) for end in (0, -1))
        pairs = [(i * side, j * side) for i in range(left, right + 1) for j in range(top, bottom + 1)]
    if not isinstance(pairs, list) or not pairs or any(value % side for pair in pairs for value in pair):
        what = f"image_grid_pinpoints is {str(pairs)[:60]!r}, which are no canvases of whole tiles"
        raise UserError(what, _where(source), f"give pairs of multiples of {side}")
    return tuple((high, wide) for wide, high in pairs)


def _new_newline(embeddings: Made) -> Made:
    """A vector as large as word embeddings, as the published code draws it; the same one every time."""

    def draw() -> "torch.Tensor":
        import torch

        drawn = torch.randn(hidden, generator=torch.Generator().manual_seed(0)) / hidden**0.5
        return drawn.to(getattr(torch, embeddings.dtype))

    hidden = embeddings.shape[1]
    return Made((hidden,), embeddings.dtype, draw, "drawn anew")
