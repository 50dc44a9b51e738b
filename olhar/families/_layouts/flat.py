"""LLaVA's own layout, which ViP-LLaVA shares: a language model's flat configuration with ``mm_`` keys, and a tower
that is fetched by its name (Liu et al. 2023, arXiv:2310.03744).
"""

from typing import Any

from olhar.core.errors import UserError
from olhar.families._conversion import Source, Spoken
from olhar.families._layouts.planning import Original, where_of

TOWER = "model.vision_tower.vision_tower."
PROJECTOR = "model.mm_projector."
NEWLINE = "model.image_newline"
LANGUAGE_RULES = (("lm_head.", "lm_head."), ("model.", "model.language_model."))  # of what is no tower or projector
TEXT_TYPES = {  # by the class that wrote the weights, by that of the base that a projector was aligned to, or by type
    **dict.fromkeys(("LlavaLlamaForCausalLM", "LlamaForCausalLM", "llava_llama"), "llama"),
    **dict.fromkeys(("LlavaMistralForCausalLM", "MistralForCausalLM", "llava_mistral"), "mistral"),
    **dict.fromkeys(("LlavaQwenForCausalLM", "Qwen2ForCausalLM", "llava_qwen"), "qwen2"),
}
TEXT_KEYS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps", "attention_bias", "mlp_bias"),
    *("max_position_embeddings", "rope_theta", "rope_scaling", "rope_parameters"),
    *("sliding_window", "use_sliding_window", "max_window_layers"),
    *("attention_dropout", "initializer_range", "tie_word_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)


def is_flat(source: Source) -> bool:
    """Whether this is LLaVA's layout or one of its kind."""
    return bool(source.config.get("mm_vision_tower")) and "text_config" not in source.config


def is_vip(source: Source) -> bool:
    """Whether it is ViP-LLaVA's: its tower of that name, or the norm before its projector."""
    named = source.config.get("mm_vision_tower") == "clip_4layers_336"
    return is_flat(source) and (named or any(name.startswith(f"{PROJECTOR}clip_layernorm.") for name in source.tensors))


def refuse(source: Source) -> None:
    """Raises ``UserError`` for what LLaVA's code can do beside, and transformers' class cannot."""
    config, where = source.config, where_of(source)
    for key in ("mm_use_im_start_end", "mm_use_im_patch_token"):
        if config.get(key):
            what = f"{key} is true: its prompts hold tokens around or in place of an image that are not written here"
            raise UserError(what, where, f"use a checkpoint that was trained with {key} = false")
    merge, aspect = str(config.get("mm_patch_merge_type", "flat")), str(config.get("image_aspect_ratio"))
    if NEWLINE in source.tensors or merge != "flat" or aspect.startswith("anyres"):
        what = "this is LLaVA-1.6, which looks at an image in several tiles; LLaVA looks at it once"
        raise UserError(what, where, "convert LLaVA-1.5, or a LLaVA-OneVision checkpoint, which has a SigLIP tower")


def original(source: Source, layout: str, connector_type: str, tower_name: str, spoken: Spoken) -> Original:
    """What the flat configuration says. Raises ``UserError`` for a language model of an unknown class."""
    config = source.config
    return Original(
        layout=layout,
        tower_name=tower_name,
        tower=TOWER,
        connector=PROJECTOR,
        language_rules=LANGUAGE_RULES,
        text=text_config(source),
        connector_type=connector_type,
        spoken=spoken,
        layer=config.get("mm_vision_select_layer", -2),
        strategy=config.get("mm_vision_select_feature", "patch"),
        aspect=config.get("image_aspect_ratio"),
    )


def text_config(source: Source) -> dict[str, Any]:
    """The language model's part of the flat configuration; raises ``UserError`` for one of an unknown class."""
    config = source.config
    names = [*(config.get("architectures") or ()), config.get("model_type")]
    known = next((TEXT_TYPES[name] for name in names if name in TEXT_TYPES), None)
    if known is None:
        what = f"the language model of {' or '.join(map(str, names))} is not known in this layout"
        raise UserError(what, where_of(source), f"known are {', '.join(TEXT_TYPES)}")
    return {"model_type": known, **{key: config[key] for key in TEXT_KEYS if key in config}}
