"""The prompts of Llama 2 and Mistral: ``[INST] question [/INST] answer </s>``.

``llava`` puts the system text into the first instruction and ``<s>`` before every later one; ``mistral`` has
neither. Images stand in front of their turn's text, each on a line of its own.
"""

from olhar.languages import Language
from olhar.prompts._form import Form, FormPrompt

VARIANTS = ("llava", "mistral")


def _written(language: Language, variant: str) -> Form:
    with_system = variant == "llava"
    return Form(
        system=language.system["vision"] if with_system else None,
        before_system="[INST] <<SYS>>\n",
        after_system="\n<</SYS>>\n\n",
        before_first="" if with_system else "[INST] ",
        before_question="<s>[INST] " if with_system else "[INST] ",
        after_question=" [/INST]",
        header="",
        lead=" ",
        end=" </s>",
        after_answer="",
        placement="front",
    )


_PROMPT = FormPrompt("llama2", VARIANTS, _written)
render, stop, chat_template = _PROMPT.render, _PROMPT.stop, _PROMPT.chat_template
