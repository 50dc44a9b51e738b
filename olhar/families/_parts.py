"""Composing a model from parts: a vision tower and a language model, each a folder or a shape to make anew.

A fresh composition starts neutral: on text it is its base language model exactly, on pixels its tower.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TokenizerShape, TowerShape
from olhar.families import _towers

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import nn
    from transformers import PreTrainedConfig

ORIGIN = ("architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "_name_or_path")


def text_config(part: str | LanguageModelShape, vocabulary: int) -> "PreTrainedConfig":
    """The language model's configuration, with rows for at least ``vocabulary`` tokens.

    Raises ``UserError`` where a folder holds no language model that transformers knows.
    """
    if isinstance(part, LanguageModelShape):
        return _new_text_config(part, vocabulary)
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    if not (Path(part) / "config.json").is_file():
        raise UserError(
            "there is no language model here (no config.json)",
            part,
            "name a folder that holds one, relative to the recipe, or describe one to make: "
            "language_model = { hidden_size = 128, layers = 3 }",
        )
    try:
        config = AutoConfig.from_pretrained(part, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable("language model", part, error) from error
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or hasattr(config, "vision_config"):
        what = f"{config.model_type!r} is no language model that transformers knows"
        raise UserError(what, part, "name the folder of a language model alone")
    return _without_origin(config, {"vocab_size": max(config.vocab_size, vocabulary)})


def _new_text_config(shape: LanguageModelShape, vocabulary: int) -> "PreTrainedConfig":
    from transformers import LlamaConfig

    return LlamaConfig(
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


def vision_config(
    part: str | TowerShape, fits: Collection[str], new: Callable[[TowerShape], "PreTrainedConfig"]
) -> "PreTrainedConfig":
    """The tower's configuration: that of its folder, which must be of a type that fits, or ``new`` of its shape."""
    if isinstance(part, TowerShape):
        return new(part)
    from transformers import AutoConfig

    found = _towers.tower_config(part, fits)
    return _without_origin(AutoConfig.for_model(**found), {})


def token_ids(tokenizer: "Tokenizer", keys: Mapping[str, str]) -> dict[str, int]:
    """The ids of a family's ``TOKEN_KEYS``; raises ``UserError`` for a token that the tokenizer does not know."""
    ids = {key: id for key, token in keys.items() if (id := tokenizer.token_to_id(token)) is not None}
    if len(ids) < len(keys):
        unknown = " ".join(token for key, token in keys.items() if key not in ids)
        raise UserError(f"the tokenizer does not know {unknown}", "model.tokenizer", "add these special tokens to it")
    return ids


def _without_origin(config: "PreTrainedConfig", changes: dict[str, Any]) -> "PreTrainedConfig":
    """A copy that says nothing of the files it came from, their number type above all: composing is in float32."""
    row = {key: value for key, value in config.to_dict().items() if key not in ORIGIN}
    return type(config).from_dict(row | changes)


def tower_sizes(shape: TowerShape) -> dict[str, Any]:
    """A shape in the words of transformers' vision configurations."""
    return {
        "image_size": shape.image_size,
        "patch_size": shape.patch_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
    }


def new_siglip_config(shape: TowerShape) -> "PreTrainedConfig":
    """A ViT of SigLIP's kind, without the pooling head that no language model reads."""
    from transformers import SiglipVisionConfig

    return SiglipVisionConfig(**tower_sizes(shape), vision_use_head=False)


def new_clip_config(shape: TowerShape) -> "PreTrainedConfig":
    """A ViT of CLIP's kind: a class token before its patches."""
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(**tower_sizes(shape))


def start(model: Any, parts: ModelParts, start_tower: Callable[[Any], None] = lambda tower: None) -> None:
    """Give a model made of the parts' configurations its first weights: connector, tower, language model.

    Args:
        start_tower: draws what a tower made anew draws differently from its class; one from a folder is copied.

    Raises:
        UserError: a folder's weights are not those of its configuration, or the tokenizer is not the model's own.
    """
    _start_connector(model.model.multi_modal_projector)
    if isinstance(parts.tower, TowerShape):
        start_tower(model.model.vision_tower)
    else:
        tower = model.model.vision_tower
        tower.load_state_dict(_pretrained(type(tower), "vision tower", parts.tower).state_dict())
    if isinstance(parts.language_model, str):
        if isinstance(parts.tokenizer, TokenizerShape):
            what = "a pretrained language model does not understand a tokenizer that is still to be learned"
            raise UserError(what, parts.language_model, "name that model's own folder as model.tokenizer")
        _copy_language_model(model, parts.language_model)


def _start_connector(projector: "nn.Module") -> None:
    """Linear layers start at 1/sqrt(fan-in), so that image tokens are as large as word embeddings."""
    import torch

    with torch.no_grad():
        for layer in projector.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.normal_(std=layer.in_features**-0.5)


def _pretrained(model_class: Any, kind: str, folder: str) -> Any:
    """A part in float32 with all its weights; what a folder holds beside it is not read."""
    import torch
    from safetensors import SafetensorError

    try:
        with _unreported():
            part, report = model_class.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise _unreadable(kind, folder, error) from error
    for trouble in ("missing_keys", "mismatched_keys"):
        if report[trouble]:
            names = ", ".join(sorted(map(str, report[trouble]))[:3])
            what = f"{trouble.replace('_', ' ')} in the weights of this {kind}: {names}"
            raise UserError(what, folder, "check that the folder is whole")
    return part


@contextmanager
def _unreported() -> Iterator[None]:
    """Without transformers' page of what a folder holds beside the part (a tower's text encoder, as published)."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _unreadable(kind: str, folder: str, error: Exception) -> UserError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"this {kind} cannot be loaded: {first}", folder, "name a folder that transformers loads")


def _copy_language_model(model: Any, folder: str) -> None:
    """All weights of the base; rows of tokens that it does not know are the mean of those it knows."""
    import torch
    from transformers import AutoModelForCausalLM

    base = _pretrained(AutoModelForCausalLM, "language model", folder)
    head = base.get_output_embeddings()
    if head is None or head.bias is not None:
        what = "the output layer of this language model has no place in the family's class"
        raise UserError(what, folder, "use a language model whose output layer has no bias, such as Llama or Qwen2")
    rows = model.get_input_embeddings().num_embeddings
    words, answers = grown(base.get_input_embeddings().weight, rows), grown(head.weight, rows)
    base.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        base.get_input_embeddings().weight.copy_(words)
        model.get_output_embeddings().weight.copy_(answers)
    model.model.language_model.load_state_dict(base.base_model.state_dict())


def grown(weight: "torch.Tensor", rows: int) -> "torch.Tensor":
    """(tokens, hidden) with further rows up to ``rows``, each the mean of those there are."""
    import torch

    with torch.no_grad():
        further = weight.mean(dim=0, keepdim=True).expand(rows - len(weight), -1)
        return torch.cat([weight, further])
