"""The layout in which InternVL and what was trained with its code (Vintern) are published: ``InternVLChatModel``.

Names and meanings are those of OpenGVLab/InternVL, ``internvl_chat``. What transformers' class cannot compute is
refused, with the reason: nothing is converted to a model that answers differently.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from olhar.core.errors import UserError
from olhar.families import _towers
from olhar.families._conversion import Conversion, Made, Source, Spoken, renamed
from olhar.families._images import tiles
from olhar.families._images.tiles import DOWNSAMPLE, Settings
from olhar.families._layouts import flat
from olhar.languages import language

if TYPE_CHECKING:
    import torch

ARCHITECTURE, MODEL_TYPE = "InternVLChatModel", "internvl_chat"
LANGUAGE_MODELS = {"Qwen2ForCausalLM": "qwen2", "LlamaForCausalLM": "llama"}
TEMPLATES = {  # name in config.json -> variant of the prompt ``chatml``, and its system text in Chinese
    "internvl2_5": ("internvl2_5", "internvl2_5"),
    "Hermes-2": ("hermes", "internvl_hermes"),
    "internlm2-chat": ("hermes", "internvl_hermes"),
}
LORA = {"vision_model.": "use_backbone_lora", "language_model.": "use_llm_lora"}  # part -> the key of its rank
LORA_SCALE = 2  # alpha over rank, fixed in the published code
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.default\.weight")
NORMS = ("layer_norm", "rms_norm")
VISION_KEYS = (  # of the same name and meaning in transformers' configuration
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_channels"),
    *("hidden_act", "layer_norm_eps", "norm_type", "initializer_range", "attention_dropout"),
)
EMBEDDINGS = {
    "class_embedding": "cls_token",
    "position_embedding": "position_embeddings",
    "patch_embedding.": "patch_embeddings.projection.",
}
LAYER = {
    "attn.q.": "attention.q_proj.",
    "attn.k.": "attention.k_proj.",
    "attn.v.": "attention.v_proj.",
    "attn.proj.": "attention.projection_layer.",
    "attn.q_norm.": "attention.q_norm.",
    "attn.k_norm.": "attention.k_norm.",
    "norm1.": "layernorm_before.",
    "norm2.": "layernorm_after.",
    "ls1": "lambda_1",
    "ls2": "lambda_2",
    "mlp.": "mlp.",
}
OTHERS = {
    "mlp1.0.": "model.multi_modal_projector.layer_norm.",
    "mlp1.1.": "model.multi_modal_projector.linear_1.",
    "mlp1.3.": "model.multi_modal_projector.linear_2.",
    "language_model.lm_head.": "lm_head.",
    "language_model.model.": "model.language_model.",
}


def recognises(source: Source) -> bool:
    return source.config.get("model_type") == MODEL_TYPE or ARCHITECTURE in (source.config.get("architectures") or ())


def conversion(source: Source) -> Conversion:
    """What becomes of an ``InternVLChatModel``; raises ``UserError`` for what transformers' class cannot compute."""
    config, where = source.config, str(source.folder / "config.json")
    layout, said = _layout(config, where), _spoken(config, where)
    tensors, notes = _merged(source.tensors, config, where)
    kept, _ = renamed(dict(_split(tensors)), _rules(_said(config["vision_config"], "num_hidden_layers", where)))
    if config["template"] == "internlm2-chat":
        notes.append(
            "in training, the template internlm2-chat put <s> before every conversation; when asked, it did not"
        )
    return Conversion(
        layout=f"{ARCHITECTURE} of InternVL",
        config={
            "vision_config": _vision_config(config, where),
            "text_config": _text_config(config, where),
            "image_seq_length": layout.tokens_per_tile,
            "downsample_ratio": DOWNSAMPLE,
            "vision_feature_layer": _layer(config, where),
            "vision_feature_select_strategy": "default",
            "projector_hidden_act": "gelu",
            "tie_word_embeddings": False,  # the output layer is always stored, and always its own
        },
        settings=layout,
        tensors=kept,
        spoken=said,
        notes=tuple(notes),
    )


