"""Conversations that ViP-LLaVA's data sets leave to be made, of lists of words and numbers of objects."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from olhar.core.types import Finding, ImageRef, Sample
from olhar.languages import language
from olhar.sources import Request, vipllava
from olhar.sources._region_questions import KEYS, TASKS

BOXES = [[10, 10, 60, 60], [70, 10, 120, 60], [10, 70, 60, 120], [70, 70, 120, 120]]
LETTER = "Answer with the option's letter from the given choices directly."
SHAPES = "(?:rectangle|ellipse|triangle|scribble|point|mask|mask contour|arrow)"
PLACE = rf"(?:within|with|pointed to by|at) (?:the )?(?:\w+ )?{SHAPES}"

VCR: dict[str, Any] = {
    "id": "vcr-train-0",
    "image": "a.png",
    "question": ["Why", "is", [0, 1], "here", "?"],
    "answer_choices": [["He", "likes", [2], "."], [[1], "eats", "."], ["No", "."], ["Yes", ",", "no", "."]],
    "answer_label": 1,
    "rationale_choices": [["A", "."], ["B", "."], ["C", "."], [[3], "is", "red", "."]],
    "rationale_label": 3,
    "class_names": ["person", "dog", "table", "car"],
    "meta_dir": "./dataset/vcr/a.json",
}
V7W = {"id": "v7w-1", "image": "a.png", "question": "Which one barks?", "bboxes": BOXES, "answer": BOXES[2]}
POINT = {
    "id": "pointQA_twice-1",
    "image": "a.png",
    "general_question": "How many of these are there?",
    "answer": 3,
    "bboxes": [BOXES[0]],
}
FLICKR = {
    "id": "flickr30k-1",
    "image": "a.png",
    "grounding": "a man <bbox0> ,holding 1,000 dogs <bbox1>",
    "bbox": [[BOXES[0]], [BOXES[1], BOXES[2]]],
}

Read = Callable[..., list[Sample | Finding]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    Image.new("RGB", (200, 150), "white").save(tmp_path / "a.png")
    (tmp_path / "vcr").mkdir()
    square = [[12, 12], [50, 12], [50, 50], [12, 50]]
    meta = {"boxes": [[*box, 0.9] for box in BOXES], "segms": [[square], [], [[[1, 2], [3, 4]]], [square]]}
    (tmp_path / "vcr" / "a.json").write_text(json.dumps(meta), encoding="utf-8")

    def reading(*records: Any, language: str = "en", **options: Any) -> list[Sample | Finding]:
        path = tmp_path / "x.json"
        path.write_text(json.dumps(records), encoding="utf-8")
        asked = Request(path, vipllava.Options(**options), language, "regions", Path("/nowhere"))
        return list(vipllava.read(asked))

    return reading


def many(read: Read, record: dict[str, Any], count: int = 80, **options: Any) -> list[Sample]:
    """The record under many ids, so that chance shows all it can do."""
    kind = record["id"].partition("-")[0]
    found = read(*(record | {"id": f"{kind}-{number}"} for number in range(count)), **options)
    assert all(isinstance(sample, Sample) for sample in found), found[0]
    return [sample for sample in found if isinstance(sample, Sample)]


def marks_of(sample: Sample) -> Any:
    (ref,) = sample.media
    assert isinstance(ref, ImageRef) and sample.turns[0].parts[0] == ref
    return ref.marks


def texts(sample: Sample) -> list[str]:
    return [turn.text for turn in sample.turns]


def test_every_kind_names_its_keys() -> None:
    assert KEYS.keys() == TASKS.keys()


def test_vcr_as_it_is_tested(read: Read) -> None:
    """Upstream's form: options a line each, a letter as the answer; objects by their class, joined by "and"."""
    for sample in many(read, VCR, kind="vcr_qa"):
        question, answer = texts(sample)
        lines = question.split("\n")
        assert re.fullmatch(rf"Why is the person {PLACE} and the dog {PLACE} here\?", lines[0]), lines[0]
        assert re.fullmatch(rf"A\. He likes the table {PLACE}\.", lines[1])
        assert re.fullmatch(rf"B\. The dog {PLACE} eats\.", lines[2]), "an object that begins a sentence has a capital"
        assert lines[3:] == ["C. No.", "D. Yes, no.", LETTER] and answer == "B"
        assert [mark.shape for mark in marks_of(sample)] == ["point"] * 3
        assert sample.meta == {"kind": "vcr_qa"}
    found = [texts(sample)[0] for sample in many(read, VCR, kind="vcr_qa")]
    assert 0 < sum("person at the " in text for text in found) < len(found), "the article stands in half of the cases"


