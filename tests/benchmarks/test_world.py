"""The world benchmark: what it reads, what it shows, and that its numbers are what they say."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from olhar.benchmarks import world
from olhar.core.errors import UserError
from olhar.core.types import Control, ImageRef, Prediction, Sample, Score, Turn, sample_to_json
from olhar.metrics.intervals import wilson

Save = Callable[..., Path]


def question(number: int, skill: str, answer: str, pictured: Any = 1, **changes: Any) -> Sample:
    turns = (Turn("user", (ImageRef(f"{number}.png"), "question?")), Turn("assistant", (answer,)))
    meta = {"skill": skill, "pictured": pictured, "split": "pairs"}
    return replace(Sample(f"w{number}", "pt", turns, "world", None, meta), **changes)


def answered(sample: Sample, text: str, control: Control = "image") -> Prediction:
    return Prediction(
        sample.id, text, world.expected(sample), world.skill_of(sample), sample.language, control, "pairs"
    )


def of(scores: list[Score], skill: str, control: str = "image") -> Score:
    found = [score for score in scores if (score.skill, score.control) == (skill, control)]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def exam() -> list[Sample]:
    rows = [("name", "avião", 1), ("name", "gato", 1), ("count", "dois", 2), ("count", "dois", 2), ("count", "um", 1)]
    rows += [("rel", "gato", 2), ("rel", "cão", 3), ("rel", "uva", 4)]
    return [question(number, *row) for number, row in enumerate(rows)]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(*rows: Sample | str) -> Path:
        path = tmp_path / "samples.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(sample_to_json(row)) for row in rows]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def test_questions_are_read_as_written(exam: list[Sample], save: Save) -> None:
    assert list(world.samples(save(*exam), "pt")) == exam


def test_the_model_never_sees_the_answer(exam: list[Sample]) -> None:
    for sample in exam:
        shown = world.prompt(sample)
        assert [turn.role for turn in shown.turns] == ["user"]
        assert shown.media == sample.media and shown.id == sample.id


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{not json", "not a sample"),
        ("[]", "not a sample"),
        ('{"id": "a"}', "not a sample"),
        (question(1, "name", "mèo", language="vi"), "'vi' among those asked for in 'pt'"),
        (question(1, "name", "gato", meta={"skill": "name"}), "meta lacks pictured, split"),
        (question(1, "rel", "gato", pictured=["gato"]), "not a number of objects"),
        (question(1, "name", " "), "not one question"),
        (question(1, "name", "gato", turns=(Turn("user", ("question?",)),)), "not one question"),
        (question(1, "name", "gato", turns=(*question(1, "name", "a").turns,) * 2), "not one question"),
    ],
)
def test_a_bad_row_is_named(row: Sample | str, complaint: str, save: Save) -> None:
    path = save(question(0, "name", "gato"), row)
    with pytest.raises(UserError, match=complaint) as caught:
        list(world.samples(path, "pt"))
    assert caught.value.where.endswith("line 2")


def test_a_missing_file_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        list(world.samples(tmp_path / "nowhere.jsonl", "pt"))


def test_perfect_answers_score_one_and_empty_ones_zero(exam: list[Sample]) -> None:
    perfect = world.score([answered(sample, world.expected(sample)[0]) for sample in exam])
    empty = world.score([answered(sample, "") for sample in exam])
    assert {score.value for score in perfect} == {1.0} and {score.value for score in empty} == {0.0}
    assert {score.skill for score in perfect} == {"name", "count", "rel_two", "rel_many", "macro"}


def test_scores_carry_their_interval_and_count(exam: list[Sample]) -> None:
    scores = world.score([answered(sample, "Dois") for sample in exam])
    count = of(scores, "count")
    assert count.value == pytest.approx(2 / 3) and count.n == 3
    assert (count.low, count.high) == wilson(2, 3)
    assert (count.split, count.language, count.protocol) == ("pairs", "pt", world.SPEC.protocol)


def test_the_macro_weighs_skills_alike_and_leaves_easy_relations_out(exam: list[Sample]) -> None:
    right = {"name", "rel_two"}
    said = [answered(s, world.expected(s)[0] if world.skill_of(s) in right else "x") for s in exam]
    macro = of(world.score(said), "macro")
    assert macro.value == pytest.approx(1 / 3)  # of name, count and rel_many only name is right
    assert macro.n == 7
    assert macro.low <= macro.value <= macro.high


def test_controls_splits_and_languages_are_never_pooled(exam: list[Sample]) -> None:
    seen = [answered(s, world.expected(s)[0]) for s in exam]
    blank = [answered(s, "", "blank") for s in exam]
    elsewhere = [replace(p, split="style", text="x") for p in seen] + [replace(p, language="vi", text="") for p in seen]
    scores = world.score(seen + blank + elsewhere)
    assert len(scores) == 4 * len(world.score(seen))
    for score in scores:
        assert score.value == float((score.control, score.split, score.language) == ("image", "pairs", "pt"))


def test_an_answer_counted_twice_is_refused(exam: list[Sample]) -> None:
    once = [answered(sample, "gato") for sample in exam]
    with pytest.raises(UserError, match="more than one answer"):
        world.score([*once, once[3]])


def test_majority_is_the_commonest_answers_share(exam: list[Sample]) -> None:
    scores = world.majority(exam)
    assert of(scores, "count", "majority").value == pytest.approx(2 / 3)
    assert of(scores, "name", "majority").value == pytest.approx(1 / 2)
    assert of(scores, "macro", "majority").value == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)


def test_majority_is_per_language() -> None:
    both = [question(i, "has", word, language=code) for code, word in (("pt", "sim"), ("vi", "có")) for i in range(4)]
    assert {score.value for score in world.majority(both)} == {1.0}


def test_always_saying_the_commonest_answer_scores_the_majority(exam: list[Sample]) -> None:
    said = world.score([answered(sample, "dois") for sample in exam])
    assert of(said, "count").value == of(world.majority(exam), "count", "majority").value


def test_nothing_answered_gives_no_score() -> None:
    assert world.score([]) == [] and world.majority([]) == []
