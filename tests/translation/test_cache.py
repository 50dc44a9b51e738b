"""What was translated stays, whoever asks and whatever happens to the process; people's words win."""

import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as xml
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from olhar.core.errors import DiskError, UserError
from olhar.translation.cache import Cache, Correction, Direction, Entry, Spent, correction_key
from olhar.translation.memory import export_jsonl, export_tmx, import_jsonl
from olhar.translation.wording import characters, segment_from_json, segment_from_value, segment_to_json
from olhar.translators import Kept, Segment

DIRECTION = Direction("engine", "1", "none", "en", "pt")
HELLO: Segment = ("He has ", Kept("12"), " dogs")
OLA: Segment = ("Ele tem ", Kept("12"), " cães")

parts = some.text(max_size=5) | some.builds(Kept, some.text(max_size=5))


def row(segment: Segment, translation: Segment | None, failure: str | None = None) -> tuple[str, Entry]:
    return segment_to_json(segment), Entry(translation, failure)


def key(segment: Segment, direction: Direction = DIRECTION) -> bytes:
    return direction.key(segment_to_json(segment))


@given(some.lists(parts, min_size=1, max_size=5).map(tuple))
def test_a_segment_has_one_json_text(segment: Segment) -> None:
    assert segment_from_json(segment_to_json(segment)) == segment


def test_segments_for_people() -> None:
    assert segment_to_json(HELLO) == '["He has ",["12"]," dogs"]'
    assert segment_from_value("Hello") == ("Hello",)
    assert characters(HELLO) == 14
    for wrong in (3, [3], [["a", "b"]], {"a": "b"}):
        with pytest.raises(ValueError):
            segment_from_value(wrong)


def test_a_key_depends_on_each_field_and_on_nothing_else() -> None:
    text = segment_to_json(HELLO)
    changes = [
        {"engine": "e"},
        {"version": "2"},
        {"source": "es"},
        {"target": "vi"},
        {"engine": "engine|1", "version": ""},
        {"source": "e", "target": "npt"},
    ]
    keys = {replace(DIRECTION, **change).key(text) for change in changes} | {key(HELLO), key(("He has 12 dogs",))}
    assert len(keys) == len(changes) + 2
    assert replace(DIRECTION, licence="other").key(text) == key(HELLO)
    assert correction_key("en", "pt", text) == DIRECTION.correction_key(text) != key(HELLO)


def test_what_is_put_is_found_again_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.db"
    with closing(Cache(path)) as cache:
        cache.put_many(DIRECTION, [row(HELLO, OLA), row(("x",), None, "it says no")], "job", Spent(1, 15, 0.5))
        cache.put_many(DIRECTION, [row(("y",), ("Y",))], "job", Spent(1, 1, 0.25))
    with closing(Cache(path)) as again:
        keys = [key(HELLO), key(("x",)), key(("missing",))]
        assert again.get_many(keys) == {keys[0]: Entry(OLA), keys[1]: Entry(None, "it says no")}
        assert again.spent("job") == Spent(2, 16, 0.75)
        assert again.spent("other") == Spent()
        assert again.get_many([key(HELLO, replace(DIRECTION, target="vi"))]) == {}


def test_many_keys_at_a_time(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "c")) as cache:
        segments: list[Segment] = [(str(number),) for number in range(3000)]
        cache.put_many(DIRECTION, [row(segment, segment) for segment in segments])
        assert len(cache.get_many(map(key, segments))) == 3000


def test_the_first_translation_stays(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "c")) as cache:
        cache.put_many(DIRECTION, [row(HELLO, OLA)])
        cache.put_many(DIRECTION, [row(HELLO, ("other",))])
        assert cache.get_many([key(HELLO)])[key(HELLO)].translation == OLA


def test_failures_can_be_forgotten_and_translations_cannot(tmp_path: Path) -> None:
    other = replace(DIRECTION, target="vi")
    with closing(Cache(tmp_path / "c")) as cache:
        for direction in (DIRECTION, other):
            cache.put_many(direction, [row(HELLO, OLA), row(("x",), None, "no")])
        assert cache.forget_failures(DIRECTION) == 1
        assert set(cache.get_many([key(HELLO), key(("x",)), key(("x",), other)])) == {key(HELLO), key(("x",), other)}


def test_a_batch_is_committed_whole_or_not_at_all(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "c")) as cache:
        with pytest.raises(AttributeError):
            cache.put_many(DIRECTION, [row(HELLO, OLA)], "job", "no spending")  # type: ignore[arg-type]
        assert cache.get_many([key(HELLO)]) == {}
        cache.put_many(DIRECTION, [row(HELLO, OLA)])


