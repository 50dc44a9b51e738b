"""olhar: build a vision-language assistant that speaks your community's own language.

The flow, one verb a stage, read in order::

    ingest -> translate -> check -> mix -> train -> evaluate -> publish -> serve

Verbs are modules of ``olhar.stages``; nouns are folders in which every file is one choice
(``languages``, ``sources``, ``checks``, ``prompts``, ``families``, ``benchmarks``, ``metrics``).
A few frozen types (``olhar.core.types``) flow between them, one way.

Layer order; an import may only point to the right::

    cli > stages > serving, reports > training, inference, conversion, translation > families
        > prompts, sources, translators, checks, benchmarks > metrics > languages > core
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from olhar.inference.assistant import Assistant

__version__ = "0.1.0"


def load(path: "str | Path", *, prompt: str | None = None, language: str | None = None, **loading: Any) -> "Assistant":
    """The assistant in a folder that ``olhar publish`` or ``olhar convert`` wrote, or in a finished run.

    Args:
        prompt: ``NAME`` or ``NAME/VARIANT`` instead of the checkpoint's own prompt (``tucano/chat``).
        language: code of the language whose role words and system text the prompt writes.
        loading: ``dtype``, ``device``, ``attention``, ``quantize``: see ``olhar.families.Loading``.

    Raises:
        UserError: no checkpoint there, weights that are not its model's, a device or type this machine has not.
    """
    from olhar.families import Loading
    from olhar.inference.assistant import Assistant

    return Assistant.load(path, Loading(**loading), prompt, language)
