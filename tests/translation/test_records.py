"""What is read is written again byte by byte, in whatever layout json can make; bad rows are told, not raised."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from olhar.core.errors import UserError
from olhar.translation.layouts import layout_of
from olhar.translation.records import record_file, refuse_existing, writing_like

RECORDS: list[Any] = [
    {"id": "000000148540", "n": 7, "x": 0.1, "conversations": [{"from": "human", "value": "<image>\nOlá?"}], "e": []},
    {"id": 148540, "b": None, "t": True, "d": {}, "conversations": [], "ã": '\u2028 \\u00e9 "quoted" /'},
]
ASCII = [{"id": "1", "value": "plain"}, {"id": "2", "value": "line\nline\t\\"}]


def copied(path: Path) -> bytes:
    out = path.with_name("out")
    file = record_file(path)
    with writing_like(file, out) as writer:
        for row in file:
            if row.problem is None:
                writer.write(row.value)
        writer.finish()
    return out.read_bytes()


def same(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "in"
    path.write_bytes(data)
    assert copied(path) == data


@pytest.mark.parametrize("indent", [None, 0, 1, 2, 4, "\t"])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":"), (",", ": ")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_an_array_keeps_its_layout(
    tmp_path: Path, indent: int | str | None, separators: tuple[str, str], ascii_only: bool
) -> None:
    for records in (RECORDS, RECORDS[1:], ASCII):
        text = json.dumps(records, indent=indent, separators=separators, ensure_ascii=ascii_only)
        for end in ("", "\n"):
            same(tmp_path, (text + end).encode())


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_lines_keep_theirs(tmp_path: Path, newline: str, separators: tuple[str, str], ascii_only: bool) -> None:
    lines = [json.dumps(record, separators=separators, ensure_ascii=ascii_only) for record in RECORDS]
    for end in ("", newline):
        same(tmp_path, (newline.join(lines) + end).encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[]\n",
        "[\n]\n",
        "[{}]",
        '[\n{"a": 1},\n{"a": 2}\n]\n',  # a record a line, in an array
        '[{"a": 1}\n,{"a": 2}]',
        '\ufeff[{"a": 1}]',
        '\ufeff{"a": "é"}\n',
        '[\r\n  {\r\n    "a": 1\r\n  },\r\n  {\r\n    "a": 2\r\n  }\r\n]\r\n',
        '  [ {"a": 1} ]  ',
    ],
)
def test_odd_layouts(tmp_path: Path, text: str) -> None:
    same(tmp_path, text.encode())


def test_the_golden_conversations_come_through_byte_by_byte(tmp_path: Path, conversations: Path) -> None:
    files = sorted(conversations.glob("*.json"))
    assert len(files) == 5
    for file in files:
        same(tmp_path, file.read_bytes())


def test_a_first_record_longer_than_the_head_decides_the_layout_all_the_same(tmp_path: Path) -> None:
    records = [{"id": "1", "text": "é" * 300_000}, {"id": "2", "text": "b"}]
    same(tmp_path, json.dumps(records, indent=3, ensure_ascii=False).encode())


def test_a_letter_escaped_far_behind_the_head_decides_that_letters_are_escaped(tmp_path: Path) -> None:
    lines = [json.dumps({"id": number, "text": "x" * 100}) for number in range(50_000)]
    lines.append(json.dumps({"id": "ã"}))
    path = tmp_path / "in"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert layout_of(path).ascii_only
    assert layout_of(path).text({"a": "é"}) == '{"a": "\\u00e9"}'
    path.write_text('{"a": "\\\\u00e9 is an escape that was escaped"}\n', encoding="utf-8")
    assert not layout_of(path).ascii_only


def test_plain_english_becomes_readable_portuguese(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_text(json.dumps(ASCII), encoding="utf-8")
    assert layout_of(path).text({"a": "é"}) == '{"a": "é"}'


values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(
    some.lists(some.dictionaries(some.text(max_size=4), values, max_size=4), min_size=1, max_size=4),
    some.sampled_from([None, 1, 2, "\t"]),
    some.booleans(),
    some.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_records_of_json_come_through(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any], indent: Any, ascii_only: bool, lines: bool
) -> None:
    if lines:
        text = "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records)
    else:
        text = json.dumps(records, ensure_ascii=ascii_only, indent=indent)
    path = tmp_path_factory.mktemp("any") / "in"
    path.write_text(text, encoding="utf-8", newline="")
    again = copied(path).decode()
    parsed = [json.loads(line) for line in again.splitlines()] if lines else json.loads(again)
    assert json.dumps(parsed) == json.dumps(records)
    if records[0]:  # an empty first record says nothing of its layout
        assert again == text


def test_bad_rows_are_told_with_number_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": 1}\n{"id": 2,}\n{"id": 3}\n{"id": ', encoding="utf-8")
    told = [(row.number, row.problem) for row in record_file(path)]
    assert [number for number, problem in told if problem is None] == [1, 3]
    assert re.match(r"not JSON: .* at byte \d+", str(told[1][1]))
    assert "it ends inside this row" in str(told[3][1])


def test_a_truncated_array_gives_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    whole = json.dumps(RECORDS, indent=1)
    path.write_text(whole[: len(whole) - 20], encoding="utf-8")
    rows = list(record_file(path))
    assert rows[0].value == RECORDS[0]
    assert rows[1].problem is not None and rows[1].stopped_at is not None
    assert json.loads(copied(path)) == RECORDS[:1]


def test_what_is_no_file_of_records_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        record_file(tmp_path / "none.json")
    with pytest.raises(UserError, match="folder"):
        record_file(tmp_path)
    (tmp_path / "x.json").write_text("text", encoding="utf-8")
    with pytest.raises(UserError, match="begins"):
        list(record_file(tmp_path / "x.json"))


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(ASCII), encoding="utf-8")
    with pytest.raises(UserError, match="nothing is overwritten"):
        refuse_existing(path)
    with pytest.raises(RuntimeError), writing_like(record_file(path), tmp_path / "out.json") as out:
        out.write(ASCII[0])
        raise RuntimeError
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.json"]


def test_parquet_without_its_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "in.parquet"
    path.write_bytes(b"PAR1....PAR1")
    with pytest.raises(UserError, match="pyarrow") as told:
        list(record_file(path))
    assert "olhar[parquet]" in told.value.fix


def test_parquet_keeps_schema_and_values(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra: parquet)")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra: parquet)")
    records = [
        {
            "id": f"000{number}",
            "n": number,
            "image": {"bytes": bytes([number % 256]) * 9, "path": None},
            "conversations": [{"from": "human", "value": f"hi {number}"}],
            "box": [0.5, 1.0],
        }
        for number in range(500)
    ]
    table = arrow.Table.from_pylist(records).replace_schema_metadata({"huggingface": "{}"})
    parquet.write_table(table, tmp_path / "in", row_group_size=150, compression="zstd")
    copied(tmp_path / "in")
    assert parquet.read_table(tmp_path / "out").equals(parquet.read_table(tmp_path / "in"), check_metadata=True)
    assert parquet.ParquetFile(tmp_path / "out").metadata.num_row_groups == 4
    with pytest.raises(UserError, match="further key"), writing_like(record_file(tmp_path / "in"), tmp_path / "o") as o:
        o.write({**records[0], "more": 1})
