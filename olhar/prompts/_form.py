"""The shape that the published prompts share, as data; renders a conversation and writes its jinja2 twin.

::

    [before_system SYSTEM after_system] before_first   QUESTION after_question header | lead ANSWER end | after_answer
                                        before_question QUESTION after_question header | lead ANSWER end | after_answer

What stands between the bars is trained: the blank before an answer belongs to the answer, so that no token
can straddle the beginning of a trained span.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from olhar.core.errors import UnknownName, UserError
from olhar.core.types import ImageRef, Part, Rendered, Turn, VideoRef
from olhar.languages import Language
from olhar.prompts._jinja import TEMPLATE

PLACEHOLDER = "<image>"
_CLOSE = " \t\r\n.,;:!?)]}\"'"  # what a text begins with when it continues the line of the image before it

Placement = Literal["front", "kept", "outside"]
"""Where the media of a user turn go.

``front``: all before the turn's text, each with a line of its own, the text stripped.
``kept``: where they stand, ending their line unless they end the turn or the next text begins with a blank
or punctuation. Media that lead the turn, and a single one from anywhere, as in ``front`` (but the text is
stripped only if the single one had to move).
``outside``: before everything the form writes for the turn, nothing between them.
"""


@dataclass(frozen=True, slots=True)
class Form:
    """One way of writing a conversation. ``system`` None: there is no place for a system text."""

    system: str | None
    before_system: str
    after_system: str
    before_first: str
    before_question: str
    after_question: str
    header: str
    lead: str
    end: str
    after_answer: str
    placement: Placement


@dataclass(frozen=True, slots=True)
class Conversation:
    """Checked turns: the system text if there was a turn for it, and user and assistant in alternation."""

    system: str | None
    turns: tuple[Turn, ...]

    @property
    def media(self) -> tuple[ImageRef | VideoRef, ...]:
        return tuple(ref for turn in self.turns for ref in turn.media)


def choose_variant(prompt: str, variants: Sequence[str], name: str | None) -> str:
    """The variant called ``name``, or the first for None; raises ``UnknownName`` listing what there is."""
    if name is None:
        return variants[0]
    if name not in variants:
        raise UnknownName(
            f"the prompt {prompt!r} has no variant {name!r}; there are: {', '.join(variants)}",
            f"olhar/prompts/{prompt}.py",
            "choose one of them, or leave the variant out for the first",
        )
    return name


def conversation(turns: Sequence[Turn], open: bool) -> Conversation:
    """The turns, checked. Raises ``UserError`` for what no prompt can write."""
    for number, turn in enumerate(turns):
        _check_turn(turn, f"turn {number + 1} ({turn.role})")
    system = turns[0].text if turns and turns[0].role == "system" else None
    spoken = tuple(turns[1:] if system is not None else turns)
    roles = [turn.role for turn in spoken]
    pairs, rest = divmod(len(roles), 2)
    if not roles or roles != ["user", "assistant"] * pairs + ["user"] * rest or bool(rest) != open:
        last = "user" if open else "assistant"
        raise UserError(
            f"the roles of the turns are {', '.join(turn.role for turn in turns) or 'none'}",
            "a conversation to be rendered",
            f"give an optional system turn, then user and assistant in alternation, the last one the {last}'s",
        )
    return Conversation(system, spoken)


def _check_turn(turn: Turn, where: str) -> None:
    if turn.media and turn.role != "user":
        raise UserError("images and videos can only be shown by the user", where, "move them to a user turn")
    if PLACEHOLDER in turn.text:
        raise UserError(
            f"the text itself contains {PLACEHOLDER}, which marks the place of an image",
            where,
            "make it an image part of the turn, or take it out of the text",
        )


@dataclass(frozen=True, slots=True)
class FormPrompt:
    """What a prompt file offers, for a prompt whose variants are forms; the methods are those of ``Prompt``."""

    name: str
    variants: tuple[str, ...]
    form: Callable[[Language, str], Form]

    def render(
        self,
        turns: Sequence[Turn],
        language: Language,
        *,
        variant: str | None = None,
        system: str | None = None,
        open: bool = False,
    ) -> Rendered:
        return render(self._form(language, variant), turns, system, open)

    def stop(self, language: Language, variant: str | None = None) -> tuple[str, ...]:
        return (self._form(language, variant).end.strip(),)

    def chat_template(
        self,
        language: Language,
        variant: str | None,
        image_text: str,
        video_text: str | None = None,
        *,
        system: str | None = None,
    ) -> str:
        return chat_template(self._form(language, variant), image_text, video_text, system)

    def _form(self, language: Language, variant: str | None) -> Form:
        return self.form(language, choose_variant(self.name, self.variants, variant))


def render(form: Form, turns: Sequence[Turn], system: str | None, open: bool) -> Rendered:
    """The conversation in this form; see ``Prompt.render``."""
    spoken = conversation(turns, open)
    text, trained = opening(form, spoken.system if spoken.system is not None else system), []
    for index, turn in enumerate(spoken.turns):
        if turn.role == "user":
            before = form.before_question if index else form.before_first
            text += question(form.placement, turn, before) + form.after_question + form.header
        else:
            answer = form.lead + turn.text + form.end
            trained.append((len(text), len(text) + len(answer)))
            text += answer + form.after_answer
    return Rendered(text, spoken.media, tuple(trained))


def opening(form: Form, system: str | None) -> str:
    """What stands before the first user turn: the given system text, or else the form's own."""
    if form.system is not None:
        return form.before_system + (form.system if system is None else system) + form.after_system
    without_system(system)
    return ""


