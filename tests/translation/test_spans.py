"""What is protected in real kinds of text, and what is not."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from olhar.languages import Language, language
from olhar.translation import spans
from olhar.translation.spans import Span, find, numbers

EN, PT, ZH = language("en"), language("pt"), language("zh")

CASES: list[tuple[str, list[tuple[str, str]]]] = [
    # prices against inline math
    ("It costs $5 and $6, or US$ 20.50.", [("number", "$5"), ("number", "$6"), ("number", "US$ 20.50")]),
    ("From $5-$10 a head.", [("number", "$5"), ("number", "$10")]),
    ("Solve $x^2 + y$ for $x$.", [("math", "$x^2 + y$"), ("math", "$x$")]),
    ("Let \\(a\\), \\[b\\] and \\frac{1}{2} be.", [("math", "\\(a\\)"), ("math", "\\[b\\]"), ("math", "\\frac{1}{2}")]),
    ("$$a = b\n+ c$$", [("math", "$$a = b\n+ c$$")]),
    ("\\begin{align}a\\\\b\\end{align}", [("math", "\\begin{align}a\\\\b\\end{align}")]),
    ("First\\nSecond", [("math", "\\n")]),
    # apostrophes and quotations
    ("Bill's Diner and the dogs' tails", []),
    ("Bill's sign says 'GO HOME' twice.", [("quote", "'GO HOME'")]),
    ("He reads 'Before... I don't feel good, am I?' aloud.", [("quote", "'Before... I don't feel good, am I?'")]),
    ("the 'Friends' and 'Cheers' of the '90s", [("quote", "'Friends'"), ("quote", "'Cheers'")]),
    ("rock 'n' roll, 'em all, the players' shoes", []),
    ("‘don’t’ and “He said ‘stop’. Now.” end", [("quote", "‘don’t’"), ("quote", "“He said ‘stop’. Now.”")]),
    ('He wrote "She yelled "STOP" loudly" there.', [("quote", '"She yelled "STOP" loudly"')]),
    ('5\'10" tall, a 12" and a 14" pizza', [("number", "5"), ("number", "10"), ("number", "12"), ("number", "14")]),
    ('It says " STOP ".', [("quote", '" STOP "')]),
    ('a "b" and "c d"', [("quote", '"b"'), ("quote", '"c d"')]),
    # tags, marks of chat formats, entities
    ("see <image> or </ref>", [("media", "<image>"), ("tag", "</ref>")]),
    ("[INST] hi [/INST]<|im_end|>&nbsp;", [("tag", t) for t in ("[INST]", "[/INST]", "<|im_end|>", "&nbsp;")]),
    ("1 < 2 and 3 > 2", [("number", digit) for digit in "1232"]),
    # addresses, with the text around them
    ("See https://en.wikipedia.org/wiki/A_(film).", [("address", "https://en.wikipedia.org/wiki/A_(film)")]),
    ("(https://x.org/a?b=1), ok", [("address", "https://x.org/a?b=1")]),
    ("Wing Watchers.com or a.b@c.org", [("address", "Watchers.com"), ("address", "a.b@c.org")]),
    # coordinates
    ("at [[1, 2], [3, 4]] and (0.5, 0.75)", [("coordinates", "[[1, 2], [3, 4]]"), ("coordinates", "(0.5, 0.75)")]),
    ("[0.345, 0.59, 0.594, 0.679]", [("coordinates", "[0.345, 0.59, 0.594, 0.679]")]),
    # code
    ("use `a b` or print(x, 1) or my_var", [("code", "`a b`"), ("code", "print(x, 1)"), ("code", "my_var")]),
    ("the person(s) and f (x)", []),
    ("```py\nx\n``` after", [("code", "```py\nx\n```")]),
    ("open\n```py\nx y z", [("code", "```py\nx y z")]),
    ("Hi {name}, %user% has 100% now", [("code", "{name}"), ("code", "%user%"), ("number", "100%")]),
    # numbers: by themselves, not as parts of words
    ("3 of 1,234.5 at 10:30, 50%.", [("number", n) for n in ("3", "1,234.5", "10:30", "50%")]),
    ("the 1st 3-year-old of the 1920s with 3.5kg", []),
    ("EL2 and COVID-19", [("name", "EL2"), ("name", "COVID-19")]),
    ("25 °C", [("number", "25 °C")]),
    ("iPhone photo.jpg #tag @me", [("name", n) for n in ("iPhone", "photo.jpg", "#tag", "@me")]),
    # letters of options
    ("The answer is B.", [("letter", "B")]),
    ("Answer: A dog", []),
    ("Answer: A", [("letter", "A")]),
    ("My answer is I think so", []),
    ("either (A) or option C", [("letter", "(A)"), ("letter", "C")]),
    # emphasis and links
    ("**Big** and *it*, 2*3*4", [("emphasis", "**")] * 2 + [("emphasis", "*")] * 2 + [("number", n) for n in "234"]),
    ("[here](http://a.b/c)", [("link", "["), ("link", "](http://a.b/c)")]),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text[:30] for text, _ in CASES])
def test_what_is_protected(text: str, expected: list[tuple[str, str]]) -> None:
    spans = find(text, EN)
    assert [(span.kind, span.text) for span in spans] == expected
    assert all(text[span.start : span.end] == span.text for span in spans)


def test_quotations_only_where_they_are_kept() -> None:
    assert [span.text for span in find('a "b 3" c', EN, quotes=False)] == ["3"]


def test_speech_is_no_lettering() -> None:
    assert find(f'He said "{"very " * 60}long."', EN) == []


def test_each_language_has_its_own_marks_and_words() -> None:
    assert [span.text for span in find("A resposta é B. Diz «PARE».", PT)] == ["B", "«PARE»"]
    assert [span.text for span in find("正确答案是B，写着「停」和“走”。有3只猫。", ZH)] == ["B", "「停」", "“走”", "3"]
    assert [span.text for span in find("The answer is B.", PT)] == []


def test_numbers_know_which_stand_by_themselves() -> None:
    assert numbers("3 of the 1920s, 5kg, 3.5 m") == [("3", True), ("1920", False), ("5", False), ("3.5", True)]


@pytest.mark.parametrize(
    "sign",
    [
        '"',
        "'",
        "$",
        "`",
        "[",
        "(",
        "*",
        "{",
        "<",
        "\\",
        "5 ",
        "[1]",
        "[[1]",
        "(1",
        "a_",
        "**a",
        '"a" ',
        "'a ",
        "x.",
        "1,",
        "\\begin{a}",
    ],
)
def test_long_runs_of_one_sign_cost_no_time(sign: str) -> None:
    """Patterns that look back and forth must not take time that grows with the square of a text."""
    start = time.process_time()
    find(sign * 3000 + " word " * 500, EN)
    assert time.process_time() - start < 1


SIGNS = "`~\\{}%<>[]()&$€£°#@.:/_'\"“”‘’«»-,*!? \n"
PIECES = st.sampled_from([*SIGNS, "a", "B", "7", "www.x", "camelCase", "don't", "x.jpg", "http://a.b", "the dog"])


def every_text() -> list[str]:
    files = (Path(__file__).parents[2] / "recipes" / "data" / "conversations").glob("*.json")
    records = [record for file in files for record in json.loads(file.read_text(encoding="utf-8"))]
    return [turn["value"] for record in records for turn in record["conversations"]]


def unsifted(text: str, spoken: Language, quotes: bool) -> list[Span]:
    words = spoken.translation
    return spans.scanned(text, words.quotes if quotes else (), words.elisions)


@pytest.mark.parametrize("quotes", [True, False])
def test_a_text_without_a_sign_holds_no_span_in_real_texts(quotes: bool) -> None:
    texts = every_text()
    skipped = [text for text in texts if not spans._sign(EN.translation.quotes if quotes else ()).search(text)]
    assert len(skipped) > len(texts) / 4 and not any(unsifted(text, EN, quotes) for text in skipped)


@settings(max_examples=1500, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from([EN, PT, ZH, language("vi")]), st.booleans())
def test_a_text_without_a_sign_holds_no_span(text: str, spoken: Language, quotes: bool) -> None:
    if not spans._sign(spoken.translation.quotes if quotes else ()).search(text):
        assert unsifted(text, spoken, quotes) == []
