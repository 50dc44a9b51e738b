"""Every turn is in the sample's language, as ``olhar/languages/_identify.py`` tells; quotations are left out."""

from collections.abc import Iterator, Mapping

from olhar.checks._check import Check, prose
from olhar.core.types import Finding, Sample
from olhar.languages import Language
from olhar.languages import language as language_of
from olhar.languages._identify import identify, main_script

NAME = "language"
ADVICE: Mapping[str, str] = {
    "other language": "translate what is quoted, or give the data set the language it is in",
    "other script": "translate what is quoted, or remove the record",
}
LETTERS = 12  # fewest of another script that are more than a name or a sign


def start(*, words: float = 6) -> Check:
    """``words``: a turn with fewer is read together with the others of its sample."""

    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        texts = [prose(turn.text, language) for turn in sample.turns]
        long = [(number, text) for number, text in enumerate(texts, start=1) if len(text.split()) >= words]
        for number, text in long or [(0, " ".join(texts))]:
            where = f"turn {number}" if number else "the sample"
            if message := _message(text, language, where):
                yield Finding(sample.id, NAME, "warning", message)

    return check


def _message(text: str, language: Language, where: str) -> str:
    script = main_script(text)
    if script is not None and script not in language.scripts and sum(map(str.isalpha, text)) >= LETTERS:
        return f"other script: {where} is mostly {script}, which is not how {language.name} is written"
    code = identify(text)
    if code is None or code == language.code:
        return ""
    return f"other language: {where} reads as {language_of(code).name}, not {language.name}"