def without_system(system: str | None) -> None:
    """Raises ``UserError`` if there is a system text, for a form that has no place for one."""
    if system is not None:
        raise UserError(
            "this prompt has no place for a system text",
            f"system text {system[:60]!r}",
            "leave the system text out, or choose another prompt",
        )


def question(placement: Placement, turn: Turn, before: str) -> str:
    """A user turn after ``before``, its media written as placeholders where ``placement`` says."""
    count = len(turn.media)
    if placement == "outside":
        return PLACEHOLDER * count + before + turn.text
    leading = all(not isinstance(part, str) for part in turn.parts[:count])
    if placement == "kept" and leading:
        return before + f"{PLACEHOLDER}\n" * count + turn.text
    if (placement == "front" and count) or count == 1:
        return before + f"{PLACEHOLDER}\n" * count + turn.text.strip()
    return before + _interleaved(turn.parts)


def _interleaved(parts: Sequence[Part]) -> str:
    text = ""
    for part, following in zip(parts, (*parts[1:], ""), strict=True):
        if isinstance(part, str):
            text += part
        else:
            continues = isinstance(following, str) and following[:1] in _CLOSE
            text += PLACEHOLDER if continues else f"{PLACEHOLDER}\n"
    return text


def chat_template(form: Form, image_text: str, video_text: str | None, system: str | None) -> str:
    """``TEMPLATE`` with this form's strings in it; see ``Prompt.chat_template``."""
    opening(form, system)  # raises where the form has no place for it
    values: dict[str, str | None] = {
        "SYSTEM": form.system if system is None else system,
        "BEFORE_SYSTEM": form.before_system,
        "AFTER_SYSTEM": form.after_system,
        "BEFORE_FIRST": form.before_first,
        "BEFORE_QUESTION": form.before_question,
        "AFTER_QUESTION": form.after_question,
        "HEADER": form.header,
        "LEAD": form.lead,
        "END": form.end,
        "AFTER_ANSWER": form.after_answer,
        "PLACEMENT": form.placement,
        "CLOSE": _CLOSE,
        "IMAGE": image_text,
        "VIDEO": video_text,
    }
    settings = "".join(f"{{%- set {name} = {literal(value)} -%}}\n" for name, value in values.items())
    return settings + TEMPLATE


def literal(value: str | None) -> str:
    """A string as jinja2 writes it; ``none`` for None."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
