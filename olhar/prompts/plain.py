"""The prompt of connector alignment: the image, its caption, a line break; no roles, no system text.

The question is dropped: it only asks for the caption. Exactly one user turn with an image and its caption.
An open prompt is the image alone.
"""

from collections.abc import Sequence

from olhar.core.errors import UserError
from olhar.core.types import Rendered, Turn
from olhar.languages import Language
from olhar.prompts import _form
from olhar.prompts._form import PLACEHOLDER

VARIANTS = ("caption",)

_TEMPLATE = """
{%- for message in messages -%}
  {%- if message['role'] == 'user' and loop.first and message['content'] is not string -%}
    {%- for part in message['content'] -%}
      {%- if part['type'] == 'image' -%}{{- IMAGE -}}
      {%- elif part['type'] == 'video' and VIDEO is not none -%}{{- VIDEO -}}
      {%- elif part['type'] != 'text' -%}
        {{- raise_exception('this model takes no part of type ' ~ part['type']) -}}
      {%- endif -%}
    {%- endfor -%}
  {%- elif message['role'] == 'assistant' and loop.index0 == 1 -%}
    {%- if message['content'] is string -%}{{- message['content'] -}}
    {%- else -%}{%- for part in message['content'] -%}{{- part['text'] -}}{%- endfor -%}
    {%- endif -%}
    {{- '\\n' -}}
  {%- else -%}{{- raise_exception('this prompt takes one image and one caption') -}}
  {%- endif -%}
{%- endfor -%}
"""


def render(
    turns: Sequence[Turn],
    language: Language,
    *,
    variant: str | None = None,
    system: str | None = None,
    open: bool = False,
) -> Rendered:
    _check(variant, system)
    spoken = _form.conversation(turns, open)
    if spoken.system is not None or len(spoken.turns) > 2 or not spoken.media:
        raise UserError(
            f"{len(turns)} turns with {len(spoken.media)} images",
            "a sample for the prompt 'plain', which takes one user turn with an image and its caption",
            "align with captions only, or choose another prompt for conversations",
        )
    text = PLACEHOLDER * len(spoken.media)
    if open:
        return Rendered(text, spoken.media, ())
    caption = f"{spoken.turns[1].text}\n"
    return Rendered(text + caption, spoken.media, ((len(text), len(text) + len(caption)),))


def stop(language: Language, variant: str | None = None) -> tuple[str, ...]:
    _check(variant, None)
    return ("\n",)


def chat_template(
    language: Language,
    variant: str | None,
    image_text: str,
    video_text: str | None = None,
    *,
    system: str | None = None,
) -> str:
    _check(variant, system)
    image, video = _form.literal(image_text), _form.literal(video_text)
    return f"{{%- set IMAGE = {image} -%}}\n{{%- set VIDEO = {video} -%}}{_TEMPLATE}"


def _check(variant: str | None, system: str | None) -> None:
    _form.choose_variant("plain", VARIANTS, variant)
    _form.without_system(system)
