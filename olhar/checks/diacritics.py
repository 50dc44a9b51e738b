"""Words are written with their diacritics: "nao" and "voce" show text that lost them on its way.

Two signs: words without the diacritics that they need (``never_bare`` and ``endings`` of the language), and a text in
which far fewer words hold such a letter than is usual. Letters that belong to no word are not this check's business.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

from olhar.checks._check import Check, prose
from olhar.core.types import Finding, Sample
from olhar.languages import Language
from olhar.languages import language as language_of
from olhar.languages._identify import identify

NAME = "diacritics"
ADVICE: Mapping[str, str] = {
    "bare words": "write what is quoted with its diacritics; if the whole file is so, take it from an older copy",
    "few letters": "look whether the diacritics were lost on the way, and take the text from an older copy",
}
_WORD = re.compile(r"[^\W\d_]+")
LONGER = 2  # letters before an ending, at least


def start(*, bare: float = 0.2, few: float = 0.1, expected: float = 10) -> Check:
    """``bare``: the share of bare ones among the words that need diacritics, from which on it is told.
    ``few``: the share of the usual letters below which it is told, where at least ``expected`` are usual."""

    def check(sample: Sample, parent: Sample | None, language: Language) -> Iterator[Finding]:
        if not language.checks.never_bare and not language.checks.accented:
            return
        for number, turn in enumerate(sample.turns, start=1):
            text = prose(unicodedata.normalize("NFC", turn.text), language)
            if message := _bare_words(text, language, bare) or _few_letters(text, language, few, expected):
                yield Finding(sample.id, NAME, "warning", f"{message} in turn {number}")

    return check


def _bare_words(text: str, language: Language, most: float) -> str:
    words = [word.lower() for word in _WORD.findall(text)]
    bare = [word for word in words if _whole(word, language.code)]
    whole = sum(word in language.checks.never_bare or word.endswith(language.checks.endings) for word in words)
    if not bare or len(bare) < most * (len(bare) + whole):
        return ""
    told = ", ".join(f"{word!r} ({_whole(word, language.code)})" for word in dict.fromkeys(bare[:3]))
    return f"bare words: {told}"


def _few_letters(text: str, language: Language, share: float, fewest: float) -> str:
    words = [word.lower() for word in _WORD.findall(text)]
    usual = len(words) * language.checks.accented
    holding = sum(not language.checks.letters.isdisjoint(word) for word in words)
    if usual < fewest or holding > share * usual or identify(text) not in (language.code, None):
        return ""
    return f"few letters: {holding} of {len(words)} words hold one beyond a to z, where about {usual:.0f} are usual,"


@lru_cache(maxsize=1 << 16)
def _whole(word: str, code: str) -> str:
    """How a bare word is written with its diacritics, or "…" and how it ends; "" for any other word."""
    words, endings = _bare_forms(code)
    ending = next((bare for bare in endings if word.endswith(bare) and len(word) >= len(bare) + LONGER), None)
    return words.get(word) or (f"\u2026{endings[ending]}" if ending else "")


@cache
def _bare_forms(code: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Bare form -> the word, and bare form -> the ending."""
    checks = language_of(code).checks
    return {_bare(word): word for word in checks.never_bare}, {_bare(ending): ending for ending in checks.endings}


def _bare(word: str) -> str:
    return "".join(map(_plain, word))


def _plain(letter: str) -> str:
    """By its name: LATIN SMALL LETTER A WITH TILDE becomes LATIN SMALL LETTER A."""
    name, diacritic, _ = unicodedata.name(letter, "").partition(" WITH ")
    return unicodedata.lookup(name) if diacritic else letter
