"""Regions of ViP-LLaVA's data: marks on the image, words in the text, the same ones again, and every failure told."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from olhar.core import pictures
from olhar.core.errors import UserError
from olhar.core.marks import COLOURS, SHAPES
from olhar.core.types import Finding, ImageRef, Sample, sample_from_json, sample_to_json
from olhar.sources import Request, vipllava
from olhar.sources._region_marks import KINDS

BOX, OTHER = [40, 30, 120, 90], [130, 20, 190, 140]
SQUARE = [[45, 35, 115, 35, 115, 85, 45, 85]]


def record(question: str = "<image>\nWho is <bbox>?", answer: str = "He <bbox> waves.", **keys: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "refcocog-gpt4v-1", "image": "a.png", "conversations": turns, "bboxes": [BOX]} | keys


Read = Callable[..., list[Sample | Finding]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    Image.new("RGB", (200, 150), "white").save(tmp_path / "a.png")

    def reading(*records: Any, language: str = "en", **options: Any) -> list[Sample | Finding]:
        path = tmp_path / "x.json"
        path.write_text(json.dumps(records), encoding="utf-8")
        asked = Request(path, vipllava.Options(**options), language, "regions", Path("/nowhere"))
        return list(vipllava.read(asked))

    return reading


def one(read: Read, *records: Any, **options: Any) -> Sample:
    (sample,) = read(*records, **options)
    assert isinstance(sample, Sample), sample
    return sample


def image_of(sample: Sample) -> ImageRef:
    (ref,) = sample.media
    assert isinstance(ref, ImageRef)
    return ref


def told(found: list[Sample | Finding]) -> str:
    (finding,) = found
    assert isinstance(finding, Finding) and finding.check == "vipllava" and finding.severity == "error"
    assert finding.message.partition(": ")[0] in vipllava.ADVICE, finding.message
    return f"{finding.sample_id}: {finding.message}"


def test_a_region_is_marked_and_named_in_every_turn(read: Read) -> None:
    sample = one(read, record())
    (mark,) = image_of(sample).marks
    colour = f"{mark.colour} " if isinstance(mark.colour, str) else ""
    place = {"arrow": "pointed to by", "point": "at", "rectangle": "within", "ellipse": "within"}.get(
        mark.shape, "with"
    )
    assert sample.turns[0].text == f"Who is {place} the {colour}{mark.shape}?"
    assert sample.turns[1].text == f"He {place} the {colour}{mark.shape} waves."
    assert sample.meta == {"kind": "refcocog"}


def test_marks_are_drawn_when_the_picture_is_read_and_not_before(read: Read, tmp_path: Path) -> None:
    sample = one(read, record(kind="v7w", id="1"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.png", "x.json"]
    (drawn,) = pictures.read(sample_from_json(json.loads(json.dumps(sample_to_json(sample)))).media[0])
    changed = (np.asarray(drawn) != 255).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == tuple(BOX)


def test_a_run_repeats_and_seeds_differ(read: Read) -> None:
    records = [record(id=f"refcocog-gpt4v-{number}") for number in range(20)]
    assert read(*records, seed=1) == read(*records, seed=1)
    assert read(*records, seed=1) != read(*records, seed=2)
    assert read(*records, seed=1)[7:8] == read(records[7], seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_those_of_the_kind(read: Read, kind: str) -> None:
    found = read(*(record(id=str(number), segmentations=[SQUARE]) for number in range(200)), kind=kind)
    used = {image_of(sample).marks[0].shape for sample in found if isinstance(sample, Sample)}
    assert len([item for item in found if isinstance(item, Sample)]) == 200
    assert used == set(KINDS[kind].shapes)


def test_the_published_rules() -> None:
    """Table 5.2 of the data: shapes by data set."""
    assert KINDS["refcocog"].shapes == SHAPES and len(SHAPES) == 8
    assert set(SHAPES) - set(KINDS["vcr"].shapes) == {"point"}
    assert KINDS["vg_rel"].shapes == ("rectangle", "ellipse")
    assert KINDS["flickr30k"].shapes == ("rectangle", "ellipse", "arrow")
    assert all(KINDS[name].style == "constant" for name in ("v7w", "pointQA_twice", "vcr_qa", "vcr_qar"))
    assert {name for name in KINDS if not KINDS[name].segmented} == {"vg_rel", "flickr30k", "v7w", "pointQA_twice"}


def test_half_of_the_lone_objects_have_no_colour_word(read: Read) -> None:
    samples = read(*(record(id=f"refcocog-gpt4v-{number}") for number in range(600)))
    named = Counter(
        isinstance(image_of(sample).marks[0].colour, str) for sample in samples if isinstance(sample, Sample)
    )
    assert 240 < named[True] < 360 and sum(named.values()) == 600


def test_objects_of_one_shape_are_told_apart_by_colour(read: Read) -> None:
    many = record("<image>\nIs <bbox0> left of <bbox1>?", "Yes.", bboxes=[BOX] * 9, kind="v7w")
    marks = image_of(one(read, many)).marks
    assert {mark.colour for mark in marks} == set(COLOURS)
    beyond = image_of(one(read, many | {"bboxes": [BOX] * 11})).marks
    assert sum(isinstance(mark.colour, tuple) for mark in beyond) == 2


def test_a_relation_may_leave_articles_out(read: Read) -> None:
    two = record("<image>\n<bbox0> and <bbox1>?", "on", bboxes=[BOX, OTHER])
    texts = [
        item.turns[0].text
        for item in read(*(two | {"id": f"vg_rel-gpt4v-{number}"} for number in range(60)))
        if isinstance(item, Sample)
    ]
    assert len(texts) == 60
    assert 0 < sum("the" in text for text in texts) < 60


@pytest.mark.parametrize(
    ("kind", "boxes", "said"),
    [("refcocog", [BOX], "Please provide a short phrase."), ("vg_rel", [BOX, OTHER], "triplet")],
)
def test_an_empty_question_is_the_data_sets_own(read: Read, kind: str, boxes: list[Any], said: str) -> None:
    sample = one(read, record("<image>", "a man", id=f"{kind}-7", bboxes=boxes))
    assert said in sample.turns[0].text and "<" not in sample.turns[0].text
    assert sample.turns[1].text == "a man"
    assert len(image_of(sample).marks) == len(boxes)


@pytest.mark.parametrize(("language", "word"), [("pt", "retângulo"), ("vi", "hình chữ nhật")])
def test_words_are_of_the_data_sets_language(read: Read, language: str, word: str) -> None:
    assert word in one(read, record(kind="v7w"), language=language).turns[0].text


def test_a_language_without_words_is_told(read: Read) -> None:
    with pytest.raises(UserError, match="no words for marks"):
        read(record(), language="zh")


def test_the_mark_of_the_image_may_be_missing(read: Read) -> None:
    assert one(read, record("Who is <bbox>?")).turns[0].media


def test_a_phrase_of_several_boxes_has_several_marks(read: Read) -> None:
    sample = one(read, record("<image>\nWho is <bbox0>?", "", id="flickr30k-gpt4v-1", bboxes=[[BOX, OTHER]]))
    first, second = image_of(sample).marks
    assert (first.shape, first.colour) == (second.shape, second.colour) and first.geometry != second.geometry


def test_one_box_may_stand_without_a_list(read: Read) -> None:
    plain = record(bbox=BOX)
    del plain["bboxes"]
    assert len(image_of(one(read, plain)).marks) == 1


def test_records_without_boxes_are_plain_ones(read: Read) -> None:
    sample = one(read, record("<image>\nWhat?", "A cat.", bboxes=None, id="000123"))
    assert image_of(sample).marks == () and sample.meta == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "3f2a-77"}, "unknown kind: None"),
        ({"kind": "refcoco"}, "unknown kind: 'refcoco'"),
        ({"bboxes": []}, "placeholder without a box: '<bbox>?' in turn 1; boxes: 0"),
        ({"conversations": record("<image>\n<bbox2>?")["conversations"]}, "placeholder without a box: '<bbox2>?'"),
        ({"conversations": record("<image>\n< BBOX>?")["conversations"]}, "placeholder without a box: '< BBOX>"),
        ({"bboxes": [[1, 2, 3]]}, "unfit boxes: box 0"),
        ({"bboxes": [[1, 2, 3, "4"]]}, "unfit boxes: box 0"),
        ({"bboxes": {"a": 1}}, "unfit boxes: bboxes is no list"),
        ({"bbox": OTHER}, "unfit boxes: both"),
        ({"bboxes": [[120, 30, 40, 90]]}, "unfit annotation: (120, 30, 40, 90) is no box"),
        ({"bboxes": [[float("nan"), 30, 40, 90]]}, "unfit annotation"),
        ({"bboxes": [[300, 30, 340, 90]]}, "lies outside an image"),
        ({"segmentations": [[[1, 2, 3, 4]]]}, "no polygon"),
        ({"segmentations": [{"size": [1, 2], "counts": "x"}]}, "unfit segmentations: that of box 0"),
        ({"segmentations": [None, None]}, "unfit segmentations: there is not one for each of 1 boxes"),
        ({"image": "b.png"}, "there is no such picture"),
        ({"image": ["a.png", "a.png"]}, "unfit image for marks"),
        ({"image": None}, "unfit image for marks"),
        ({"conversations": record("<image>", "a man")["conversations"], "id": "vcr-1"}, "the question is empty"),
    ],
)
def test_what_fails_names_its_row(read: Read, changes: dict[str, Any], said: str) -> None:
    message = told(read(record(**changes)))
    assert message.startswith("row 1: ") and said in message


def test_a_failure_replaces_no_sample(read: Read) -> None:
    bad, good = record(bboxes=[[9, 9, 1, 1]]), record(id="refcocog-gpt4v-2")
    finding, sample = read(bad, good)
    assert isinstance(finding, Finding) and isinstance(sample, Sample) and sample.id == good["id"]


def test_an_unknown_kind_is_refused_with_the_recipe() -> None:
    with pytest.raises(ValueError, match="there is no kind 'refcoco'"):
        vipllava.Options(kind="refcoco")
