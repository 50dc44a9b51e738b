"""TinyLLaVA Factory's layouts, which ViTucano has: a configuration in parts, weights in one file or in a folder a part.

Zhou et al. 2024, arXiv:2402.14289. Older checkpoints have the same configuration over LLaVA's tensor names.
"""

from collections.abc import Mapping
from typing import Any

from olhar.core.errors import UserError
from olhar.families._conversion import Source, Spoken
from olhar.families._layouts import flat
from olhar.families._layouts.planning import Original, where_of

MODEL_TYPE = "tinyllava"
TOWER, CONNECTOR = "vision_tower._vision_tower.", "connector._connector."
LANGUAGE_RULES = (("language_model.lm_head.", "lm_head."), ("language_model.model.", "model.language_model."))
ORIGIN = (  # of the nested configurations: of their files, not of the architecture
    *("_name_or_path", "model_name_or_path", "model_name_or_path2", "architectures", "auto_map"),
    *("torch_dtype", "dtype", "transformers_version"),
)
TUCANO, VICUNA = Spoken("tucano", "train", "pt"), Spoken("vicuna", "v1", "en")


def recognises(source: Source) -> bool:
    return source.config.get("model_type") == MODEL_TYPE


def original(source: Source) -> Original:
    """What the configuration says. Raises ``UserError`` where it lacks a part."""
    config = source.config
    text, vision = (_part(source, name) for name in ("text_config", "vision_config"))
    legacy = any(name.startswith(flat.PROJECTOR) for name in source.tensors)
    return Original(
        layout="TinyLLaVA, with the older names" if legacy else "TinyLLaVA",
        tower_name=str(config.get("vision_model_name_or_path") or "no name"),
        tower=flat.TOWER if legacy else TOWER,
        connector=flat.PROJECTOR if legacy else CONNECTOR,
        language_rules=flat.LANGUAGE_RULES if legacy else LANGUAGE_RULES,
        text=text,
        connector_type=str(config.get("connector_type")),
        spoken=TUCANO if text.get("model_type") == "llama" else VICUNA,
        said=vision,
        processor=source.read_json("preprocessor_config.json"),
        layer=config.get("vision_feature_layer", -2),
        strategy=config.get("vision_feature_select_strategy", "patch"),
        aspect=config.get("image_aspect_ratio", "square"),
    )


def _part(source: Source, name: str) -> dict[str, Any]:
    """A nested configuration, which is written as its differences from the defaults of its class."""
    part = source.config.get(name)
    if not isinstance(part, Mapping) or "model_type" not in part:
        what = f"{name} does not say what kind of model it is"
        raise UserError(what, where_of(source), "use the config.json that TinyLLaVA wrote with these weights")
    return {key: value for key, value in part.items() if key not in ORIGIN}