def test_vcr_asks_for_the_reason(read: Read) -> None:
    for sample in many(read, VCR, 20, kind="vcr_qar"):
        question, answer = texts(sample)
        assert "What is the rationale for this decision?\nA. A.\nB. B.\nC. C.\nD. The car at " in question
        assert re.search(r'The answer is "The dog at [\w ]+ eats\."', question) and answer == "D"
        assert len(marks_of(sample)) == 3, "objects 0, 1 and 3 are spoken of"


def test_vcr_as_it_is_learned(read: Read) -> None:
    """A question, then why; each with options and a letter, or answered in words."""
    why = language("en").pointing.why  # type: ignore[union-attr]
    forms = Counter()
    for sample in many(read, VCR, 200):
        question, answer, reason, because = texts(sample)
        assert LETTER in question or "\n" not in question
        assert answer == "B" if LETTER in question else answer.endswith(" eats.")
        assert because == "D" if LETTER in reason else because.endswith(" is red.")
        assert reason.partition("\n")[0] in why
        spoken = 4 if LETTER in question else 3  # object 2 is only in a wrong answer
        assert len(marks_of(sample)) == spoken
        forms[LETTER in question, LETTER in reason] += 1
        named = "dog" in question.partition("\n")[0]
        forms["named" if named else "unnamed"] += 1
        assert named or re.search(rf"the (object|instance) {PLACE} here\?", question)
    assert len(forms) == 6 and min(forms.values()) > 25


def test_without_rationales_there_is_one_question(read: Read) -> None:
    plain = {key: value for key, value in VCR.items() if not key.startswith("rationale")}
    assert {len(sample.turns) for sample in many(read, plain, 10)} == {2}


def test_the_objects_of_vcr_lie_in_a_file_of_their_own(read: Read) -> None:
    """Polygons of fewer than 4 points are none; marks of a segmented object follow its polygon, not its box."""
    masks = [
        mark
        for sample in many(read, VCR, 150, kind="vcr")
        for mark in marks_of(sample)
        if mark.shape == "mask" and len(mark.geometry) == 8
    ]
    assert masks and all(max(mark.geometry[::2]) <= 50 / 200 for mark in masks)
    boxes = VCR | {"bboxes": BOXES, "meta_dir": "nowhere.json"}
    assert len(many(read, boxes, 3, kind="vcr_qa")) == 3, "a record's own boxes come first"


def test_visual7w_has_four_objects_as_options(read: Read) -> None:
    for sample in many(read, V7W):
        question, answer = texts(sample)
        lines = question.split("\n")
        assert lines[0] == "Which one barks?" and lines[5] == LETTER and answer == "C" and len(lines) == 6
        colours = [mark.colour for mark in marks_of(sample)]
        for line, letter, colour in zip(lines[1:5], "ABCD", colours, strict=True):
            assert re.fullmatch(rf"{letter}\. The object within (the )?{colour} rectangle", line), line
        assert len(set(colours)) == 4


def test_pointqa_speaks_of_the_red_rectangle(read: Read) -> None:
    (sample,) = many(read, POINT, 1)
    assert texts(sample) == [
        "How many of these are there? The exemplary object is within the rectangle."
        "\nAnswer the question using a single word or phrase.",
        "3",
    ]
    assert [(mark.shape, mark.colour) for mark in marks_of(sample)] == [("rectangle", "red")]


def test_captions_of_flickr30k_say_the_marks_or_leave_them_out(read: Read) -> None:
    words, seen = language("en").pointing, Counter()
    assert words is not None
    for sample in many(read, FLICKR, 200):
        question, caption = texts(sample)
        assert len(marks_of(sample)) == 3, "one phrase of two boxes has two marks"
        if caption == "A man, holding 1,000 dogs.":
            assert question.startswith(words.caption)
            seen["left out"] += 1
        else:
            assert re.fullmatch(rf"A man {PLACE}, holding 1,000 dogs {PLACE}\.", caption), caption
            assert question.startswith(words.marked_caption)
            seen["said"] += 1
        told = re.search(r" (Hint: the|The) visual prompts are: [\w ]+ and [\w ]+\.$", question)
        seen["listed" if told else "not listed"] += 1
    assert min(seen.values()) > 60 and len(seen) == 4


