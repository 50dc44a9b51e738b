"""The natural-language strings of each shape of record, and nothing else of it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from olhar.core.types import ImageRef, Sample, Turn, sample_to_json
from olhar.translation.leaves import BadRecord, UnknownShape, leaves_of, put_back, record_id

SAMPLE = sample_to_json(
    Sample("7", "en", (Turn("user", (ImageRef("a.jpg"), "What?", "So?")), Turn("assistant", ("A cat.",))), "coco")
)


@pytest.mark.parametrize(
    ("record", "shape", "texts"),
    [
        (
            {
                "id": "0007",
                "image": "Not text.jpg",
                "conversations": [
                    {"from": "system", "value": "s"},
                    {"from": "human", "value": "<image>\nq", "weight": 1},
                    {"from": "gpt", "value": "a"},
                ],
                "note": "not text",
            },
            "conversations",
            [("system", "s"), ("question", "<image>\nq"), ("answer", "a")],
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]},
                    {"role": "assistant", "content": "a", "name": "not text"},
                    {"role": "assistant", "content": None},
                ]
            },
            "messages",
            [("question", "q"), ("answer", "a")],
        ),
        (SAMPLE, "sample", [("question", "What?"), ("question", "So?"), ("answer", "A cat.")]),
        (
            {"question": "q", "choices": ["x", "y"], "answer": 1, "hint": "h", "lecture": "", "solution": "s"},
            "question",
            [
                ("question", "q"),
                ("option", "x"),
                ("option", "y"),
                ("question", "h"),
                ("answer", ""),
                ("answer", "s"),
            ],
        ),
        (
            {
                "question": "q",
                "question_type": "not text",
                "multiple_choice_answer": "yes",
                "answers": [{"answer": "yes", "answer_confidence": "not text", "answer_id": 1}],
            },
            "question",
            [("question", "q"), ("answer", "yes"), ("answer", "yes")],
        ),
        (
            {"question": "q", "A": "x", "B": "y", "C": None, "options": {"A": "x", "B": "y"}, "category": "no"},
            "question",
            [("question", "q"), ("option", "x"), ("option", "y"), ("option", "x"), ("option", "y")],
        ),
        ({"image": "a.jpg", "caption": "c", "url": "no"}, "caption", [("caption", "c")]),
    ],
)
def test_each_shape(record: Any, shape: str, texts: list[tuple[str, str]]) -> None:
    found = leaves_of(record)
    assert found.shape == shape and not found.unread
    assert [(leaf.role, leaf.text) for leaf in found.leaves] == texts
    before = copy.deepcopy(record)
    put_back(record, {leaf.path: leaf.text.upper() for leaf in found.leaves})
    assert [leaf.text for leaf in leaves_of(record).leaves] == [text.upper() for _, text in texts]
    put_back(record, {leaf.path: leaf.text for leaf in found.leaves})
    assert json.dumps(record) == json.dumps(before)  # order of keys and types included


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"foo": 1, "bar": 2}, "its keys are foo, bar"),
        ({}, "its keys are none"),
        ({"conversations": [], "messages": []}, "unknown record"),
        ({"turns": []}, "unknown record"),
    ],
)
def test_an_unknown_shape_names_the_keys(record: Any, told: str) -> None:
    with pytest.raises(UnknownShape, match=told):
        leaves_of(record)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([1, 2], "not a record"),
        ({"conversations": "text"}, "not a list"),
        ({"conversations": ["text"]}, "neither from and value"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "unknown role: 'tool'"),
        ({"messages": [{"role": 3, "content": "x"}]}, "unknown role: 3"),
        ({**SAMPLE, "turns": ["text"]}, "unknown role: None"),
    ],
)
def test_a_bad_record_of_a_known_shape_is_told(record: Any, told: str) -> None:
    with pytest.raises(BadRecord, match=told):
        leaves_of(record)


def test_text_in_an_unknown_form_is_left_and_told() -> None:
    found = leaves_of({"question": "q", "options": "['red', 'blue']", "answers": [{"text": "x"}, ["y"], "z", 4]})
    assert [leaf.text for leaf in found.leaves] == ["q", "z"]
    assert found.unread == (("options",), ("answers", 0), ("answers", 1))
    turns = leaves_of({"messages": [{"role": "user", "content": {"text": "x"}}, {"role": "user", "content": [3]}]})
    assert turns.unread == (("messages", 0, "content"), ("messages", 1, "content", 0))


def test_a_records_name_keeps_its_type() -> None:
    assert record_id({"id": "007"}) == "007"
    assert record_id({"id": None, "question_id": 7}) == 7
    assert record_id({"x": 1}) is None and record_id(3) is None


values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=5),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(["question", "answers", "options", "A", "B", "text", "from"]), inner)
    ),
    max_leaves=12,
)


@given(some.dictionaries(some.sampled_from(["question", "conversations", "messages", "turns", "caption"]), values))
def test_no_record_is_too_strange(record: Any) -> None:
    try:
        found = leaves_of(record)
    except BadRecord:
        return
    before = json.dumps(record)
    put_back(record, {leaf.path: leaf.text for leaf in found.leaves})
    assert json.dumps(record) == before
