"""ChatML: every turn between ``<|im_start|>`` and ``<|im_end|>``.

=============== ================================== ======================================================
variant         published as                       separator; system text
=============== ================================== ======================================================
internvl2_5     ``internvl2_5`` (Vintern)          line break between turns; the language's ``qwen``
hermes          ``Hermes-2`` (InternVL)            no line break; the language's ``qwen``
qwen            ``qwen_1_5`` (LLaVA-OneVision)     line break; ``qwen``
qwen_original   the same                           the same, with the mask of the published training code
mpt             ``mpt`` (LLaVA)                    no line break; ``mpt``
direct          ``chatml_direct`` (LLaVA)          no line break; ``direct``
=============== ================================== ======================================================

Trained is the answer with its ``<|im_end|>``; the line break after it is not. InternVL's own system texts are
Chinese whatever is spoken (``internvl2_5`` and ``internvl_hermes`` of that language): pass one as ``system=`` for
a checkpoint that was trained with it. Images keep their places; those that lead a turn, and a single one from
anywhere, stand in front, each on a line of its own.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from olhar.core.types import Rendered, Turn
from olhar.languages import Language
from olhar.prompts._form import Form, FormPrompt

VARIANTS = ("internvl2_5", "hermes", "qwen", "qwen_original", "mpt", "direct")

_UNBROKEN = frozenset({"hermes", "mpt", "direct"})  # variants without a line break between turns
_START, _END = "<|im_start|>", "<|im_end|>"
_HEADER = f"{_START}assistant\n"
_MARK = re.compile(rf"{re.escape(_START)}|{re.escape(_END)}|(?<!\s)\n(?!\s)")


def _written(language: Language, variant: str) -> Form:
    between = "" if variant in _UNBROKEN else "\n"
    return Form(
        system=language.system[variant if variant in ("mpt", "direct") else "qwen"],
        before_system=f"{_START}system\n",
        after_system=f"{_END}{between}",
        before_first=f"{_START}user\n",
        before_question=f"{_START}user\n",
        after_question=f"{_END}{between}",
        header=_HEADER,
        lead="",
        end=_END,
        after_answer=between,
        placement="kept",
    )


_PROMPT = FormPrompt("chatml", VARIANTS, _written)
stop, chat_template = _PROMPT.stop, _PROMPT.chat_template


def render(
    turns: Sequence[Turn],
    language: Language,
    *,
    variant: str | None = None,
    system: str | None = None,
    open: bool = False,
) -> Rendered:
    rendered = _PROMPT.render(turns, language, variant=variant, system=system, open=open)
    return _with_marks(rendered) if variant == "qwen_original" else rendered


def _with_marks(rendered: Rendered) -> Rendered:
    """The published mask of LLaVA-OneVision: whole assistant turns, and every turn's marks and line breaks.

    There, ids are compared with that of a lone line break; here, a line break counts if no other blank
    touches it. The two agree unless a tokenizer merges it with the character before.
    """
    whole = [(start - len(_HEADER), end + 1) for start, end in rendered.trained]
    marks = [match.span() for match in _MARK.finditer(rendered.text)]
    apart = [(a, b) for a, b in marks if not any(start <= a < end for start, end in whole)]
    return replace(rendered, trained=tuple(sorted(whole + apart)))
