"""The findings report: its numbers, its bounds, its advice, and a page that stands alone."""

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from olhar.core.types import Finding, ImageRef, Sample, Severity, Turn
from olhar.reports import findings
from olhar.reports.findings import FindingsReport


def sample(name: str = "s", question: str = "What?") -> Sample:
    return Sample(name, "en", (Turn("user", (ImageRef(f"/data/{name}.jpg"), question)), Turn("assistant", ("A",))))


def finding(message: str, severity: Severity = "error", check: str = "turns", name: str = "s") -> Finding:
    return Finding(name, check, severity, message)


def printed(report: FindingsReport) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))
    console.print(report.table())
    return console.export_text()


@pytest.fixture
def report() -> FindingsReport:
    report = FindingsReport()
    for number in range(6):
        report.add(sample(f"ok{number}"), [])
    report.add(
        sample("bad"), [finding("empty answer: turn 2", name="bad"), finding("empty answer: turn 4", name="bad")]
    )
    report.add(sample("odd"), [finding("same question twice: turn 3", "warning", name="odd")])
    report.add_finding(finding("missing id: the record has none", check="llava", name="row 9"))
    report.add_finding(finding("integer ids: 3 in this file", "info", "llava", "x.json"))
    return report


def test_counts_samples_and_findings_apart(report: FindingsReport) -> None:
    told = json.loads(json.dumps(report.to_json()))
    counts = {key: told[key] for key in ("samples", "passed", "rejected", "warned", "unread", "images")}
    assert counts == {"samples": 8, "passed": 7, "rejected": 1, "warned": 1, "unread": 1, "images": 8}
    by_kind = {group["kind"]: group for group in told["findings"]}
    assert (by_kind["empty answer"]["count"], by_kind["empty answer"]["samples"]) == (2, 1)
    assert by_kind["empty answer"]["share"] == pytest.approx(1 / 9, abs=1e-6)
    assert [group["severity"] for group in told["findings"]] == ["error", "error", "warning", "info"]
    assert by_kind["missing id"]["examples"] == [{"id": "row 9", "detail": "the record has none"}]


def test_the_table_names_examples_and_what_to_do(report: FindingsReport) -> None:
    text = printed(report)
    assert "7 of 9 samples pass; 1 rejected, 1 not read" in text
    assert "bad  turn 2" in text and "11.1%" in text
    assert "→ nothing would be trained" in text  # the advice of checks/turns.py
    assert "→ give every row an id" in text  # the advice of sources/llava.py


@pytest.mark.parametrize(("missing", "says"), [(4, "pass --images FOLDER"), (1, "copy the file there")])
def test_missing_images_are_told_once_with_the_folder_they_are_missed_in(missing: int, says: str) -> None:
    report = FindingsReport()
    for number in range(4):
        there = [] if number >= missing else [finding(f"no such file: /data/coco/{number}/a.jpg", check="images")]
        report.add(sample(), there)
    (group,) = report.groups
    folder = "/data/coco" if missing > 1 else "/data/coco/0"
    assert report.advice(group).startswith(f"{missing} of 4 images missing below {folder}: ")
    assert says in report.advice(group)


def test_a_file_not_read_to_its_end_comes_first(report: FindingsReport) -> None:
    report.add_finding(finding("file not read to its end: at byte 9", check="llava", name="row 10"))
    assert report.groups[0].kind == "file not read to its end"
    assert "Look first at: file not read to its end" in report.verdict()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "KEPT", 10)
    report = FindingsReport()
    for number in range(300):
        report.add(sample(), [finding(f"kind {chr(65 + number % 26)}{'x' * (number % 26)}: {number}", "warning")])
    assert len(report.groups) == findings.KINDS + 1
    assert sum(group.count for group in report.groups) == 300
    assert max(len(group.examples) for group in report.groups) == 10
    page = report.html()
    assert page.count('<tr data-severity="warning">') == 10 and "Shown are 10 of 300" in page
    assert len(set(re.findall(r"<td>(kind \w+|other findings)</td>", page))) == 10  # the kinds take turns


def test_messages_of_other_shapes_are_grouped_without_what_varies() -> None:
    report = FindingsReport()
    report.add(
        sample(), [finding("ratio 3.1 is above 2.5"), finding("ratio 17 is above 2.5"), finding("word 'x' again")]
    )
    assert [(group.kind, group.count) for group in report.groups] == [("ratio … is above …", 2), ("word … again", 1)]


def test_the_page_stands_alone_and_escapes_what_it_shows(report: FindingsReport) -> None:
    evil = "<script>alert(1)</script> <imagem> \x01 \udce9"
    report.add(sample("evil", evil), [finding("mark left in the text: '<imagem>' in turn 1", check="placeholders")])
    page = report.html("my data")
    assert page.encode("utf-8")
    assert "<script>alert" not in page and page.count("<script>") == 1
    assert not re.search(r"""(src|href)=["']?(https?:|//|/)|@import|url\(""", page)
    assert "<mark>&lt;imagem&gt;</mark>" in page and "<mark>␁</mark>" in page and "\\udce9" in page
    assert "evil.jpg" in page and "my data" in page
    for group in report.groups:
        assert f'id="{group.check}"' in page


def test_the_excerpt_shows_the_turn_that_is_meant() -> None:
    turns = tuple(Turn("user" if n % 2 else "assistant", (f"text of turn {n}",)) for n in range(1, 10))
    report = FindingsReport()
    report.add(Sample("s", "en", turns), [finding("empty answer: turn 7")])
    page = report.html()
    assert "text of turn 7" in page and "text of turn 6" in page and "text of turn 2" not in page


def test_nothing_found_is_said_plainly(tmp_path: Path) -> None:
    report = FindingsReport()
    assert report.verdict() == "There was nothing to check."
    report.add(sample(), [])
    assert report.verdict() == "All 1 samples pass."
    assert "No check has anything to say" in report.html()