@pytest.mark.parametrize("code", ["pt", "vi"])
@pytest.mark.parametrize(
    ("record", "kind"), [(VCR, "vcr"), (VCR, "vcr_qar"), (V7W, "v7w"), (POINT, None), (FLICKR, None)]
)
def test_other_languages_have_their_own_words(read: Read, code: str, record: dict[str, Any], kind: str | None) -> None:
    english = "the |The |object|visual|Answer|rationale|Why[^ ]| and "
    for sample in many(read, record, 30, language=code, **({"kind": kind} if kind else {})):
        assert not re.search(english, "\n".join(texts(sample))), texts(sample)


def test_portuguese_is_read_aloud(read: Read) -> None:
    (sample,) = many(read, V7W | {"question": "Qual late?"}, 1, language="pt", seed=3)
    question, answer = texts(sample)
    assert re.fullmatch(
        r"Qual late\?\n(?:[A-D]\. O objeto dentro do retângulo [\w-]+\n){4}"
        r"Responda diretamente com a letra da opção, dentre as alternativas apresentadas\.",
        question,
    ), question
    assert answer == "C"


@pytest.mark.parametrize("kind", ["refcocog", "vg_rel"])
def test_an_answer_alone_gets_its_data_sets_question(read: Read, kind: str) -> None:
    boxes = BOXES[: 1 if kind == "refcocog" else 2]
    (sample,) = read({"id": f"{kind}-5", "image": "a.png", "answer": "a man", "bboxes": boxes, "split": "train"})
    assert isinstance(sample, Sample) and sample.turns[1].text == "a man" and sample.turns[0].text
    assert sample.meta == {"kind": kind, "extra": {"split": "train"}}


@pytest.mark.parametrize(
    ("record", "changes", "said"),
    [
        (VCR, {"answer_choices": VCR["answer_choices"][:3]}, "unfit choices: 3 options, number 1"),
        (VCR, {"answer_label": 4}, "unfit choices: 4 options, number 4"),
        (VCR, {"answer_label": None}, "unfit choices: there are no answer_choices"),
        (VCR, {"rationale_choices": 1}, "unfit choices: there are no rationale_choices"),
        (VCR, {"question": ["Is", 0, "?"]}, "unfit words: question"),
        (VCR, {"question": ["Is", [], "?"]}, "unfit words: question"),
        (VCR, {"class_names": [1]}, "unfit words: class_names"),
        (VCR, {"class_names": ["person"]}, "unfit words: class_names"),
        (VCR, {"question": ["Is", [9], "?"]}, "unfit boxes: the text speaks of objects"),
        (VCR, {"meta_dir": "gone.json"}, "unfit boxes"),
        (VCR, {"meta_dir": None}, "unfit boxes"),
        (V7W, {"bboxes": BOXES[:3]}, "unfit choices: 3 options"),
        (V7W, {"answer": [1, 2, 3, 4]}, "unfit choices: answer is not one of bboxes"),
        (V7W, {"question": [" "]}, "unfit turn: question is no text"),
        (POINT, {"bboxes": BOXES}, "unfit boxes: the question speaks of one object, and there are 4"),
        (POINT, {"answer": None}, "unfit turn: answer is None"),
        (FLICKR, {"grounding": "a <bbox7>"}, "placeholder without a box: '<bbox7>"),
        (FLICKR, {"grounding": "<bbox0>"}, "unfit turn: grounding holds no words"),
        (FLICKR, {"bbox": None}, "unfit boxes"),
        (FLICKR, {"image": None}, "unfit image for marks"),
        (POINT, {"id": "somewhere-1"}, "unknown kind"),
    ],
)
def test_what_cannot_be_made_names_its_row(
    read: Read, record: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    (finding,) = read(record | changes)
    assert isinstance(finding, Finding) and finding.severity == "error"
    assert finding.message.startswith(said) and finding.message.partition(": ")[0] in vipllava.ADVICE


def test_a_record_with_a_conversation_is_taken_at_its_word(read: Read) -> None:
    turns = [{"from": "human", "value": "<image>\nQ?"}, {"from": "gpt", "value": "A."}]
    (sample,) = read({"id": "1", "image": "a.png", "conversations": turns, "question": "else"})
    assert isinstance(sample, Sample) and sample.meta == {"extra": {"question": "else"}}