def test_a_killed_process_leaves_what_it_committed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from olhar.translation.cache import *\n"
        "cache = Cache(pathlib.Path(sys.argv[1]), paid=True)\n"
        "cache.put_many(Direction('engine', '1', 'none', 'en', 'pt'), [('[\"x\"]', Entry(('X',)))])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "c")], check=False)
    with closing(Cache(tmp_path / "c")) as cache:
        assert cache.get_many([key(("x",))]) == {key(("x",)): Entry(("X",))}


def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database" * 100, encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "foreign")) as foreign, foreign:
        foreign.execute("CREATE TABLE other (x)")
    with closing(Cache(tmp_path / "later")) as cache:
        cache._db.execute("PRAGMA user_version = 99")
    for name, told in (
        ("text", "no cache, or is damaged"),
        ("foreign", "no translation cache"),
        ("later", "format 99"),
    ):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UserError, match=told):
            Cache(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before


def test_damage_inside_is_told_when_it_is_met(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with closing(Cache(path)) as cache:
        cache.put_many(DIRECTION, [row((str(number) * 40,), ("x",)) for number in range(5000)])
    data = bytearray(path.read_bytes())
    data[4096 * 8 : 4096 * 200] = b"\xaa" * len(data[4096 * 8 : 4096 * 200])
    path.write_bytes(data)
    with closing(Cache(path)) as cache, pytest.raises(UserError, match="damaged"):
        cache.get_many(key((str(number) * 40,)) for number in range(5000))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DiskError):
        Cache(tmp_path / "folder")


def test_paid_work_waits_for_the_disk(tmp_path: Path) -> None:
    for paid, level in ((False, 1), (True, 2)):
        with closing(Cache(tmp_path / "c", paid)) as cache:
            assert cache._db.execute("PRAGMA synchronous").fetchone() == (level,)
            assert cache._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def corrected(text: str = '["Hello"]', translation: Segment = ("Oi",)) -> Correction:
    return Correction(correction_key("en", "pt", text), translation, "Ana", "2026", "kind", "en", "pt", text)


def test_corrections_outlive_engines_and_the_last_one_holds(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "c")) as cache:
        assert not cache.corrected
        assert cache.correct([corrected(), corrected(translation=("Olá",))]) == 2
        assert cache.corrected
        assert cache.corrections([corrected().key, b"other"]) == {corrected().key: ("Olá",)}
        assert [one.translation for one in cache.all_corrections()] == [("Olá",)]


def test_the_cache_goes_out_as_json_lines_and_corrections_come_back(tmp_path: Path) -> None:
    with closing(Cache(tmp_path / "c")) as cache, closing(Cache(tmp_path / "d")) as other:
        cache.put_many(DIRECTION, [row(HELLO, OLA), row(("x",), None, "no")])
        alone = Correction(b"12345678901234567890123456789012", ("Só",))
        cache.correct([corrected(), alone])
        assert export_jsonl(cache, tmp_path / "all.jsonl") == 4
        assert import_jsonl(other, tmp_path / "all.jsonl") == 2
        assert sorted(other.all_corrections(), key=lambda one: one.key) == sorted(
            [corrected(), alone], key=lambda one: one.key
        )
        assert list(other.entries()) == []


def test_corrections_are_taken_all_or_none(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    good = '{"source": "en", "target": "pt", "segment": "Hello", "translation": "Oi"}\n'
    with closing(Cache(tmp_path / "c")) as cache:
        for bad in ('{"source": "en"}', "{", '{"source":"en","target":"pt","segment":3,"translation":"x"}'):
            path.write_text(good + bad + "\n", encoding="utf-8")
            with pytest.raises(UserError, match="row 2"):
                import_jsonl(cache, path)
            assert not cache.corrected
        path.write_text(good, encoding="utf-8")
        assert import_jsonl(cache, path) == 1


def test_the_cache_goes_out_as_tmx(tmp_path: Path) -> None:
    markup: Segment = ("a < b & ", Kept("<br>"))
    with closing(Cache(tmp_path / "c")) as cache:
        rows = [row(HELLO, OLA), row(markup, markup), row(("Hello",), ("Alô",)), row(("\x01",), ("\x01",))]
        cache.put_many(DIRECTION, [*rows, row(("x",), None, "no")])
        cache.put_many(replace(DIRECTION, target="vi"), [row(HELLO, ("x",))])
        cache.correct([corrected()])
        assert export_tmx(cache, tmp_path / "m.tmx", "en", "pt") == (3, 1)
    units = xml.parse(tmp_path / "m.tmx").getroot().findall("./body/tu")
    texts = [["".join(seg.itertext()) for seg in unit.iter("seg")] for unit in units]
    assert sorted(texts) == sorted(
        [["Hello", "Oi"], ["He has 12 dogs", "Ele tem 12 cães"], ["a < b & <br>", "a < b & <br>"]]
    )
    assert [ph.text for ph in units[-1].iter("ph")] == ["<br>", "<br>"]
