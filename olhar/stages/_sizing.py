"""What a recipe's model comes to before any of it is loaded: its parts' configurations, its counts, its tokenizer."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, Recipe, StartingPoint, TokenizerShape, TowerShape
from olhar.core.store import read_json, write_json
from olhar.families import _counting, _known, _towers, part_config, read_tokenizer
from olhar.families._checkpoint import read_sidecar
from olhar.families._parts import tower_sizes
from olhar.families._settings import changed, of_stage, settings_of

FLAT = ("llava", "llava_llama", "llava_qwen", "llava_mistral")  # layouts that mix the language model's keys with others
TOWER_KINDS = {  # of a tower to make anew, by the class that a family composes
    "SiglipVisionModel": _towers.SIGLIP,
    "CLIPVisionModel": _towers.CLIP,
    "InternVLVisionModel": _towers.INTERNVIT,
}
PREPARED = "preprocessor_config.json"
STRATEGIES = {"patch": "default", "cls_patch": "full", "default": "default", "full": "full"}
SQUARE = (*FLAT[:2], "vipllava", "tinyllava")  # layouts of one square a picture


@dataclass(frozen=True, slots=True)
class Sized:
    """A recipe's model in numbers.

    settings: how it looks at pictures. tokenizer: the real one, None where it is not on this disk or still to be
    learned. added: vocabulary rows that are new to a pretrained language model. to_fetch: names of parts that are
    known here and not on this disk.
    """

    family: ModuleType
    settings: Any
    counts: _counting.Counts
    tokenizer: Tokenizer | None
    added: int
    to_fetch: tuple[str, ...]

    def of_stage(self, image: Mapping[str, Any]) -> Any:
        """The settings as a stage of training changes them."""
        return of_stage(self.settings, image, "train.stages: image")


@dataclass(frozen=True, slots=True)
class _Known:
    """Configurations of a whole model's parts, and what it is spoken to with."""

    settings: Any
    tower: Mapping[str, Any]
    language: Mapping[str, Any]
    layer: int
    tokenizer: str | TokenizerShape | None
    pretrained: bool


def sized(recipe: Recipe) -> Sized:
    """The recipe's model; only configurations are read.

    Raises:
        UserError: a part of which nothing is known here, or that is not counted or does not fit.
    """
    model = recipe.model
    assert model is not None
    family = choose("families", model.family)
    parts = as_parts(model)
    known = _of_parts(family, parts) if parts else _of_folder(family, model)
    tokenizer, tokens, added = _tokenizer(family, known)
    counts = _counting.counts(family, known.tower, known.language, tokens, known.layer)
    return Sized(family, known.settings, counts, tokenizer, added, tuple(name for _, name in absent(model)))


def as_parts(model: ModelParts | StartingPoint) -> ModelParts | None:
    """The parts of a recipe's model: its own, or those of a public checkpoint that is written here."""
    if isinstance(model, ModelParts):
        return model
    row = None if _known.local_folder(model.checkpoint, "checkpoint") else part_config(model.checkpoint, "checkpoint")
    return ModelParts(**row, image=model.image) if row else None


def absent(model: ModelParts | StartingPoint) -> Iterator[tuple[str, str]]:
    """(field of the recipe, hub name or path) of every part that is not on this disk."""
    fields: dict[str, _known.PartKind]
    if isinstance(model, ModelParts):
        fields = {"tower": "tower", "language_model": "language_model", "tokenizer": "tokenizer"}
    else:
        fields = {"checkpoint": "checkpoint", "base": "checkpoint"}
    for field, kind in fields.items():
        name = getattr(model, field)
        if isinstance(name, str) and _known.local_folder(name, kind) is None and not Path(name).is_file():
            yield field, name


def _of_parts(family: ModuleType, parts: ModelParts) -> _Known:
    settings = settings_of(family, parts)
    anew = isinstance(parts.tower, TowerShape)
    tower = _tower(family, parts.tower)
    if isinstance(parts.language_model, LanguageModelShape):
        language = _shaped(parts.language_model)
    else:
        language = _config(parts.language_model, "language_model")
    pretrained = isinstance(parts.language_model, str)
    return _Known(settings, tower, language, _counting.layer_read(family, tower, anew), parts.tokenizer, pretrained)


def _tower(family: ModuleType, part: str | TowerShape) -> Mapping[str, Any]:
    if isinstance(part, str):
        return _towers.tower_config(part, tuple(_towers.KINDS))
    kind = TOWER_KINDS[family.TOWER_CLASS]
    return {"model_type": kind, "vision_use_head": False, "attention_bias": True, **tower_sizes(part)}


def _shaped(shape: LanguageModelShape) -> Mapping[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": 0,  # as many rows as the tokenizer has entries
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.max_tokens,
        "tie_word_embeddings": True,
    }


def _config(name: str, kind: _known.PartKind) -> dict[str, Any]:
    found = part_config(name, kind)
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str) -> UserError:
    """The error for a part of which nothing is known here."""
    what = f"nothing is known here of {name}"
    return UserError(what, name, f"fetch it first (hf download {name}), or name a folder that holds it")


