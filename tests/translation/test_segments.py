"""Texts taken apart and put together: what an engine sees, what comes of its answers, and everything that was seen to
break unprotected."""

import pytest

from olhar.languages import language
from olhar.translation.policies import Policy
from olhar.translation.segments import (
    Answer,
    Place,
    flat,
    for_engine,
    from_engine,
    from_pieces,
    pieces,
    taken_apart,
)
from olhar.translators import Kept, Segment
from tests.translation.engines import ENGINES, Fake, drive

EN, PT, ZH = language("en"), language("pt"), language("zh")


def shouted(text: str, policy: Policy | None = None, answer: bool = False) -> str:
    """The text with all in capitals that an engine sees."""
    driven = drive(text, Fake(ENGINES["shouts"]), EN, PT, policy, answer)
    assert driven.left == 0
    return driven.text


def segments(text: str, policy: Policy | None = None, answer: bool = False) -> list[str]:
    return [flat(segment) for segment in taken_apart(text, EN, PT, policy or Policy(), answer).segments]


BROKEN = [  # item, text, the same with capitals where an engine may translate
    ("mark first", "<image>\nWhat is it?", "<image>\nWHAT IS IT?"),
    ("mark last", "Who paints the hydrant?\n<image>", "WHO PAINTS THE HYDRANT?\n<image>"),
    ("mark inside", "Compare <image> with <image>, please.", "COMPARE <image> WITH <image>, PLEASE."),
    ("only marks", "<image>\n<image>\n", "<image>\n<image>\n"),
    ("option letters", "Which?\nA. Running\nB. Two dogs", "WHICH?\nA. RUNNING\nB. TWO DOGS"),
    ("options in brackets", "(A) cats\n(b) dogs\nc) cows", "(A) CATS\n(b) DOGS\nc) COWS"),
    ("options on one line", "Options: (A) West (B) East, (C) Up", "OPTIONS: (A) WEST (B) EAST, (C) UP"),
    ("letter", "A", "A"),
    ("letter in a sentence", "The answer is B.", "THE ANSWER IS B."),
    ("two letters", "A and C", "A e C"),
    ("yes and no", "No.", "Não."),
    ("no before more", "No. The dog is brown.", "Não. THE DOG IS BROWN."),
    ("sign", 'The sign says "STOP. Look" here.', 'THE SIGN SAYS "STOP. Look" HERE.'),
    ("name with apostrophe", "We ate at 'Bill's Diner' twice.", "WE ATE AT 'Bill's Diner' TWICE."),
    ("code", 'Call print("hi") now:\n```py\nfor x in y:\n\n    pass\n```', None),
    ("math", "Solve $\\frac{1}{2} + x$ first.\n$$\nE = m\n$$", "SOLVE $\\frac{1}{2} + x$ FIRST.\n$$\nE = m\n$$"),
    ("tags", "<ref>the dog</ref><box>[[1, 2]]</box> runs.", "<ref>THE DOG</ref><box>[[1, 2]]</box> RUNS."),
    ("chat marks", "[INST] Say it. [/INST]", "[INST] SAY IT. [/INST]"),
    ("label in bold", "**Bold** text: a dog", "**BOLD** TEXT: A DOG"),
    ("heading in bold", "- **Where:** in a park", "- **WHERE:** IN A PARK"),
    ("table", "Year | Population\n---|---\n1990 | about 3 dogs", "YEAR | POPULATION\n---|---\n1990 | ABOUT 3 DOGS"),
    ("split inside quotes", 'It reads "Go. Now! Run?" and ends.', 'IT READS "Go. Now! Run?" AND ENDS.'),
    ("boxes", "dog: [0.1, 0.2]\ncat: [0.3, 0.4]", "DOG: [0.1, 0.2]\nCAT: [0.3, 0.4]"),
    ("numbers and addresses", "In 1990 at https://x.org/a.", "IN 1990 AT https://x.org/a."),
    ("lists", "Steps:\n\n1. Go. Run.\n  - [ ] Jump\n> Fly", "STEPS:\n\n1. GO. RUN.\n  - [ ] JUMP\n> FLY"),
    ("blanks", "  Two  dogs. \n\n It is. ", "  TWO  DOGS. \n\n IT IS. "),
    ("no letters", "26 02 2015\n12' x 10'", "26 02 2015\n12' x 10'"),
    ("another script", "你好\nПривет", "你好\nПривет"),
    ("empty", "", ""),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_engines_broke(text: str, expected: str | None) -> None:
    if expected is None:
        expected = text.replace("Call", "CALL").replace("now", "NOW")
    assert shouted(text) == expected


def test_an_engine_sees_sentences() -> None:
    text = "<image>\nIn 1990 a dog ran. It barked!\n- A cat"
    assert taken_apart(text, EN, PT, Policy(), False).segments == (
        ("In ", Kept("1990"), " a dog ran."),
        ("It barked!",),
        ("A cat",),
    )


def test_neighbouring_spans_are_one() -> None:
    (segment,) = taken_apart("See 3, 4 and <b><i>5</i></b> or it.", EN, PT, Policy(), False).segments
    assert segment == ("See ", Kept("3, 4"), " and ", Kept("<b><i>5</i></b>"), " or it.")


def test_instructions_come_from_the_table() -> None:
    text = "<image>\nWhat is this dog? Answer the question using a single word or phrase."
    skeleton = taken_apart(text, EN, PT, Policy(), False)
    assert skeleton.segments == (("What is this dog?",),)
    assert isinstance(skeleton.parts[-1], Answer)
    assert skeleton.put_together([("Que cão é este?",)]).text == (
        "<image>\nQue cão é este? Responda à pergunta usando uma única palavra ou expressão."
    )


def test_an_answer_is_the_option_it_equals() -> None:
    question = "Which?\nA. Two dogs\nB. Red\nAnswer with the option's letter from the given choices directly."
    asked = taken_apart(question, EN, PT, Policy(), False)
    (place,) = taken_apart("Two dogs", EN, PT, Policy(), True).parts
    assert place in asked.parts and isinstance(place, Place)
    assert taken_apart("Red", EN, PT, Policy(), True).parts[0] in asked.parts


def test_none_leaves_the_source_and_says_so() -> None:
    skeleton = taken_apart("One dog. Two dogs.", EN, PT, Policy(), True)
    restored = skeleton.put_together([("Um cão.",), None])
    assert restored.text == "Um cão. Two dogs." and restored.left == (("Two dogs.",),)
    with pytest.raises(ValueError, match="1 translations for 2 segments"):
        skeleton.put_together([None])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COCA COLA", "COCA COLA"),
        ("big mac", "big mac"),
        ("yes", "sim"),
        ("unanswerable", "irrespondível"),
        ("red", "vermelho"),
        ("NO", "NO"),  # as printed
        ("It is a dog. No.", "It is a dog. No."),
        ("", ""),
    ],
)
def test_answers_read_from_the_image_are_kept(text: str, expected: str) -> None:
    keeping = Policy(answers="keep")
    assert shouted(text, keeping, answer=True) == expected
    assert segments(text, keeping, answer=True) == []


