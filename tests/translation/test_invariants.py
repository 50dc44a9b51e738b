"""Each way in which a translation can be damaged is seen, and a good one is not accused."""

import pytest

from olhar.languages import language
from olhar.translation.invariants import WARNINGS, problems, text_problems
from olhar.translation.policies import Policy
from olhar.translators import Kept, Segment

EN, PT, ZH = language("en"), language("pt"), language("zh")
SEGMENT: Segment = ("In ", Kept("1990"), " the ", Kept('"STOP"'), " sign fell on 2nd street.")

GOOD: list[Segment] = [
    ("Em ", Kept("1990"), " a placa ", Kept('"STOP"'), " caiu na 2ª rua."),
    ("Em 1990 a placa ", Kept('"STOP"'), " caiu."),  # an engine that keeps nothing
    ("Em ", Kept("1990"), " a placa ", Kept('"STOP"'), " caiu na rua 2."),
]
BAD: list[tuple[str, Segment]] = [
    ("nothing", ("", Kept("1990"), " ", Kept('"STOP"'))),
    ("nothing", ()),
    ("newline", ("Em ", Kept("1990"), "\na ", Kept('"STOP"'), ".")),
    ("kept spans", ("Em ", Kept("1990"), " a placa.")),
    ("kept spans", ("Em ", Kept("1990"), " a placa ", Kept('"STOP"'), Kept('"STOP"'))),
    ("kept spans", ("Em ", Kept("1990"), " a placa ", Kept('"PARE"'))),
    ("kept spans", ("Em ", Kept("1990"), ' a placa "STOP".')),
    ("numbers", ("Em a placa ", Kept('"STOP"'))),
    ("numbers", ("A placa ", Kept('"STOP"'), " em ", Kept("1990"), " caiu.")),
    ("numbers", ("Em ", Kept("1991"), " a placa ", Kept('"STOP"'))),
    ("numbers", ("Em ", Kept("1990"), " a placa ", Kept('"STOP"'), " 7.")),
    ("markup", ("Em ", Kept("1990"), " a <b>placa</b> ", Kept('"STOP"'))),
    ("markup", ("Em ", Kept("1990"), " a **placa** ", Kept('"STOP"'))),
    ("pipe", ("Em ", Kept("1990"), " a | placa ", Kept('"STOP"'))),
    ("marker", ("- Em ", Kept("1990"), " a placa ", Kept('"STOP"'))),
    ("marker", ("A. Em ", Kept("1990"), " a placa ", Kept('"STOP"'))),
]


@pytest.mark.parametrize("translated", GOOD)
def test_good_segments(translated: Segment) -> None:
    assert problems(SEGMENT, translated, EN, PT) == []


@pytest.mark.parametrize(("kind", "translated"), BAD)
def test_bad_segments(kind: str, translated: Segment) -> None:
    assert kind in problems(SEGMENT, translated, EN, PT)


def test_order_counts() -> None:
    moved: Segment = ("A placa ", Kept('"GO"'), " em ", Kept('"STOP"'), ".")
    assert problems(("A ", Kept('"STOP"'), " and ", Kept('"GO"'), "."), moved, EN, PT) == ["kept spans"]
    assert problems(("A ", Kept("3"), " and ", Kept("4"), "."), ("A ", Kept("4"), " e ", Kept("3")), EN, PT) == [
        "numbers"
    ]


TEXT = "<image>\nIs the dog (A) in 1990, see https://x.org?\n- A. *big* dog | cat\n“Wet” at [0.1, 0.2] in $x$."
SAID = "<image>\nO cão (A) é de 1990, veja https://x.org?\n- A. cão *grande* | gato\n“Wet” em [0.1, 0.2] em $x$."
DAMAGE = [
    ("media", "<image>", "<imagem>"),
    ("media", "<image>\n", "<image>\n<image>"),
    ("address", "https://x.org", "https://x.com"),
    ("number", "1990", "1991"),
    ("number", "de 1990", "de"),
    ("emphasis", "*grande*", "grande"),
    ("coordinates", "[0.1, 0.2]", "[0.1 0.2]"),
    ("math", "$x$", "x"),
    ("quote", "“Wet”", "“Molhado”"),
    ("newline", "\n- A", " - A"),
    ("pipe", " | ", " "),
    ("marker", "- A. ", "- Um. "),
    ("label", "(A)", "(Um)"),
    ("question mark", "?", "."),
    ("capital", "O cão", "o cão"),
    ("final stop", "$x$.", "$x$ e"),
]


def test_a_good_translation_is_not_accused() -> None:
    assert text_problems(TEXT, SAID, EN, PT, Policy()) == []


@pytest.mark.parametrize(("kind", "good", "bad"), DAMAGE, ids=[f"{case[0]}: {case[2]!r}" for case in DAMAGE])
def test_damage_is_named(kind: str, good: str, bad: str) -> None:
    assert good in SAID
    found = text_problems(TEXT, SAID.replace(good, bad), EN, PT, Policy())
    assert kind in {problem.kind for problem in found}
    assert all(problem.detail for problem in found)
    assert {problem.severity for problem in found if problem.kind == kind} == {
        "warning" if kind in WARNINGS else "error"
    }


@pytest.mark.parametrize(
    ("text", "said", "kind"), [("Dog", " ", "nothing"), ("B", "Um", "letter"), ("(C)", "(c)", "letter")]
)
def test_short_texts(text: str, said: str, kind: str) -> None:
    assert kind in {problem.kind for problem in text_problems(text, said, EN, PT, Policy())}


def test_policies_say_what_is_expected() -> None:
    text, said = 'It says "big dog".', 'Diz "cão grande".'
    assert [problem.kind for problem in text_problems(text, said, EN, PT, Policy())] == ["quote"]
    assert text_problems(text, said, EN, PT, Policy(quotes="translate")) == []
    assert text_problems('Bus "3"', 'Ônibus "3" (ônibus 3)', EN, PT, Policy(quotes="both")) == []
    terms = Policy(glossary={"dog": "cão"})
    assert [problem.kind for problem in text_problems("A dog.", "Um cachorro.", EN, PT, terms)] == ["term"]
    assert text_problems("A dog.", "Um cão.", EN, PT, terms) == []


def test_reviewed_instructions_are_the_reference() -> None:
    text = "Dog? When the provided information is insufficient, respond with 'Unanswerable'."
    said = "Cão? Quando as informações fornecidas forem insuficientes, responda 'Irrespondível'."
    assert text_problems(text, said, EN, PT, Policy()) == []


def test_chinese_marks_count_as_marks() -> None:
    assert text_problems("Is it a dog? It is.", "这是狗吗？是的。", EN, ZH, Policy()) == []
