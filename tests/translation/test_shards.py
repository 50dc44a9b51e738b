"""Files of answers: whole or refused, named by the question, taken in once."""

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from olhar.core.errors import UserError
from olhar.translation import shards
from olhar.translation.cache import Cache, Direction, Entry, Spent
from olhar.translation.shards import Shard
from olhar.translators import Kept, Segment

DIRECTION = Direction("engine", "1", "none", "en", "pt")

parts = some.text(max_size=5) | some.builds(Kept, some.text(max_size=5))
segments = some.lists(parts, min_size=1, max_size=3).map(tuple)
entries = some.builds(Entry, segments, some.none()) | some.builds(Entry, some.none(), some.text(max_size=5))


@given(some.lists(some.tuples(segments, entries), max_size=5))
def test_a_shard_comes_back_from_its_file(rows: list[tuple[Segment, Entry]]) -> None:
    told = tuple((shards.segment_to_json(segment), entry) for segment, entry in rows)
    shard = Shard("name", DIRECTION, told, Spent(1, 2, 0.5))
    assert shards.from_text("name", shard.to_text(), "") == shard


def test_line_ends_of_other_alphabets_are_no_line_ends() -> None:
    shard = Shard("name", DIRECTION, (('["a\u2028b\x85c"]', Entry(("x\u2029\x0by",))),))
    assert shards.from_text("name", shard.to_text(), "") == shard


def test_a_damaged_shard_file_is_told(tmp_path: Path) -> None:
    shard = Shard("name", DIRECTION, (('["a"]', Entry(("b",))), ('["c"]', Entry(("d",)))))
    shard.write(tmp_path)
    whole = (tmp_path / shard.file).read_bytes()
    lines = whole.splitlines(keepends=True)
    wrong = [whole[:-5], b"", b"".join(lines[:-2] + lines[-1:]), whole.replace(b"b", b"B"), whole + b"\n", b"\xff"]
    for bad in wrong:
        (tmp_path / shard.file).write_bytes(bad)
        with pytest.raises(UserError, match=shard.file):
            shards.read(tmp_path / shard.file)


def test_a_name_is_that_of_the_question() -> None:
    one: list[Segment] = [("a",), ("b",)]
    names = {
        shards.name_of(DIRECTION, one),
        shards.name_of(DIRECTION, one[:1]),
        shards.name_of(DIRECTION, [("a", "b")]),
        shards.name_of(Direction("engine", "2", "none", "en", "pt"), one),
    }
    assert len(names) == 4 and shards.name_of(DIRECTION, list(one)) in names


def test_a_file_is_taken_once_and_translations_win(tmp_path: Path) -> None:
    Shard("1", DIRECTION, (('["a"]', Entry(None, "no")),), Spent(1, 1, 0.5)).write(tmp_path)
    Shard("2", DIRECTION, (('["a"]', Entry(("A",))),), Spent(1, 1, 0.25)).write(tmp_path)
    Shard("3", Direction("other", "1", "none", "en", "pt"), ()).write(tmp_path)
    with closing(Cache(tmp_path / "c")) as cache:
        assert shards.absorb(tmp_path, cache, "job", DIRECTION) == shards.Absorbed(new=2, foreign=1)
        assert shards.absorb(tmp_path, cache, "job", DIRECTION) == shards.Absorbed(known=2, foreign=1)
        assert cache.spent("job") == Spent(2, 2, 0.75)
        key = DIRECTION.key('["a"]')
        assert cache.get_many([key]) == {key: Entry(("A",))}
