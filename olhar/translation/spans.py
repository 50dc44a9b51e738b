"""Where a text holds what no engine may touch: code, math, tags, addresses, coordinates, quotations, letters, numbers.

Patterns are tried at each place in the order below; the first that matches there wins, and the search goes on behind
it. What holds for any text in any language stands in ``olhar.core.fragile``; here are the rest, and the patterns that
are made of a language's words and quotation marks.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, cast

from olhar.core import fragile
from olhar.languages import Language
from olhar.languages import language as language_of

Kind = Literal[
    "media", "code", "math", "tag", "link", "address", "coordinates", "quote", "letter", "number", "name",
    "emphasis", "term", "instruction",
]  # fmt: skip

LETTERS = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u03ff\u0400-\u052f\u1e00-\u1eff"  # of alphabets
ALPHABETIC = LETTERS + "_"  # what may stand in a word of an alphabet or a program
MEDIA = r"<(?:image|video|audio)>"
LONGEST_QUOTE = 200  # characters; beyond it is no lettering but speech

_FENCE = r"^[ \t]*(?P<_fence>```|~~~)(?!.*(?P=_fence)).*\Z|~~~.*?~~~"  # one that nothing closes runs to the end
_BLOCK = r"```.*?```|(?<!`)`[^`\n]+`(?!`)|(?<!`)``[^`\n][^\n]*?``(?!`)"  # a lone backtick opens no block
_LATEX = (
    r"\\begin\{(?P<_in>\w+\*?)\}.{0,2000}?\\end\{(?P=_in)\}",
    r"\\[nrt](?![a-z])",  # a newline that was written as two characters
    r"\\[A-Za-z]+(?:\[[^\]\n]*\])?(?:\{[^{}\n]*\})*",
)
_CODE = (
    r"\{[^{}\n]{1,200}\}|%\(\w+\)[sdf]|%[A-Za-z_]\w*%",  # templates, JSON on one line
    r"\b[A-Za-z_][\w.]{0,60}\((?:[^()\n]{0,200}[\"'=,\d][^()\n]{0,200})?\)",  # a call; "person(s)" is none
    r"\b[A-Za-z]\w*_\w+\b",
)
_TAG = r"\[/?INST\]|<</?SYS>>|&(?:[A-Za-z]{2,8}|\#\d{1,6});"
_LINK = r"(?<=\S)\]\((?:https?://|www\.|[/#.])[^()\s]*(?:\([^()\s]*\)[^()\s]*)?\)"  # what follows a link's text
_SITE = (
    r"(?<![\w@.])(?:[A-Za-z0-9-]+\.)+(?i:com|org|net|edu|gov|io|info|tv|br|vn|cn|uk|de|fr|jp)\b(?:/[!-;=?-~]*[\w/])?"
)
_URL = r"https?://(?:[\w\-.~:/?\#@!$&'*+,;=%]|\([^()\s]*\))*(?:[\w\-~/\#@$&*+=%]|\([^()\s]*\))"
_FIGURES = r"[ \t\d.,;+-]"
_LIST = rf"\[(?:{_FIGURES}|\[{_FIGURES}*\]|\({_FIGURES}*\))*\]|\({_FIGURES}*\)"
_COORDINATES = (
    rf"\[(?=[^\n]{{0,400}}?\d)(?:{_FIGURES}|{_LIST})*\]",
    rf"\((?=[^)\n]{{0,200}}\d){_FIGURES}{{1,200}}\)",
)
_NAME = (
    r"(?<![\w/.-])[\w-]+(?:\.[\w-]+)*\.(?:jpe?g|png|gif|bmp|svg|webp|pdf|txt|csv|json|xml|html?|py|js|css|md|ya?ml|zip"
    r"|mp[34]|docx?|xlsx?|pptx?)\b",
    r"(?<![\w-])(?=[A-Z0-9-]*\d)(?=[A-Z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*(?![\w-])",  # EL2, COVID-19
    r"(?<!\w)[#@][A-Za-z_]\w*",
    r"\b[a-z]+[A-Z]\w*\b",  # iPhone, camelCase
)
_AMOUNT = r"(?:[A-Z]{1,3})?[$€£¥₫₹][ ]?\d(?:[\d.,]*\d)?%?"
_DEGREES = r"(?<!\w)\d+(?:[.,]\d+)?\s?°\s?(?:[CFK]\b)?"
# Not part of a word: "1st", "3-year-old" and "1920s" are words of the language. The group is atomic, so that "3.5kg"
# yields no "3".
_NUMBER = (
    rf"(?<![{ALPHABETIC}\d])(?<![{ALPHABETIC}]-)(?<!\d[.,:/%-])"
    rf"(?>\d(?:[\d.,:/%-]*[\d%]|%)?)(?![{ALPHABETIC}\d]|-[{ALPHABETIC}])"
)
_PAIRED = re.compile(  # emphasis in markdown
    rf"(?<![{ALPHABETIC}\d*~])(?P<mark>\*{{1,3}}|_{{1,3}}|~~)(?=[^\s*_~])"
    rf"[^\n]+?(?<=[^\s*_~])(?P=mark)(?![{ALPHABETIC}\d*~])"
)
_ANY_NUMBER = re.compile(rf"(?P<alone>{_NUMBER})|\d(?:[\d.,:/%-]*[\d%])?")


@dataclass(frozen=True, slots=True)
class Span:
    """``text`` comes back in the place of the characters [start, end): the same, or what a glossary says."""

    start: int
    end: int
    kind: Kind
    text: str


def find(text: str, language: Language, quotes: bool = True) -> list[Span]:
    """The protected spans of a text in this language, in order, none overlapping; ``quotes``: quotations too."""
    return list(_found(text, language.code, quotes))


@lru_cache(maxsize=4096)  # a text is looked at when it is taken apart, and again by each check of what came of it
def _found(text: str, code: str, quotes: bool) -> list[Span]:
    language = language_of(code)
    words = language.translation
    marks = words.quotes if quotes else ()
    spans = scanned(text, marks, words.elisions) if _sign(marks).search(text) else []
    return with_more(spans, (*_letters(text, language), *_openings(text, spans), *_emphasis(text)))


def scanned(text: str, quotes: tuple[tuple[str, str], ...], elisions: frozenset[str]) -> list[Span]:
    """What the patterns find."""
    return [
        Span(match.start(), match.end(), cast(Kind, str(match.lastgroup).partition("_")[0]), match.group())
        for match in _scanner(quotes, elisions).finditer(text)
    ]


@cache
def _sign(quotes: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """Something of which each pattern needs one: most sentences hold none, and looking for it costs a hundredth."""
    opening = "".join(re.escape(mark) for mark, _ in quotes if mark != "'")
    apostrophe = r"|(?<!\w)'" if any(mark == "'" for mark, _ in quotes) else ""
    return re.compile(rf"[`~\\{{}}%<>\[\]()&$€£¥₫₹°#@\d{opening}]|\.\w|[a-z][A-Z]|\w_\w|www\.|:/{apostrophe}")


def with_more(spans: Iterable[Span], more: Iterable[Span]) -> list[Span]:
    """All spans in order; one of ``more`` that overlaps an earlier one is left out."""
    taken = list(spans)
    for span in more:
        if not any(span.start < other.end and other.start < span.end for other in taken):
            taken.append(span)
    return sorted(taken, key=lambda span: span.start)


def numbers(text: str) -> list[tuple[str, bool]]:
    """Every number, and whether it stands by itself: "1st" and "5kg" may be written otherwise in another language."""
    return [(match.group(), match.lastgroup == "alone") for match in _ANY_NUMBER.finditer(text)]


@cache
def _scanner(quotes: tuple[tuple[str, str], ...], elisions: frozenset[str]) -> re.Pattern[str]:
    general = fragile.PATTERNS
    union: tuple[tuple[Kind, Iterable[str]], ...] = (
        ("media", (MEDIA,)),
        ("code", (_BLOCK, _FENCE)),
        ("math", (general["math"], *_LATEX)),
        ("tag", (general["tag"], _TAG)),
        ("link", (_LINK,)),
        ("address", (_URL, general["address"], _SITE)),
        ("coordinates", _COORDINATES),
        ("quote", [_quotation(*pair, elisions) for pair in quotes]),
        ("code", _CODE),
        ("name", _NAME),
        ("number", (_AMOUNT, _DEGREES, _NUMBER)),
    )
    groups = [f"(?P<{kind}_{n}>{'|'.join(patterns)})" for n, (kind, patterns) in enumerate(union) if patterns]
    return re.compile("|".join(groups), re.DOTALL | re.MULTILINE)


def _quotation(opening: str, closing: str, elisions: frozenset[str]) -> str:
    """The pattern of one kind of quotation on one line, with a quotation of the same kind inside at most once deep."""
    if opening == closing == '"':
        inner = r'(?<=[\s(])"(?=[^\s"])[^"\n]*?(?<=[^\s"])"'
        strict = rf'(?<![\d"])"(?=[^\s"])(?:[^"\n]|{inner}){{1,{LONGEST_QUOTE}}}?(?<!\s)"(?![A-Za-z\d])'
        loose = rf'(?:(?<=[\s(])|^)"(?=[^\s"])[^"\n]{{1,{LONGEST_QUOTE}}}"'  # a blank before the closing mark
        spaced = r'(?:(?<=\s)|^)"\s[^"\n]{1,60}\s"(?![A-Za-z\d])'
        return f"{strict}|{loose}|{spaced}"
    if closing in "'\u2019":
        return _apostrophic(opening, closing, elisions)
    own = f"{re.escape(opening)}{re.escape(closing)}\n"
    nested = f"{re.escape(opening)}[^{own}]*{re.escape(closing)}"
    return f"{re.escape(opening)}(?:[^{own}]|{nested}){{1,{LONGEST_QUOTE}}}{re.escape(closing)}"


def _apostrophic(opening: str, closing: str, elisions: frozenset[str]) -> str:
    """Quotations whose closing mark is also the apostrophe. It closes none between two letters (Bill's Diner); behind
    a plural (the dogs' tails) only where nothing else closes."""
    elided = "|".join(map(re.escape, sorted(elisions))) or r"(?!)"
    start = rf"(?<![\w'\u2019.,!?;)\]]){opening}(?=\S)(?!(?:{elided})\b|\d0s\b)"
    plain = rf"[^{opening}{closing}\n]|(?<=\w){closing}(?=\w)"
    plural = rf"(?<=s){closing}(?=\s[a-z])"
    size = f"{{1,{LONGEST_QUOTE}}}?"
    end = rf"(?<!\s){closing}(?!\w)"
    return rf"{start}(?:{plain}|{plural}){size}(?!{plural}){end}|{start}(?:{plain}){size}{end}"


def _letters(text: str, language: Language) -> Iterator[Span]:
    """Option letters in running text: "(B)", "the answer is B", "option B"."""
    cues = (*language.answer_cues, *language.translation.labelled)
    for match in _letter_scanner(tuple(cues), language.options).finditer(text):
        if match["bracketed"]:
            yield Span(match.start(), match.end(), "letter", match.group())
        elif not _is_word(match, text, language):
            yield Span(match.start("letter"), match.end("letter"), "letter", match["letter"])


@cache
def _letter_scanner(cues: tuple[str, ...], options: tuple[str, ...]) -> re.Pattern[str]:
    letters = "".join(options)
    cue = "|".join(re.escape(each) for each in sorted(cues, key=len, reverse=True))
    return re.compile(
        rf"(?P<bracketed>(?<!\w)\([{letters}{letters.lower()}]\))"
        rf"|(?<![{ALPHABETIC}])(?i:{cue})(?P<colon>[ ]*[:\uff1a])?[ ]*[*(\"'\u201c]{{0,3}}"
        rf"(?<![{ALPHABETIC}])(?P<letter>[{letters}])(?![{ALPHABETIC}\d'\u2019-])"
    )


def _is_word(match: re.Match[str], text: str, language: Language) -> bool:
    """Whether the letter rather begins a phrase: "the answer is I think", "Answer: A dog"."""
    letter = match["letter"]
    phrase = re.match(rf"[ ]+[{ALPHABETIC}]", text[match.end() :])
    unsure = language.translation.capitals | (language.articles if match["colon"] else frozenset())
    return bool(phrase) and not unsure.isdisjoint((letter, letter.lower()))


def _openings(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The bracket before a link's text, with the exclamation mark of an image."""
    for span in spans:
        if span.kind == "link":
            start = text.rfind("[", 0, span.start)
            if start >= 0 and not re.search(r"[\]\n]", text[start : span.start]):
                start, end = start - (text[start - 1 : start] == "!"), start + 1
                yield Span(start, end, "link", text[start:end])


def _emphasis(text: str) -> Iterator[Span]:
    for match in _PAIRED.finditer(text):
        mark = match["mark"]
        yield Span(match.start(), match.start() + len(mark), "emphasis", mark)
        yield Span(match.end() - len(mark), match.end(), "emphasis", mark)