def test_options_are_kept_with_the_answers() -> None:
    assert (
        shouted("Which brand?\nA. big mac\nB. red", Policy(answers="keep")) == "WHICH BRAND?\nA. big mac\nB. vermelho"
    )


def test_quotations_translated_and_both() -> None:
    text = 'The sign says "big dog" and "yes".'
    assert shouted(text, Policy(quotes="translate")) == 'THE SIGN SAYS "BIG DOG" AND "YES".'
    assert segments(text, Policy(quotes="both")) == [text, "big dog"]
    assert shouted(text, Policy(quotes="both")) == 'THE SIGN SAYS "big dog" (BIG DOG) AND "yes" (sim).'
    assert shouted('"big dog"', Policy(quotes="both")) == '"big dog" (BIG DOG)'


def test_a_quotation_that_stays_as_it_was_is_not_said_twice() -> None:
    skeleton = taken_apart('It says "big dog".', EN, PT, Policy(quotes="both"), True)
    said = ("Diz ", Kept('"big dog"'), ".")
    assert skeleton.put_together([said, None]).text == 'Diz "big dog".'
    assert skeleton.put_together([said, ("big dog",)]).text == 'Diz "big dog".'
    assert skeleton.put_together([said, ("cão grande",)]).text == 'Diz "big dog" (cão grande).'


