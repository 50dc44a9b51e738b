"""How a checkpoint is spoken to: its prompt, and what follows from it for tokenizer and chat template."""

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from olhar.core.errors import UserError
from olhar.languages import language
from olhar.prompts import prompt

ENDS = ("</s>", "<|endoftext|>")  # of a text, in Llama-like and GPT-like tokenizers


@dataclass(frozen=True, slots=True)
class Spoken:
    """Which prompt the checkpoint was trained with; ``system`` only where it is not the language's own text.

    ``language`` is the prompt's (whose role words and system text it writes), not that of the questions.
    """

    prompt: str
    variant: str | None
    language: str
    system: str | None = None

    def other(self, name: str | None, code: str | None) -> "Spoken":
        """Another prompt (``NAME`` or ``NAME/VARIANT``), or the same in another language, with its own system text.

        Raises ``UserError`` for names that there are not.
        """
        if name is None and code is None:
            return self
        chosen, _, variant = name.partition("/") if name else (self.prompt, "", self.variant or "")
        found = Spoken(chosen, variant or None, language(code or self.language).code)
        prompt(found.prompt).stop(language(found.language), found.variant)  # raises for a variant that it has not
        return found

    def stop_ids(self, tokenizer: Tokenizer) -> list[int]:
        """Ids that end an answer: of the prompt's stop strings that are tokens, else of the end of a text.

        Raises ``UserError`` where the tokenizer knows neither.
        """
        stops = prompt(self.prompt).stop(language(self.language), self.variant)
        ids = [id for stop in stops if (id := tokenizer.token_to_id(stop)) is not None]
        ids = ids or [id for end in ENDS if (id := tokenizer.token_to_id(end)) is not None]
        if not ids:
            raise UserError(
                "the tokenizer does not know where an answer ends",
                f"{', '.join(map(repr, stops))} of the prompt {self.prompt!r}, or {' or '.join(ENDS)}",
                "use a tokenizer that knows one of these tokens, or choose another prompt",
            )
        return ids

    def chat_template(self, family: Any, settings: Any) -> str:
        """The jinja2 template that writes this prompt for transformers-style messages."""
        written: str = prompt(self.prompt).chat_template(
            language(self.language),
            self.variant,
            family.picture_text(settings),
            family.video_text(settings),
            system=self.system,
        )
        return written
