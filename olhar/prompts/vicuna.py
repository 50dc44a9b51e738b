"""The prompts of LLaVA-1.5 and ViP-LLaVA: role words with colons.

``v1`` (LLaVA-1.5) and ``human`` (ViP-LLaVA, there called ``llava_v1``) differ in the system text; both end an
answer with ``</s>`` and go on without a blank. ``v0`` separates turns by ``###``; converted ViP-LLaVA
checkpoints recommend it. Images stand in front of their turn's text, each on a line of its own.
"""

from olhar.languages import Language
from olhar.prompts._form import Form, FormPrompt

VARIANTS = ("v1", "human", "v0")


def _written(language: Language, variant: str) -> Form:
    if variant == "v0":
        return _separated_by_hashes(language)
    user, assistant = language.roles["user"], language.roles["assistant"]
    return Form(
        system=language.system["human" if variant == "human" else "assistant"],
        before_system="",
        after_system=" ",
        before_first=f"{user}: ",
        before_question=f"{user}: ",
        after_question=" ",
        header=f"{assistant}:",
        lead=" ",
        end="</s>",
        after_answer="",
        placement="front",
    )


def _separated_by_hashes(language: Language) -> Form:
    human, assistant = language.roles["human"], language.roles["assistant"].capitalize()
    return Form(
        system=language.system["human"],
        before_system="",
        after_system="###",
        before_first=f"{human}: ",
        before_question=f"{human}: ",
        after_question="###",
        header=f"{assistant}:",
        lead=" ",
        end="###",
        after_answer="",
        placement="front",
    )


_PROMPT = FormPrompt("vicuna", VARIANTS, _written)
render, stop, chat_template = _PROMPT.render, _PROMPT.stop, _PROMPT.chat_template
