"""How an answer is generated: what a person can set, checked, and as transformers takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from olhar.core.errors import UserError

FIX = "for example: max_new_tokens=128, temperature=0.7, top_p=0.9, top_k=50, beams=3, repetition_penalty=1.2, seed=1"


@dataclass(frozen=True, slots=True)
class Generation:
    """How to generate. Raises ``UserError`` for values that mean nothing, alone or together.

    max_new_tokens: at most so many tokens an answer, its end token among them; 1 or more.
    temperature: 0 takes the most probable token at every step; above it tokens are drawn, more evenly the higher.
    top_p: draw among the fewest tokens whose probabilities sum to this; in (0, 1].
    top_k: draw among so many tokens; 1 or more.
    beams: how many continuations are followed side by side (beam search); 1 or more, and 1 where tokens are drawn.
    repetition_penalty: divides the scores of tokens already in the answer, never of those in the prompt
        (Keskar et al. 2019, arXiv:1909.05858, section 4.1); above 0, and 1 changes nothing.
    seed: of the drawing; 0 or more, None for another answer every time.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    beams: int = 1
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "top_k", "beams"):
            self._check(name, int, lambda value: value >= 1, "a whole number from 1")
        self._check("seed", int, lambda value: 0 <= value < 2**63, "a whole number from 0")
        self._check("temperature", float, lambda value: 0 <= value <= 100, "a number from 0 to 100")
        self._check("top_p", float, lambda value: 0 < value <= 1, "a number above 0, at most 1")
        self._check("repetition_penalty", float, lambda value: 0 < value <= 100, "a number above 0, at most 100")
        if self.temperature and self.beams > 1:
            raise _refused("beams and temperature", "beam search draws no tokens", "set beams=1 or temperature=0")
        limited = self.top_k is not None or (self.top_p is not None and self.top_p < 1)
        if limited and not self.temperature:
            raise _refused("top_p, top_k", "at temperature 0 no token is drawn", "set a temperature too, or neither")

    def _check(self, name: str, kind: type, fits: Any, wanted: str) -> None:
        value = getattr(self, name)
        optional = next(field.default for field in fields(self) if field.name == name) is None
        if value is None and optional:
            return
        right = isinstance(value, (int, kind)) and not isinstance(value, bool)
        if not right or not fits(value):
            raise _refused(name, f"{value!r} is not {wanted}", FIX)

    def changed(self, settings: Mapping[str, str]) -> "Generation":
        """With values as a person writes them: ``{"temperature": "0.7", "seed": "none"}``."""
        kinds = {field.name: field.type for field in fields(self)}
        values: dict[str, Any] = {}
        for name, text in settings.items():
            if name not in kinds:
                raise _refused(name, "there is no such option", f"there are: {', '.join(kinds)}")
            values[name] = _value(name, text, whole="int" in str(kinds[name]))
        return replace(self, **values)

    def options(self) -> dict[str, Any]:
        """Keyword arguments of transformers' ``generate`` with ``inputs_embeds``, for any number of rows."""
        from transformers import LogitsProcessorList

        return {
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.beams,
            "do_sample": False,
            "logits_processor": LogitsProcessorList(self._processors()),
        }

    def _processors(self) -> list[Any]:
        """What changes the scores, transformers' own classes in transformers' order; ``Drawing`` leaves one token.

        The penalty sees what was generated only: where a prompt is given as embeddings, its ids are unknown.
        """
        from transformers import (
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        from olhar.inference.drawing import Drawing

        steps: list[Any] = []
        if self.repetition_penalty != 1:
            steps.append(RepetitionPenaltyLogitsProcessor(float(self.repetition_penalty)))
        if not self.temperature:
            return steps
        steps.append(TemperatureLogitsWarper(float(self.temperature)))
        if self.top_k is not None:
            steps.append(TopKLogitsWarper(self.top_k))
        if self.top_p is not None and self.top_p < 1:
            steps.append(TopPLogitsWarper(float(self.top_p)))
        return [*steps, Drawing(self.seed)]


def _value(name: str, text: str, whole: bool) -> int | float | None:
    if text.lower() in ("none", ""):
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        raise _refused(name, f"{text!r} is not a {'whole ' if whole else ''}number", FIX) from error


def _refused(name: str, what: str, fix: str) -> UserError:
    return UserError(f"{name}: {what}", "the options of generation", fix)
