"""What is translated without an engine: closed answers, option letters, the usual instructions, the glossary."""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from olhar.languages import Language, language
from olhar.translation.spans import ALPHABETIC, Span

YES_NO = frozenset({"yes", "no"})
READ_TO_THE_END = "ocr_tokens"  # the instruction whose line goes on with text of the image

_ANSWER = re.compile(r"(?P<words>.*?\w)\s*(?P<stop>[.!\u3002\uff01]?)", re.DOTALL)
_BEFORE_INSTRUCTION = re.compile(r"(?:\A|\n|[.?!:;)>\"\u201d\u3002\uff1f\uff01\uff1a])\s*\Z")


def short_answer(text: str, source: Language, target: Language, only: frozenset[str] | None = None) -> str | None:
    """The translation of a closed answer such as "yes", "Red." or "two", its case and last stop kept; else None.

    only: keys of ``Translation.short_answers`` that are looked for; None: all.
    """
    match = _ANSWER.fullmatch(text) if source.code != target.code else None
    key = _keys(source.code).get(match["words"].lower()) if match else None
    if match is None or key is None or (only is not None and key not in only):
        return None
    words = target.translation.short_answers[key][0]
    stop = target.translation.stop if match["stop"] in (".", "\u3002") else match["stop"]
    return in_case_of(match["words"], words) + stop


def in_case_of(model: str, words: str) -> str:
    """``words`` in capitals, or with a capital, as ``model`` has it."""
    if len(model) > 1 and model.isupper():
        return words.upper()
    return words[:1].upper() + words[1:] if model[:1].isupper() else words


def joined_letters(text: str, source: Language, target: Language) -> str | None:
    """Several option letters, "A and C", with the word between them translated; else None."""
    joiners = dict(zip(source.translation.joiners, target.translation.joiners, strict=True))
    letter = f"[{''.join(source.options)}]"
    between = rf"\s*(?:[,&/\u3001]|(?:,\s*)?(?:{'|'.join(map(re.escape, joiners))}))\s*"
    if not re.fullmatch(rf"{letter}(?:{between}{letter})+[.\u3002]?", text):
        return None
    word = re.compile(rf"(?<![{ALPHABETIC}])(?:{'|'.join(map(re.escape, joiners))})(?![{ALPHABETIC}])")
    return word.sub(lambda match: joiners[match.group()], text)


def instructions(text: str, source: Language, target: Language) -> Iterator[Span]:
    """Where the usual instructions stand as sentences of their own; ``Span.text`` is the reviewed translation."""
    if source.code == target.code:
        return
    for match in _instruction_scanner(source.code).finditer(text):
        if not _BEFORE_INSTRUCTION.search(text[max(0, match.start() - 20) : match.start()]):
            continue
        key, last = str(match.lastgroup), match.group()[-1]
        stop = target.translation.stop if last in ".\u3002" else last if last in ":!" else ""
        said = target.translation.instructions[key][0] + stop
        end = match.end()
        if key == READ_TO_THE_END:
            end = text.find("\n", end) if "\n" in text[end:] else len(text)
        yield Span(match.start(), end, "instruction", said + text[match.end() : end])


def terms(text: str, glossary: Mapping[str, str]) -> Iterator[Span]:
    """Where terms of a glossary stand as whole words, longer ones first; ``Span.text`` is the translation."""
    if not glossary:
        return
    translations = {term.lower(): said for term, said in glossary.items()}
    for match in _term_scanner(tuple(glossary)).finditer(text):
        exact = glossary.get(match.group())
        said = exact if exact is not None else in_case_of(match.group(), translations[match.group().lower()])
        yield Span(match.start(), match.end(), "term", said)


@cache
def _keys(code: str) -> Mapping[str, str]:
    """Every form of every closed answer -> its key."""
    return {form: key for key, forms in language(code).translation.short_answers.items() for form in forms}


@cache
def _instruction_scanner(code: str) -> re.Pattern[str]:
    groups = []
    for key, forms in language(code).translation.instructions.items():
        either = "|".join(re.escape(form).replace("'", "['\u2019]") for form in forms)
        groups.append(f"(?P<{key}>(?:{either})[.:!\u3002]?)")
    return re.compile(rf"(?i:{'|'.join(groups)})(?=\s|\Z)")


@cache
def _term_scanner(terms: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    return re.compile(rf"(?<![{ALPHABETIC}\d])(?:{either})(?![{ALPHABETIC}\d])", re.IGNORECASE)
