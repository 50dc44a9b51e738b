"""Sources that already are in transformers' own layout, under the names of any of its versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from olhar.core.errors import UserError
from olhar.families._conversion import Conversion, Source, renamed
from olhar.families._spoken import Spoken
from olhar.languages import language
from olhar.prompts import PLACEHOLDER

# Classic files (4.x), files of 5.x, and live models of both; the first prefix that fits counts.
LIVE_NAMES = (
    ("language_model.lm_head.", "lm_head."),
    ("lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
    ("model.language_model.", "model.language_model."),
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("model.vision_tower.vision_model.", "model.vision_tower."),
    ("vision_tower.", "model.vision_tower."),
    ("model.vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("model.multi_modal_projector.", "model.multi_modal_projector."),
    ("image_newline", "model.image_newline"),
    ("model.image_newline", "model.image_newline"),
)
# Of a file, not of the architecture: set anew when the target is written.
WRITTEN_ANEW = ("model_type", "architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")


def live_name(name: str) -> str | None:
    """What a live model of transformers 5 calls a tensor of any of these layouts; None where it is none of them."""
    return next((live + name[len(known) :] for known, live in LIVE_NAMES if name.startswith(known)), None)


def recognises(source: Source, model_type: str, model_class: str) -> bool:
    """Whether the source is a checkpoint of this class of transformers."""
    architectures = source.config.get("architectures") or []
    return source.config.get("model_type") == model_type and model_class in architectures


def conversion(source: Source, settings: Any, spoken: Spoken, notes: Sequence[str] = ()) -> Conversion:
    """A source that ``recognises`` knows: its configuration passed through, its tensors by their live names.

    Raises:
        UserError: the weights are quantised, or some of them belong to another layout.
    """
    if source.config.get("quantization_config"):
        what = "these weights are quantised: what was rounded away cannot be brought back"
        raise UserError(what, str(source.folder), "convert the checkpoint that they were made from")
    foreign = [name for name in source.tensors if live_name(name) is None]
    if foreign:
        what = f"{len(foreign)} of {len(source.tensors)} tensors are none of this class: {', '.join(foreign[:3])}"
        raise UserError(
            f"this checkpoint is only half in transformers' layout: {what}",
            ", ".join(str(file) for file in source.tensors[foreign[0]].files),
            "convert the checkpoint that it was made from",
        )
    tensors, left_out = renamed(source.tensors, LIVE_NAMES)
    config = {key: value for key, value in source.config.items() if key not in WRITTEN_ANEW}
    return Conversion("transformers' own", config, settings, tensors, spoken, left_out, tuple(notes))


def image_processor(source: Source) -> dict[str, Any] | None:
    """What the source's image processor was set to: a file of its own, or a part of the processor's (5.x)."""
    own = source.read_json("preprocessor_config.json")
    if own is not None:
        return own
    nested = (source.read_json("processor_config.json") or {}).get("image_processor")
    return nested if isinstance(nested, dict) else None


def template_note(source: Source, family: Any, settings: Any, spoken: Spoken) -> str | None:
    """What a person should know where the source's own chat template writes a question differently; else None."""
    theirs = _template(source)
    if theirs is None:
        return None
    described = source.read_json("tokenizer_config.json") or {}
    words = {name: _token(described.get(name)) for name in ("bos_token", "eos_token")}
    pictures = (family.picture_text(settings), *family.TOKEN_KEYS.values())
    ours = _written(spoken.chat_template(family, settings), spoken, words, pictures)
    written = _written(theirs, spoken, words, pictures)
    if ours == written:
        return None
    fix = "--prompt names another prompt"
    if written is None:
        return f"the source's own chat template cannot write a question about an image; {fix}"
    return f"the source's own chat template writes {written!r}, this prompt {ours!r}; {fix}"


def _template(source: Source) -> str | None:
    """The chat template from wherever a version of transformers has put it."""
    if (text := source.read_text("chat_template.jinja")) is not None:
        return text
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        found = (source.read_json(name) or {}).get("chat_template")
        if isinstance(found, list):  # several by name
            found = next((row.get("template") for row in found if row.get("name") == "default"), None)
        if isinstance(found, str):
            return found
    return None


def _written(template: str, spoken: Spoken, words: Mapping[str, str], pictures: Sequence[str]) -> str | None:
    """One question about an image, the image written as ``PLACEHOLDER``; None where the template fails."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    content = [{"type": "image"}, {"type": "text", "text": language(spoken.language).describe}]
    conversation = [[{"role": "user", "content": content}]]
    options: dict[str, Any] = {"chat_template": template, "add_generation_prompt": True, **words}
    try:
        rendered: Any = render_jinja_template(conversation, **options)[0]
    except (TemplateError, TypeError, ValueError, KeyError):
        return None
    text = str(rendered[0]).removeprefix(words["bos_token"])
    for picture in pictures:
        text = text.replace(picture, PLACEHOLDER)
    return text


def _token(described: Any) -> str:
    """A token's text from ``tokenizer_config.json``: a string, or an object that holds one."""
    text = described.get("content") if isinstance(described, dict) else described
    return text if isinstance(text, str) else ""
