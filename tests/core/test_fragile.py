"""What is carried over letter by letter is found, and what only looks like it is not."""

import pytest

from olhar.core.fragile import PATTERNS, spans, without


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Run `print(1)` now", [("code", "`print(1)`")]),
        ("So:\n```py\nx = [1, 2]\n```\nDone", [("code", "```py\nx = [1, 2]\n```")]),
        ("$x^2$ and $$a\nb$$ and \\(c\\)", [("math", "$x^2$"), ("math", "$$a\nb$$"), ("math", "\\(c\\)")]),
        ("\\[\\frac{1}{2}\\] or $a + b$", [("math", "\\[\\frac{1}{2}\\]"), ("math", "$a + b$")]),
        ("<ref>the cat</ref><box>[[1, 2], [3, 4]]</box>", None),
        (
            "see https://a.org/x_(y)?q=1, or www.b.com.",
            [("address", "https://a.org/x_(y)?q=1"), ("address", "www.b.com")],
        ),
        ("write to a.b@c-d.org.", [("address", "a.b@c-d.org")]),
        ("cat: [0.1, 0.25, -3, 4]", [("coordinates", "[0.1, 0.25, -3, 4]")]),
        ("at (12, 30) and (1,000)", [("coordinates", "(12, 30)")]),
        ("<|im_end|>", [("tag", "<|im_end|>")]),
    ],
)
def test_spans(text: str, found: list[tuple[str, str]] | None) -> None:
    if found is None:
        found = [("tag", "<ref>"), ("tag", "</ref>"), ("tag", "<box>")]
        found += [("coordinates", "[1, 2]"), ("coordinates", "[3, 4]"), ("tag", "</box>")]
    assert [(span.kind, span.text) for span in spans(text)] == found
    assert all(text[span.start : span.end] == span.text for span in spans(text))


@pytest.mark.parametrize(
    "text", ["$5 and $6", "from $5 to US$ 6", "$5-$6", "if a < b and c > d", "I <3 you", "[see 1]", "`", "a@b", "5 $"]
)
def test_what_only_looks_like_it(text: str) -> None:
    assert list(spans(text)) == []


def test_numbers_stand_apart_from_what_holds_them() -> None:
    text = "In 1990, 50% of 1,000.5 cats at 10:30 on 3/4/2020 wore [1, 2], 3D, A4, 7."
    numbers = [span.text for span in spans(text, {"number"})]
    assert numbers == ["1990", "50%", "1,000.5", "10:30", "3/4/2020", "3", "4", "7"]


def test_a_blank_stands_for_what_is_left_out() -> None:
    assert without("a <b> c `d` 5") == "a   c   5"
    assert without("a <b> 5", {"number"}) == "a <b>  "
    assert without("a <b> 5", set(PATTERNS)) == "a    "
