"""A YAML mixture takes of every file exactly what it says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.core.types import Finding, Sample
from olhar.sources import Request, onevision

Read = Callable[..., list[Sample | Finding]]


def rows(count: int, question: str = "<image>\nWhat?") -> list[dict[str, Any]]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "A cat."}]
    return [{"id": str(number), "image": "a.jpg", "conversations": turns} for number in range(count)]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    (tmp_path / "sub").mkdir()
    for name, count in (("a.json", 11), ("b.json", 4), ("sub/a.json", 2)):
        (tmp_path / name).write_text(json.dumps(rows(count)), encoding="utf-8")
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(3)), encoding="utf-8")

    def reading(text: str, **options: Any) -> list[Sample | Finding]:
        path = tmp_path / "mix.yaml"
        path.write_text(text, encoding="utf-8")
        return list(onevision.read(Request(path, onevision.Options(**options), "en", "mix", Path("/nowhere"))))

    return reading


def ids(found: list[Sample | Finding]) -> list[str]:
    assert all(isinstance(item, Sample) for item in found), found
    return [item.id for item in found if isinstance(item, Sample)]


def entry(strategy: str) -> str:
    return f"datasets:\n  - json_path: a.json\n    sampling_strategy: {strategy}\n"


@pytest.mark.parametrize(
    ("strategy", "taken"),
    [
        ("all", range(11)),
        ('"first:3"', range(3)),
        ('"end:3"', range(8, 11)),
        ('"first:20%"', range(3)),  # 2.2 rows, rounded up
        ('"end:20%"', range(8, 11)),
        ('"first:100%"', range(11)),
        ('"first:99"', range(11)),
        ('"end:0"', range(0)),
    ],
)
def test_strategies(read: Read, strategy: str, taken: range) -> None:
    assert ids(read(entry(strategy))) == [f"a/{number}" for number in taken]


def test_percentages_are_reckoned_without_rounding_errors(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(rows(100)), encoding="utf-8")
    assert len(ids(read(entry('"first:7%"')))) == 7  # 7 / 100 * 100 is above 7 in floating point


def test_random_ones_are_drawn_from_the_seed_and_keep_their_order(read: Read) -> None:
    found = ids(read(entry('"random:50%"'), seed=1))
    assert len(found) == 6 == len(set(found))
    assert found == ids(read(entry('"random:50%"'), seed=1))
    assert found != ids(read(entry('"random:50%"'), seed=2))
    assert found == sorted(found, key=lambda name: int(name.partition("/")[2]))


def test_several_files(read: Read) -> None:
    found = read("datasets:\n  - json_path: ./{a,b}.json\n  - json_path: sub/a.json\n  - json_path: c.jsonl\n")
    assert len(ids(found)) == 11 + 4 + 2 + 3 == len(set(ids(found)))
    assert {item.meta["set"] for item in found if isinstance(item, Sample)} == {"a", "b", "a-2", "c"}


@pytest.mark.parametrize("strategy", ['"last:3"', '"first:"', '"first:x"', '"first:2.5%"', '"first"'])
def test_what_the_original_takes_for_all_is_refused(read: Read, strategy: str) -> None:
    with pytest.raises(UserError, match="no sampling strategy"):
        read(entry(strategy))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datasets:\n  - json_path: z.json\n  - json_path: a.json\n", "1 of 2 files are not there"),
        ("datasets:\n  - path: a.json\n", "no json_path"),
        ("datasets: []\n", "no list of datasets"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_mixture_that_cannot_be_read(read: Read, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(text)


def test_what_the_published_files_leave_in_the_text_goes(read: Read, tmp_path: Path) -> None:
    noisy = rows(1, f"<image>\nWhat? {onevision.NOISE}")
    (tmp_path / "a.json").write_text(json.dumps(noisy), encoding="utf-8")
    (sample,) = read(entry("all"))
    assert isinstance(sample, Sample) and sample.turns[0].text == "What?" and sample.meta["noise_removed"]


def test_a_bad_row_names_its_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"id": "1"}]), encoding="utf-8")
    (finding,) = read(entry("all"))
    assert isinstance(finding, Finding) and finding.check == "onevision"
    assert finding.sample_id == "a.json: row 1" and finding.message.startswith("not a record: ")
