"""Reading LLaVA's JSON: every oddity of real files is kept or told with its row, and nothing is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.core.types import Finding, ImageRef, Part, Sample, VideoRef
from olhar.sources import Request, llava

GOLDEN = Path(__file__).parent.parent / "golden" / "conversations"


def record(question: Any = "<image>\nWhat?", answer: Any = "A cat.", **keys: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "a", "image": "a.jpg", "conversations": turns} | keys


def request(path: Path | None, **options: Any) -> Request:
    return Request(path, llava.Options(**options), "pt", "test", Path("/nowhere"))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Sample | Finding]]:
    def reading(
        *records: Any, raw: bytes | None = None, name: str = "x.json", **options: Any
    ) -> list[Sample | Finding]:
        path = tmp_path / name
        path.write_bytes(json.dumps(records).encode() if raw is None else raw)
        return list(llava.read(request(path, **options)))

    return reading


def parts(sample: Sample | Finding, turn: int = 0) -> tuple[Part, ...]:
    assert isinstance(sample, Sample), sample
    return sample.turns[turn].parts


def told(row: Sample | Finding) -> tuple[str, str, str]:
    assert isinstance(row, Finding) and row.check == "llava"
    return row.sample_id, row.severity, row.message.partition(": ")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<image>\nQ", ("@", "Q")),
        ("Q\n<image>", ("Q", "@")),
        ("<image>\r\nQ", ("@", "Q")),
        ("<image>Q", ("@", "Q")),
        ("A <image> B", ("A ", "@", " B")),
        ("A\n<image>\nB", ("A\n", "@", "B")),
        ("<image>\n\nQ", ("@", "\nQ")),
        ("\n\n<image>", ("\n", "@")),
        ("<image>", ("@",)),
    ],
)
def test_a_mark_becomes_a_part_and_the_newline_beside_it_goes(
    read: Any, tmp_path: Path, text: str, expected: Any
) -> None:
    image = ImageRef(str(tmp_path / "a.jpg"))
    (sample,) = read(record(text))
    assert parts(sample) == tuple(image if part == "@" else part for part in expected)
    assert sample.meta == {} and sample.source == "test" and sample.language == "pt"


def test_several_images_are_placed_in_reading_order_over_the_turns(read: Any, tmp_path: Path) -> None:
    turns = [("human", "1: <image>\n2: <image>\nCompare."), ("gpt", "A"), ("human", "And <image>?"), ("gpt", "B")]
    conversations = [{"from": who, "value": text} for who, text in turns]
    for keys in ({"image": ["a.jpg", "b.jpg", "c.jpg"]}, {"image": None, "images": ["a.jpg", "b.jpg", "c.jpg"]}):
        (sample,) = read(record(**keys, conversations=conversations))
        a, b, c = (ImageRef(str(tmp_path / f"{name}.jpg")) for name in "abc")
        assert parts(sample) == ("1: ", a, "2: ", b, "Compare.")
        assert parts(sample, 2) == ("And ", c, "?")


def test_videos_stand_at_their_marks_or_at_image_marks_where_there_are_no_images(read: Any, tmp_path: Path) -> None:
    (own,) = read(record("<video>\n<image>\nQ", video="v", images=["a.jpg"], image=None))
    (borrowed,) = read(record("<image>\nQ", video=["v"], image=None))
    assert parts(own) == (VideoRef(str(tmp_path / "v")), ImageRef(str(tmp_path / "a.jpg")), "Q")
    assert parts(borrowed) == (VideoRef(str(tmp_path / "v")), "Q")
    assert own.meta == borrowed.meta == {}


def test_media_and_marks_that_do_not_agree_are_kept_in_meta(read: Any, tmp_path: Path) -> None:
    (unplaced,) = read(record("<imagem>\nQ"))
    (homeless,) = read(record("A <image>\nB <image>\nC"))
    (text_only,) = read(record("Q", image=None))
    assert unplaced.meta == {"unplaced": [str(tmp_path / "a.jpg")]} and parts(unplaced) == ("<imagem>\nQ",)
    assert homeless.meta == {"marks_without_media": [[0, 3]]}
    assert parts(homeless) == ("A ", ImageRef(str(tmp_path / "a.jpg")), "B ", "C")
    assert text_only.meta == {} and text_only.media == ()


def test_paths_start_from_the_folders_given(read: Any, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    pictures = str(tmp_path / "pictures")
    (inside,) = read(record(image="./coco/a.jpg"), images=pictures)
    (absolute,) = read(record(image="/data/a.jpg"), images=pictures)
    assert inside.media == (ImageRef(f"{pictures}/coco/a.jpg"),)
    assert absolute.media == (ImageRef("/data/a.jpg"),)
    with pytest.raises(UserError, match="no such folder of images"):
        read(record(), images=str(tmp_path / "absent"))


def test_openai_messages(read: Any, tmp_path: Path) -> None:
    image = ImageRef(str(tmp_path / "a.jpg"))
    contents = [
        "<image>\nQ",
        [{"type": "image"}, {"type": "text", "text": "Q"}],
        [{"type": "image_url", "image_url": {"url": "a.jpg"}}, {"type": "text", "text": "Q"}],
    ]
    for content, paths in zip(contents, (["a.jpg"], ["a.jpg"], None), strict=True):
        messages = [
            {"role": "system", "content": "S"},
            {"role": "user", "content": content},
            {"role": "assistant", "content": "A"},
        ]
        (sample,) = read({"id": "a", "images": paths, "messages": messages})
        assert [turn.role for turn in sample.turns] == ["system", "user", "assistant"]
        assert parts(sample, 1) == (image, "Q") and sample.meta == {}


def test_unknown_keys_are_kept_unchanged(read: Any) -> None:
    row = record(_source="x", length=12.0, nested={"a": [None, 1]})
    row["conversations"][1]["weight"] = 0
    (sample,) = read(row)
    assert sample.meta["extra"] == {"_source": "x", "length": 12.0, "nested": {"a": [None, 1]}}
    assert sample.meta["extra_of_turns"] == {"1": {"weight": 0}}


def test_integer_ids_become_strings_and_are_counted_once(read: Any) -> None:
    first, second, third, last = read(record(id=148540), record(id="000000148540"), record(id=7))
    assert [sample.id for sample in (first, second, third)] == ["148540", "000000148540", "7"]
    assert first.meta == {"id_was": "int"} and second.meta == {}
    assert told(last) == ("x.json", "info", "integer ids") and "2 in this file" in last.message


def test_a_repeated_id_is_an_error_or_numbered_when_asked_for(read: Any) -> None:
    rows = [record(id="a"), record(id="a#2"), record(id="a"), record(id="a")]
    assert [told(row) for row in read(*rows)[2:]] == [
        ("row 3", "error", "repeated id"),
        ("row 4", "error", "repeated id"),
    ]
    numbered = read(*rows, repeated_ids="number")
    assert [sample.id for sample in numbered] == ["a", "a#2", "a#3", "a#4"]
    assert numbered[2].meta == {"id_in_file": "a"}


UNFIT = [
    (record(id=None), "missing id"),
    (record(id=""), "missing id"),
    (record(id=1.5), "unfit id"),
    (record(id=True), "unfit id"),
    ({"question_id": 3, "text": "Q"}, "not a record"),
    (record(messages=[]), "not a record"),
    (record(conversations="Q"), "not a record"),
    ("text", "not a record"),
    (None, "not a record"),
    (record(conversations=[{"from": "bot", "value": "x"}]), "unknown role"),
    (record(conversations=[{"from": "human"}]), "unfit turn"),
    (record(conversations=["Q"]), "unfit turn"),
    (record(None), "unfit turn"),
    (record([{"type": "audio"}]), "unfit turn"),
    (record(image=17), "unfit image"),
    (record(image=""), "unfit image"),
    (record(image="https://example.org/a.jpg"), "image is not a file"),
    (record(image="data:image/png;base64,AAAA"), "image is not a file"),
    (record(images=["b.jpg"]), "image given twice"),
    (record(answer="caf\ufffd"), "broken text"),
]


@pytest.mark.parametrize(("row", "kind"), UNFIT)
def test_a_row_that_cannot_be_a_sample_is_told_and_the_next_is_read(read: Any, row: Any, kind: str) -> None:
    before, finding, after = read(record(id="x"), row, record(id="y"))
    assert (before.id, after.id) == ("x", "y")
    assert told(finding) == ("row 2", "error", kind)
    assert kind in llava.ADVICE


def lines(*rows: bytes, end: bytes = b"\n") -> bytes:
    return b"".join(row + end for row in rows)


def as_bytes(**keys: Any) -> bytes:
    return json.dumps(record(**keys), ensure_ascii=False).encode()


def test_json_lines_with_byte_order_mark_crlf_and_blank_lines(read: Any) -> None:
    raw = b"\xef\xbb\xbf" + lines(as_bytes(id="a"), b"", as_bytes(id="b"), b"not JSON", as_bytes(id="c"), end=b"\r\n")
    a, b, bad, c = read(raw=raw)
    assert [sample.id for sample in (a, b, c)] == ["a", "b", "c"]
    assert told(bad) == ("row 4", "error", "not JSON")


def test_an_array_with_byte_order_mark_and_crlf(read: Any) -> None:
    raw = b"\xef\xbb\xbf\r\n[\r\n" + as_bytes(id="a") + b",\r\n" + as_bytes(id="b") + b"\r\n]\r\n"
    assert [sample.id for sample in read(raw=raw)] == ["a", "b"]


@pytest.mark.parametrize(("begin", "join", "end"), [(b"[", b", ", b"]"), (b"", b"\n", b"\n")])
def test_broken_bytes_and_half_characters_name_their_row(read: Any, begin: bytes, join: bytes, end: bytes) -> None:
    rows = [
        as_bytes(id="a"),
        as_bytes(id="b", answer="caf#").replace(b"#", b"\xe9"),
        rb'{"id": "\ud83d"}',
        as_bytes(id="é"),
    ]
    good, broken, half, last = read(raw=begin + join.join(rows) + end)
    assert told(broken) == ("row 2", "error", "broken text") and "0xE9" in broken.message
    assert told(half) == ("row 3", "error", "broken text") and "\\ud83d" in half.message
    assert (good.id, last.id) == ("a", "é")


def test_whole_characters_written_as_escapes_are_read(read: Any) -> None:
    (sample,) = read(raw=rb'[{"id": "\ud83d\ude00", "conversations": []}]')
    assert sample.id == "\U0001f600"


@pytest.mark.parametrize("cut", [1, 2, 30, 60])
def test_a_file_that_breaks_off_names_row_and_byte(read: Any, cut: int) -> None:
    rows = as_bytes(id="a"), as_bytes(id="b")
    for raw, begins in ((b"[" + b",".join(rows), 2 + len(rows[0])), (b"\n".join(rows), 1 + len(rows[0]))):
        sample, finding = read(raw=raw[:-cut])
        assert sample.id == "a" and told(finding) == ("row 2", "error", llava.CUT_SHORT)
        assert f"byte {begins:,}" in finding.message and f"of {len(raw) - cut:,} bytes" in finding.message


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        (b"", "it ends before the array does, at byte 4"),
        (b" 5]", "no comma before this row, at byte 5"),
        (b", {bad}]", "expecting property name"),
        (b", ]", "expecting value at byte 6"),
        (b"] [4]", "text after the end of the array, at byte 6"),
    ],
)
def test_an_array_gone_wrong_says_where_and_how_much_is_unread(read: Any, tail: bytes, says: str) -> None:
    (*_, finding) = read(raw=b"[{}\n" + tail)
    assert told(finding) == ("row 2", "error", llava.CUT_SHORT)
    assert says in finding.message and "bytes are unread" in finding.message


def test_an_empty_file_and_an_empty_array_hold_nothing(read: Any) -> None:
    assert read(raw=b"") == read(raw=b" [ ] ") == []


def test_what_is_no_list_of_records_is_refused(read: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spread over several lines"):
        read(raw=b'{\n "a": 1\n}')
    with pytest.raises(UserError, match="UTF-16"):
        read(raw="[]".encode("utf-16"))
    with pytest.raises(UserError, match="begins with b'i'"):
        read(raw=b"id,image\n1,a.jpg")
    with pytest.raises(UserError, match=r"name one file of it: x\.json"):
        llava.read(request(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        llava.read(request(tmp_path / "absent.json"))
    with pytest.raises(UserError, match="needs a file"):
        llava.read(request(None))


def test_golden_conversations_are_read_whole() -> None:
    for path in sorted(GOLDEN.glob("*.json")):
        rows, samples = json.loads(path.read_text("utf-8")), list(llava.read(request(path)))
        assert [sample.id for sample in samples] == [row["id"] for row in rows]
        for row, sample in zip(rows, samples, strict=True):
            texts = [turn["value"].removeprefix("<image>\n") for turn in row["conversations"]]
            assert [turn.text for turn in sample.turns] == texts
            assert sample.media == (ImageRef(str(path.parent / row["image"])),)
            assert sample.meta == {"extra": {key: row[key] for key in row if key.startswith("_")}}
