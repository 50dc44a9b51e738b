"""Numbered sentences, out and back, whatever they hold."""

import json

from hypothesis import given
from hypothesis import strategies as st

from olhar.translators import Failure, Kept, Segment
from olhar.translators._http_sentences import numbers_of, read_answer, request_text

words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=6).filter(lambda t: "<" not in t)
segments = st.lists(words | words.map(Kept), max_size=6).map(lambda parts: ("A", *parts))


@given(st.lists(segments, max_size=20))
def test_a_model_that_copies_gives_everything_back(some: list[Segment]) -> None:
    numbers = numbers_of(some)
    asked = json.loads(request_text(numbers, some))["sentences"]
    answer = json.dumps({"translations": [{"n": one["n"], "text": one["text"]} for one in reversed(asked)]})
    for segment, result in zip(some, read_answer(answer, numbers, some), strict=True):
        assert isinstance(result, tuple)
        assert [part for part in result if isinstance(part, Kept)] == [
            part for part in segment if isinstance(part, Kept)
        ]
        flat = ["".join(part if isinstance(part, str) else "\0" for part in each) for each in (segment, result)]
        assert flat[0] == flat[1]


def test_numbers_are_all_different_and_do_not_depend_on_what_follows() -> None:
    same: list[Segment] = [("Yes",)] * 100
    assert len(set(numbers_of(same))) == 100 and numbers_of(same[:1]) == numbers_of(same)[:1]


def test_a_model_that_merges_two_sentences_and_counts_on_shifts_nothing() -> None:
    four: list[Segment] = [("The dog runs.",), ("It is red.",), ("Where?",), ("On the grass.",)]
    numbers = numbers_of(four)
    counted = [
        {"n": numbers[0] + place, "text": text}
        for place, text in enumerate(("O cão corre.", "É vermelho. Onde?", "Na grama."))
    ]
    first, *others = read_answer(json.dumps({"translations": counted}), numbers, four)
    assert first == ("O cão corre.",) and all(isinstance(other, Failure) for other in others)
