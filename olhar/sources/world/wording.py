"""Questions and answers put into the words of one language."""

from collections.abc import Mapping

from olhar.core.errors import UserError
from olhar.languages import Language, Scenes
from olhar.sources.world.nouns import Noun
from olhar.sources.world.questions import Question


class Wording:
    """The words of one language for the questions of the world, and for their answers.

    Raises ``UserError`` for a language that has none.
    """

    def __init__(self, language: Language) -> None:
        if language.scenes is None:
            raise UserError(
                f"the embedded world does not speak {language.name} yet",
                f"olhar/languages/{language.code}.py",
                "fill its field scenes, and the language's columns of olhar/sources/world/data/nouns.tsv",
            )
        self.scenes: Scenes = language.scenes
        self._truths = {True: language.yes[0], False: language.no[0]}
        self._forms: dict[str, Mapping[str, str]] = {}

    def question(self, question: Question) -> str:
        """The question's text; it begins with a capital letter."""
        forms = self.scenes.questions[question.skill]
        text = forms[int(question.form * len(forms))].format_map(self._slots(question))
        return text[:1].upper() + text[1:]

    def answer(self, question: Question) -> str:
        """The whole right answer."""
        scenes, answer = self.scenes, question.answer
        if isinstance(answer, bool):
            return self._truths[answer]
        if isinstance(answer, Noun):
            return self._noun(answer)["n"]
        if isinstance(answer, tuple):
            return ", ".join(self._noun(noun)["n"] for noun in answer) + "."
        if isinstance(answer, int):
            return scenes.quadrants[answer] if question.skill == "where" else self._number(answer, question.noun)
        if question.skill == "ocr":
            return " ".join(answer)
        if question.skill == "shape":
            return scenes.shapes[answer]["name"]
        return scenes.colours[answer] if question.skill == "col" else scenes.directions[answer]

    def _number(self, number: int, noun: Noun | None) -> str:
        """The number word; a language whose numbers agree with the noun gives ``number_1`` and so on with it."""
        plain = self.scenes.numbers[number - 1]
        return self._noun(noun).get(f"number_{number}", plain) if noun else plain

    def _slots(self, question: Question) -> dict[str, str]:
        slots = dict(self._noun(question.noun)) if question.noun else {}
        if question.other:
            slots["relation"] = self.scenes.relations[question.relation].format_map(self._noun(question.other))
        if question.figure:
            words = self.scenes.shapes[question.figure.shape]
            slots |= {"shape": words["name"], "the_shape": words["the_name"], "of_the_shape": words["of_the_name"]}
            slots["colour"] = self.scenes.colours[question.figure.colour]
        return slots

    def _noun(self, noun: Noun) -> Mapping[str, str]:
        if noun.cp not in self._forms:
            self._forms[noun.cp] = self.scenes.inflect(noun.row)
        return self._forms[noun.cp]
