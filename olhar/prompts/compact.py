"""The prompt of tiny models: one special token a role, no system text, many short questions about one scene.

``<|user|> question<|assistant|> answer</s>``. Images stand before the whole turn, nothing between them, so
that all questions about a scene share one prefix.
"""

from olhar.languages import Language
from olhar.prompts._form import Form, FormPrompt

VARIANTS = ("tokens",)
SINGLE_QUESTIONS = True  # what its models are trained on; a chat asks each question anew


def _written(language: Language, variant: str) -> Form:
    return Form(
        system=None,
        before_system="",
        after_system="",
        before_first="<|user|> ",
        before_question="<|user|> ",
        after_question="",
        header="<|assistant|>",
        lead=" ",
        end="</s>",
        after_answer="",
        placement="outside",
    )


_PROMPT = FormPrompt("compact", VARIANTS, _written)
render, stop, chat_template = _PROMPT.render, _PROMPT.stop, _PROMPT.chat_template
