"""Which language a text is in, told by script, stopwords and letters; short or mixed texts are left undecided.

Each word is weighed by two facts: whether it is a stopword of a language, and whether it holds a letter beyond a to z
(and then, whether the language has it). Their likelihoods multiply, as in a naive Bayes model. Only the languages of
this folder are known: a text in another one counts as its nearest neighbour's, or as nobody's where few of its words
are stopwords anywhere.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from math import log

from olhar.core import choices
from olhar.languages import Language, language

STOPWORDS = 0.4  # share of running words that are stopwords: about the same in all languages here
ANY_OTHER = 1e-3  # how likely a given word is that is no stopword
FOREIGN = 1e-3  # share of words with a letter that the language does not have
CERTAIN = log(100)  # how much likelier the best language must be than the next
FEWEST_WORDS = 4
FEWEST_OWN = 0.15  # share of the words that are stopwords of the language or hold one of its letters

_WORD = re.compile(r"[^\W\d_]+")
_NAMED_OTHERWISE = {"CJK": "Han"}  # how the names of a script's characters begin -> the script


def identify(text: str) -> str | None:
    """The code of the language that the text is in; None: undecided, or a language that is not known."""
    text = unicodedata.normalize("NFC", text)
    script = main_script(text)
    candidates = [each for each in _known() if script in each.scripts]
    words = _words(text)
    if len(candidates) == 1:
        return candidates[0].code
    if not candidates or len(words) < FEWEST_WORDS:
        return None
    ranked = sorted(((_likelihood(words, each), each.code) for each in candidates), reverse=True)
    if len(ranked) > 1 and ranked[0][0] - ranked[1][0] < CERTAIN:
        return None
    best = language(ranked[0][1])
    own = sum(word in best.stopwords or not (word.isascii() or _foreign(word, best)) for word in words)
    return best.code if own >= FEWEST_OWN * len(words) else None


def main_script(text: str) -> str | None:
    """The Unicode script of most of the text's letters; None: there are no letters."""
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    return counts.most_common(1)[0][0] if counts else None


@cache
def _script(letter: str) -> str:
    first = unicodedata.name(letter, "UNKNOWN").split()[0]
    return _NAMED_OTHERWISE.get(first, first.capitalize())


@cache
def _known() -> tuple[Language, ...]:
    return tuple(language(code) for code in choices.names("languages"))


def _words(text: str) -> list[str]:
    """The words in small letters, without those that begin with a capital (names) unless a language knows them."""
    words = _WORD.findall(text)
    return [word.lower() for word in words if not word[0].isupper() or word.lower() in _all_stopwords()]


@cache
def _all_stopwords() -> frozenset[str]:
    return frozenset().union(*(each.stopwords for each in _known()))


def _likelihood(words: list[str], spoken: Language) -> float:
    return sum(_word_likelihood(word, spoken) for word in words)


def _word_likelihood(word: str, spoken: Language) -> float:
    """The logarithm of how likely one word of a text in this language is this one."""
    if word in spoken.stopwords:
        return log(STOPWORDS / len(spoken.stopwords))
    if word.isascii():
        share = 1 - spoken.checks.accented
    else:
        share = FOREIGN if _foreign(word, spoken) else spoken.checks.accented
    return log((1 - STOPWORDS) * share * ANY_OTHER)


def _foreign(word: str, spoken: Language) -> bool:
    """Whether the word holds a letter that the language does not have."""
    return any(not letter.isascii() and letter not in spoken.checks.letters for letter in word)