def test_terms_stand_translated_in_the_segment() -> None:
    policy = Policy(glossary={"fire hydrant": "hidrante"})
    assert taken_apart("Fire hydrant", EN, PT, policy, True).segments == ()
    assert shouted("A fire hydrant.\nFire hydrant", policy) == "A hidrante.\nHidrante"
    skeleton = taken_apart("A fire hydrant.", EN, PT, policy, True)
    assert skeleton.put_together([None]).text == "A fire hydrant."


def test_numbers_go_along_where_an_engine_keeps_nothing() -> None:
    segment: Segment = ("There are ", Kept("3"), " dogs and ", Kept('"STOP"'), " there.")
    assert for_engine(segment, keeps=True) == [segment]
    assert for_engine(segment, keeps=False) == [("There are 3 dogs and",), ("there.",)]
    made = from_engine(segment, False, [(" Há 3  cães e ",), ("ali.",)])
    assert made == ("Há 3 cães e ", Kept('"STOP"'), " ali.")
    assert from_engine(segment, False, [("",), ("ali.",)]) == ()
    with pytest.raises(ValueError, match="1 results for 2 pieces"):
        from_engine(segment, False, [("x",)])


def test_the_second_method_translates_between_all_kept_spans() -> None:
    segment: Segment = ("There are ", Kept("3"), " dogs, ", Kept("[1]"), ", ", Kept("<b>"), " there.")
    assert pieces(segment) == [("There are",), ("dogs,",), ("there.",)]
    made = from_pieces(segment, [("Há",), ("cães,",), ("ali.",)])
    assert flat(made) == "Há 3 cães, [1], <b> ali."
    with pytest.raises(ValueError, match="for 3 pieces"):
        from_pieces(segment, [("Há",)])


@pytest.mark.parametrize(
    ("segment", "result", "expected"),
    [
        (("a ", Kept("1"), " b"), (" x", Kept("1"), "  y "), "x 1 y"),
        (("a ", Kept("1"), " b"), (Kept("1"), "x, ", "y"), "1 x, y"),
        (("a (", Kept("1"), "), b"), ("x ( ", Kept("1"), " ) , y"), "x (1) , y"),
        (("a *", Kept("1")), ("x * ", Kept("1")), "x * 1"),
        (("a ", Kept("*"), "b", Kept("*"), " c"), ("x", Kept("*"), " y ", Kept("*"), "z"), "x *y* z"),
        (("a  b ", Kept("1")), ("x  y ", Kept("1")), "x  y 1"),  # doubled in the source as well
        (("a ", Kept("1"), " b"), ("有", Kept("1"), "只"), "有1只"),
    ],
)
def test_blanks_are_put_in_order(segment: Segment, result: Segment, expected: str) -> None:
    assert flat(from_engine(segment, True, [result])) == expected


def test_other_languages_are_taken_apart_by_their_own_habits() -> None:
    skeleton = taken_apart("这是一只狗。它有3只脚！\nA. 红色", ZH, EN, Policy(), False)
    assert skeleton.segments == (("这是一只狗。",), ("它有", Kept("3"), "只脚！"))
    assert skeleton.parts[-1] == Answer("红色", "red")
    assert taken_apart("STOP。狗", ZH, EN, Policy(), False).segments == (("狗",),)