def _of_folder(family: ModuleType, model: StartingPoint | ModelParts) -> _Known:
    """A checkpoint on this disk, in olhar's layout or another that ``olhar convert`` reads."""
    assert isinstance(model, StartingPoint)
    name = model.base or model.checkpoint  # an adapter's folder says little of the model below it
    config = _config(name, "checkpoint")
    folder = _known.local_folder(name, "checkpoint") or Path(name)
    tower, language = _whole(config, folder)
    said = read_sidecar(folder)
    image = model.image
    settings = changed(said.settings, image, "model.image") if said else _settings(family, config, tower, folder, model)
    layer = config.get("vision_feature_layer", config.get("mm_vision_select_layer", config.get("select_layer")))
    usual = _counting.layer_read(family, tower, anew=False)
    read = layer if isinstance(layer, int) and layer < 0 else usual
    return _Known(settings, tower, language, read, str(folder), False)


def _whole(config: Mapping[str, Any], folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(tower, language model) of a checkpoint's configuration in any layout known here; raises ``UserError``."""
    language = config.get("text_config") or config.get("llm_config")
    tower = config.get("vision_config")
    if config.get("model_type") in FLAT and language is None:
        named = str(config.get("mm_vision_tower"))
        named = str(folder / named) if (folder / named / "config.json").is_file() else named
        kind = {"llava_qwen": "qwen2", "llava_mistral": "mistral"}.get(str(config["model_type"]), "llama")
        return _towers.tower_config(named, tuple(_towers.KINDS)), {**config, "model_type": kind}
    if not isinstance(language, Mapping) or not isinstance(tower, Mapping):
        what = "this configuration does not describe a vision tower and a language model"
        raise UserError(what, str(folder / "config.json"), "name a checkpoint that `olhar convert` reads")
    if tower.get("model_type") == "intern_vit_6b":  # InternVL's own words
        words = {"attention_bias": tower.get("qkv_bias", True), "use_qk_norm": tower.get("qk_normalization", False)}
        tower = {**tower, "model_type": _towers.INTERNVIT, **words}
    if "text_config" in config and "model_type" not in language:
        language = {"model_type": "llama", **language}
    return tower, language


def _settings(
    family: ModuleType, config: Mapping[str, Any], tower: Mapping[str, Any], folder: Path, model: StartingPoint
) -> Any:
    """How a checkpoint that olhar did not write looks at pictures, as far as its configuration and processor say."""
    with tempfile.TemporaryDirectory(prefix="olhar-plan-") as made:
        write_json(Path(made) / "config.json", dict(tower))
        if (folder / PREPARED).is_file():
            write_json(Path(made) / PREPARED, read_json(folder / PREPARED))
        image = {**_layout(config), **model.image}
        parts = ModelParts(family=model.family, tower=made, language_model="-", tokenizer="-", image=image)
        return settings_of(family, parts)


def _layout(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's configuration says of pictures, by the names of ``Settings``."""
    said = config.get("vision_feature_select_strategy", config.get("mm_vision_select_feature"))
    found = {"strategy": STRATEGIES[said]} if said in STRATEGIES and config.get("model_type") in SQUARE else {}
    if config.get("dynamic_image_size"):  # InternVL's own layout
        names = {"max_tiles": "max_dynamic_patch", "min_tiles": "min_dynamic_patch", "thumbnail": "use_thumbnail"}
        found |= {name: config[key] for name, key in names.items() if key in config}
    return found


def _tokenizer(family: ModuleType, known: _Known) -> tuple[Tokenizer | None, int, int]:
    """The tokenizer where it is at hand, how many entries it will have, and how many of them are new."""
    wanted = known.tokenizer
    if isinstance(wanted, TokenizerShape) or wanted is None:
        return None, wanted.vocabulary if wanted else 0, 0
    special, folder = family.SPECIAL_TOKENS, _known.local_folder(wanted, "tokenizer")
    if folder and (folder / "tokenizer.json").is_file():
        tokenizer = read_tokenizer(folder)
        added = sum(tokenizer.token_to_id(token) is None for token in special) if known.pretrained else 0
        return tokenizer, tokenizer.get_vocab_size() + added, added
    entries = _known.tokenizer_entries(wanted)
    return None, (entries + len(special) if entries else 0), len(special) if known.pretrained else 0


def known(model: ModelParts | StartingPoint, field: str) -> bool:
    """Whether enough is known here of a part that is not on this disk to reckon with it."""
    name = getattr(model, field)
    if field in ("checkpoint", "base"):
        return part_config(name, "checkpoint") is not None
    if field == "tokenizer":
        return _known.tokenizer_entries(name) is not None
    return part_config(name, "tower" if field == "tower" else "language_model") is not None


def is_hub_name(name: str) -> bool:
    return bool(_known.HUB_ID.fullmatch(name)) and not Path(name).exists()
