"""The prompt of ViTucano: system text, role words with colons, ``</s>`` after every answer.

``train`` is the form it was trained and evaluated with. ``chat`` is the form its chat function writes, with a
line break before each role word as in text-only Tucano; it does not match the training form.
Images stand in front of their turn's text, each on a line of its own.
"""

from olhar.languages import Language
from olhar.prompts._form import Form, FormPrompt

VARIANTS = ("train", "chat")


def _written(language: Language, variant: str) -> Form:
    before = {"train": "", "chat": "\n "}[variant]
    user, assistant = language.roles["user"], language.roles["assistant"]
    return Form(
        system=language.system["assistant"],
        before_system="",
        after_system=" ",
        before_first=f"{before}{user}: ",
        before_question=f"{before}{user}: ",
        after_question=" ",
        header=f"{before}{assistant}:",
        lead=" ",
        end="</s>",
        after_answer="",
        placement="front",
    )


_PROMPT = FormPrompt("tucano", VARIANTS, _written)
render, stop, chat_template = _PROMPT.render, _PROMPT.stop, _PROMPT.chat_template