def _said(config: Mapping[str, Any], key: str, where: str) -> Any:
    """A value that must be there: the defaults of the published code differ between its versions."""
    if config.get(key) is None:
        raise UserError(f"this configuration does not say {key}", where, "take the config.json of the published folder")
    return config[key]


def _refuse(what: str, where: str, fix: str = "convert a checkpoint without it") -> NoReturn:
    raise UserError(what, where, fix)


def _layout(config: Mapping[str, Any], where: str) -> Settings:
    """How pictures become tiles; what the layout cannot say is refused."""
    if (version := _said(config, "ps_version", where)) != "v2":
        _refuse(
            f"ps_version is {version!r}: its pixel shuffle leaves height and width swapped, which no rearrangement of "
            "weights can express; transformers only computes v2, and would answer wrongly in silence",
            where,
            "use a checkpoint with ps_version v2",
        )
    if (ratio := _said(config, "downsample_ratio", where)) != DOWNSAMPLE:
        _refuse(f"downsample_ratio is {ratio}; only {DOWNSAMPLE} is known", where)
    if config.get("pad2square"):
        _refuse("pad2square is true: transformers' image processor squashes tiles, it does not pad them", where)
    vision = _said(config, "vision_config", where)
    side = config.get("force_image_size") or _towers.square(vision, "image_size", where)
    several = _said(config, "dynamic_image_size", where)
    most, least = (_said(config, f"{end}_dynamic_patch", where) if several else 1 for end in ("max", "min"))
    layout = Settings(
        side,
        _towers.square(vision, "patch_size", where),
        most,
        least,
        thumbnail=most > 1 and _said(config, "use_thumbnail", where),
        mean=_towers.IMAGENET_MEAN,
        std=_towers.IMAGENET_STD,
    )
    tiles.processor(layout)  # raises where transformers' processor cannot repeat it
    return tiles.shuffled(tiles.labelled(layout), where)


def _spoken(config: Mapping[str, Any], where: str) -> Spoken:
    """The prompt that the configuration names; raises ``UserError`` for one that is not known."""
    template = _said(config, "template", where)
    if template not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        _refuse(f"unknown template {template!r}; there are: {known}", where, "use a checkpoint with one of them")
    return spoken(template, config.get("system_message"))


def spoken(template: str, system: str | None = None) -> Spoken:
    """The prompt of a template, with its own system text unless the checkpoint has another. That one is Chinese."""
    variant, name = TEMPLATES[template]
    return Spoken("chatml", variant, "en", language("zh").system[name] if system is None else system)


def _vision_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    vision = _said(config, "vision_config", where)
    if (norm := _said(vision, "norm_type", where)) not in NORMS:
        _refuse(f"norm_type is {norm!r}; there are: {', '.join(NORMS)}", where)
    return {
        "model_type": _towers.INTERNVIT,
        **{key: vision[key] for key in VISION_KEYS if key in vision},
        "attention_bias": _said(vision, "qkv_bias", where),
        "use_qk_norm": _said(vision, "qk_normalization", where),
        "image_size": [_towers.square(vision, "image_size", where)] * 2,
        "patch_size": [_towers.square(vision, "patch_size", where)] * 2,
        "use_mean_pooling": True,  # else the class adds a final norm, which this tower has not
    }


def _layer(config: Mapping[str, Any], where: str) -> int:
    """Which hidden state of the tower is read, counted from its end where transformers needs that."""
    layer = int(_said(config, "select_layer", where))
    layers = int(_said(config["vision_config"], "num_hidden_layers", where))
    if not -layers - 1 <= layer <= layers:
        _refuse(f"select_layer is {layer}, of a tower with {layers} layers", where, "correct it")
    return layer or -layers - 1  # transformers takes 0 for none at all


