"""Samples survive JSON and disk whatever they say, wherever the run folder goes."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.core.samples import SampleFile, writing_samples
from olhar.core.types import (
    ImageRef,
    Mark,
    Sample,
    Turn,
    VideoRef,
    media_paths,
    sample_from_json,
    sample_to_json,
    with_paths,
)

NUMBERS = st.floats(0, 1, allow_nan=False)
MARKS = st.builds(Mark, st.sampled_from(["box", "arrow"]), st.text(max_size=5), st.tuples(*[NUMBERS] * 4))
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).map(lambda p: f"/m/{p}")
MEDIA = st.one_of(
    st.builds(ImageRef, PATHS, st.lists(MARKS, max_size=2).map(tuple)),
    st.builds(VideoRef, PATHS),
)
TURNS = st.builds(
    Turn,
    st.sampled_from(["system", "user", "assistant"]),
    st.lists(st.one_of(st.text(), MEDIA), max_size=4).map(tuple),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SAMPLES = st.builds(
    Sample,
    st.text(),
    st.text(max_size=3),
    st.lists(TURNS, max_size=3).map(tuple),
    st.text(),
    st.none() | st.text(),
    st.dictionaries(st.text(), JSON, max_size=3),
)


@given(SAMPLES)
def test_json_gives_the_sample_back(sample: Sample) -> None:
    assert sample_from_json(json.loads(json.dumps(sample_to_json(sample)))) == sample


@settings(max_examples=40, deadline=None)
@given(samples=st.lists(SAMPLES, max_size=4))
def test_a_file_gives_its_samples_back_in_any_order(tmp_path_factory: Any, samples: list[Sample]) -> None:
    root = tmp_path_factory.mktemp("run")
    with writing_samples(root / "s.jsonl", root) as out:
        for sample in samples:
            out.write(sample)
    assert out.count == len(samples)
    file = SampleFile(root / "s.jsonl", root)
    assert len(file) == len(samples) and list(file) == samples
    for index in reversed(range(len(samples))):
        assert file[index] == samples[index]


def test_paths_inside_a_run_move_with_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    inside, outside = run / "ingest" / "a.png", tmp_path / "runaway" / "b.png"
    parts = (ImageRef(str(inside), (Mark("box", "red", (0.0, 0.0, 1.0, 1.0)),)), VideoRef(str(outside)), "?")
    sample = Sample("a", "pt", (Turn("user", parts),))
    with writing_samples(run / "s.jsonl", run) as out:
        out.write(sample)
    text = (run / "s.jsonl").read_text(encoding="utf-8")
    assert '"ingest/a.png"' in text and str(outside) in text
    assert SampleFile(run / "s.jsonl", run)[0] == sample
    moved = tmp_path / "moved"
    shutil.move(run, moved)
    paths = list(media_paths(SampleFile(moved / "s.jsonl", moved)[0]))
    assert paths == [str(moved / "ingest" / "a.png"), str(outside)]


def test_a_run_behind_a_link_is_the_same_run(tmp_path: Path) -> None:
    run, link = tmp_path / "run", tmp_path / "link"
    run.mkdir()
    link.symlink_to(run)
    with writing_samples(link / "s.jsonl", link) as out:
        out.write(Sample("a", "pt", (Turn("user", (ImageRef(str(run / "a.png")),)),)))
    assert '"a.png"' in (run / "s.jsonl").read_text(encoding="utf-8")


def test_a_file_appears_when_all_samples_are_written(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writing_samples(tmp_path / "s.jsonl", tmp_path) as out:
        out.write(Sample("a", "pt", ()))
        raise KeyError
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="no samples"):
        SampleFile(tmp_path / "s.jsonl", tmp_path)


def test_a_sample_file_goes_to_a_worker_as_its_name(tmp_path: Path) -> None:
    with writing_samples(tmp_path / "s.jsonl", tmp_path) as out:
        for number in range(3):
            out.write(Sample(str(number), "pt", ()))
    file = SampleFile(tmp_path / "s.jsonl", tmp_path)
    again = pickle.loads(pickle.dumps(file))
    assert again[2].id == "2" and file[1].id == "1" and [sample.id for sample in again] == ["0", "1", "2"]
    with pytest.raises(IndexError):
        file[3]


def test_turns_know_their_text_and_media() -> None:
    image, video = ImageRef("a.png"), VideoRef("v")
    turn = Turn("user", ("one ", image, "two", video))
    assert turn.text == "one two" and turn.media == (image, video)
    sample = Sample("a", "pt", (turn, Turn("assistant", ("x",)), Turn("user", (image,))))
    assert sample.media == (image, video, image) and list(media_paths(sample)) == ["a.png", "v", "a.png"]
    assert list(media_paths(with_paths(sample, str.upper))) == ["A.PNG", "V", "A.PNG"]


def test_references_with_other_marks_are_other_references() -> None:
    plain, marked = ImageRef("a"), ImageRef("a", (Mark("box", "red", (0.0, 0.0, 1.0, 1.0)),))
    assert plain != marked and len({plain, marked, ImageRef("a")}) == 2
    with pytest.raises(AttributeError):
        plain.path = "b"  # type: ignore[misc]
