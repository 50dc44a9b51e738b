"""InternVL's table of data sets: shares, repeats, and what it says that is not followed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.core.types import Finding, ImageRef, Sample, VideoRef
from olhar.sources import Request, internvl

Read = Callable[..., list[Sample | Finding]]


def row(question: str = "What?", **keys: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A cat."}]
    return {"id": 0, "image": "a.jpg", "conversations": turns} | keys


@pytest.fixture
def read(tmp_path: Path) -> Read:
    (tmp_path / "media").mkdir()

    def reading(*rows: dict[str, Any], name: str = "x.jsonl", **said: Any) -> list[Sample | Finding]:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        table = {"cats": {"root": "media/", "annotation": name} | said}
        path = tmp_path / "meta.json"
        path.write_text(json.dumps(table), encoding="utf-8")
        return list(internvl.read(Request(path, internvl.Options(), "vi", "stage", Path("/nowhere"))))

    return reading


def samples(found: list[Sample | Finding]) -> list[Sample]:
    return [item for item in found if isinstance(item, Sample)]


def warnings(found: list[Sample | Finding]) -> list[str]:
    return [item.message for item in found if isinstance(item, Finding) and item.severity == "warning"]


@pytest.mark.parametrize(("repeat", "taken"), [(1, 7), (0.5, 3), (0.29, 2), (3, 21), (2.0, 14)])
def test_repeats(read: Read, repeat: float, taken: int) -> None:
    found = samples(read(*(row(id=str(number)) for number in range(7)), repeat_time=repeat))
    assert len(found) == taken == len({sample.id for sample in found})
    assert [sample.id for sample in found[:2]] == ["cats/0", "cats/1"]
    assert {sample.meta["set"] for sample in found} == {"cats"}


def test_rows_need_no_id_and_may_share_one(read: Read) -> None:
    nameless = row()
    del nameless["id"]
    assert [sample.id for sample in samples(read(row(), row(), nameless))] == ["cats/0", "cats/0#2", "cats/3"]


def test_the_mark_of_a_single_file_may_be_missing(read: Read, tmp_path: Path) -> None:
    (single,) = samples(read(row()))
    assert single.turns[0].parts == (ImageRef(str(tmp_path / "media" / "a.jpg")), "What?")
    marked = samples(read(row("What is <image>?")))[0]
    assert isinstance(marked.turns[0].parts[1], ImageRef) and "unplaced" not in marked.meta
    (video,) = samples(read(row(image=None, video="v")))
    assert video.turns[0].parts[0] == VideoRef(str(tmp_path / "media" / "v"))


def test_several_files_without_marks_are_left_to_the_checks(read: Read) -> None:
    (sample,) = samples(read(row(image=["a.jpg", "b.jpg"])))
    assert not sample.media and len(sample.meta["unplaced"]) == 2


def test_what_is_not_followed_is_told(read: Read) -> None:
    found = read(row(), max_dynamic_patch=12, data_augment=True, length=9)
    kinds = [message.partition(": ")[0] for message in warnings(found)]
    assert kinds == ["tiles not set", "no augmentation", "length not true"]
    assert set(kinds) <= internvl.ADVICE.keys()
    tiles = warnings(found)[0]
    assert "move cats into" in tiles and "image = { max_tiles = 12 } into a [[train.stages]]" in tiles
    assert warnings(read(row(), data_augment=False, length=1)) == []


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"repeat_time": 1.5}, "repeat_time is 1.5"),
        ({"repeat_time": 0}, "repeat_time is 0"),
        ({"root": "nowhere"}, "no such folder"),
        ({"annotation": "y.jsonl"}, "no .jsonl that is there"),
        ({"annotation": "x.json"}, "no .jsonl that is there"),
        ({"root": None}, "no root and annotation"),
        ({"repeat_times": 2}, "unknown key 'repeat_times'"),
    ],
)
def test_a_table_that_cannot_be_followed(read: Read, said: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        read(row(), **said)


def test_a_bad_row_names_its_data_set(read: Read) -> None:
    (finding,) = read({"id": 1})
    assert isinstance(finding, Finding) and (finding.check, finding.sample_id) == ("internvl", "cats: row 1")