def _text_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    text = _said(config, "llm_config", where)
    architecture = _said(text, "architectures", where)[0]
    if architecture not in LANGUAGE_MODELS:
        _refuse(
            f"the language model is {architecture}; transformers' own classes here are "
            f"{', '.join(LANGUAGE_MODELS)}, any other needs code from the checkpoint's folder, which is never run",
            where,
            "use a member of the family whose language model is Qwen2 or Llama",
        )
    return {
        "model_type": LANGUAGE_MODELS[architecture],
        **{key: text[key] for key in flat.TEXT_KEYS if key in text},
        "tie_word_embeddings": False,
    }


def _rules(layers: int) -> Iterator[tuple[str, str]]:
    """Every prefix of the layout and what it becomes, of a tower with so many layers."""
    yield from OTHERS.items()
    for old, new in EMBEDDINGS.items():
        yield f"vision_model.embeddings.{old}", f"model.vision_tower.embeddings.{new}"
    for number in range(layers):
        for old, new in LAYER.items():
            yield f"vision_model.encoder.layers.{number}.{old}", f"model.vision_tower.encoder.layer.{number}.{new}"


def _split(tensors: Mapping[str, Made]) -> Iterator[tuple[str, Made]]:
    """The fused projection of query, key and value as three: its rows are those of one after the other."""
    for name, made in tensors.items():
        if ".attn.qkv." not in name:
            yield name, made
            continue
        rows = made.shape[0] // 3
        for place, part in enumerate("qkv"):
            shape = (rows, *made.shape[1:])
            yield (
                name.replace(".attn.qkv.", f".attn.{part}."),
                made.changed(shape, _rows(place * rows, rows), f"rows of {part} in qkv"),
            )


def _rows(start: int, count: int) -> "Callable[[torch.Tensor], torch.Tensor]":
    return lambda tensor: tensor[start : start + count]


def _merged(tensors: Mapping[str, Made], config: Mapping[str, Any], where: str) -> tuple[dict[str, Made], list[str]]:
    """Weights with the low-rank updates added in that the published training code stores beside them."""
    ranks = {part: config.get(key) or 0 for part, key in LORA.items()}
    plain: dict[str, Made] = {}
    factors: dict[str, dict[str, Made]] = {}  # module -> its A and B
    for name, made in tensors.items():
        wrapped = any(rank and name.startswith(part) for part, rank in ranks.items())
        bare = name.replace(".base_model.model.", ".", 1).replace(".base_layer.", ".") if wrapped else name
        if found := FACTOR.fullmatch(bare) if wrapped else None:
            factors.setdefault(found["module"], {})[found["side"]] = made
        else:
            plain[bare] = made
    for part, rank in ranks.items():
        own = [module for module in factors if module.startswith(part)]
        if rank and not own:
            what = f"{LORA[part]} is {rank}, but there is no low-rank update of {part[:-1]} among the weights"
            _refuse(what, where, f"set {LORA[part]} to 0 if it is merged already")
        for module in own:
            name, pair = f"{module}.weight", factors[module]
            if name not in plain or pair.keys() != {"A", "B"} or pair["A"].shape[0] != rank:
                what = f"the low-rank update of {module} is not whole, or not of rank {rank}"
                _refuse(what, where, "check that the folder is whole")
            plain[name] = _updated(plain[name], pair["A"], pair["B"])
    return plain, [f"merged the low-rank updates of {len(factors)} layers"] if factors else []


def _updated(base: Made, down: Made, up: Made) -> Made:
    """W + 2 B A, in float32 (Hu et al. 2021, arXiv:2106.09685, equation 3, with alpha twice the rank)."""

    def add(weight: "torch.Tensor") -> "torch.Tensor":
        change = up.load().float() @ down.load().float()
        return (weight.float() + LORA_SCALE * change).to(weight.dtype)

    return base.changed(base.shape, add, "with its low-rank update")
