"""Run folders survive kills, full disks, other recipes and second processes."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from olhar.core.errors import DiskError, StageError, UserError
from olhar.core.store import (
    MANIFEST,
    PARTIAL,
    RunFolder,
    StageFolder,
    Stopwatch,
    changes,
    digest,
    digest_path,
    read_json,
    write_json,
    writing,
)
from olhar.core.types import Manifest


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with writing(path) as handle:
        handle.write("olá")
        assert not path.exists() and left(path.parent) == {"a.txt" + PARTIAL}
    assert path.read_text(encoding="utf-8") == "olá" and left(path.parent) == {"a.txt"}
    with writing(path, "wb") as handle:
        handle.write(b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), writing(path) as handle:
        handle.write("new")
        raise error
    assert path.read_text() == "old" and left(tmp_path) == {"a.txt"}


@pytest.mark.parametrize("refusing", ["fsync", "replace"])
def test_a_disk_that_refuses_at_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.json"
    path.write_text("[1]")
    monkeypatch.setattr(os, refusing, refuse)
    with pytest.raises(DiskError, match="No space left") as caught:
        write_json(path, [2])
    assert caught.value.where == str(path)
    assert read_json(path) == [1] and left(tmp_path) == {"a.json"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("size", [10, 1_000_000], ids=["at the end", "while writing"])
def test_a_full_disk_is_told_whenever_it_is_noticed(tmp_path: Path, size: int) -> None:
    """A few bytes are refused when they are flushed, many while they are being written."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    (tmp_path / ("a.txt" + PARTIAL)).symlink_to("/dev/full")
    with pytest.raises(DiskError, match="No space left"), writing(path) as handle:
        handle.write("x" * size)
    assert path.read_text() == "old" and left(tmp_path) == {"a.txt"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError), writing(tmp_path / "file" / "a.txt"):
        pass


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_json_that_cannot_be_read_is_the_users_to_mend(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path)
    assert caught.value.where == str(path)


def test_json_keeps_letters_and_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "mèo", "a": [1.5, None, True]})
    assert "mèo" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert list(read_json(tmp_path / "a.json").items()) == [("b", "mèo"), ("a", [1.5, None, True])]


def test_digests_tell_values_apart_and_know_no_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    values = [{"a": 1}, {"a": "1"}, {"a": [1]}, {"b": 1}, {}, [], None, "ç", "c"]
    assert len({digest(value) for value in values}) == len(values)
    assert digest({"a": 1}) == "f9d86028c6e0d64e", "digests are kept in manifests: they may not change"


def test_a_folders_digest_is_of_names_and_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "a").write_text("1")
        (folder / "b").write_text("2")
    assert digest_path(one) == digest_path(other)
    before = digest_path(one)
    (one / "b").write_text("3")
    assert digest_path(one) != before
    (other / "b").rename(other / "c")
    assert digest_path(other) != before
    assert digest_path(one / "in" / "a") == digest_path(other / "in" / "a")


def test_a_digest_of_what_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such|missing|there is no"):
        digest_path(tmp_path / "nowhere")


CONFIG: Mapping[str, Any] = {"train": {"stages": [{"steps": 10}, {"steps": 20}]}, "seed": 0}
INPUTS = {"mix": "aaaa"}


@pytest.fixture
def stage(tmp_path: Path) -> StageFolder:
    return RunFolder(tmp_path / "runs" / "r").stage("train")


def test_work_begins_once_and_continues_after(stage: StageFolder) -> None:
    assert stage.manifest() is None
    assert stage.begin("f", CONFIG, INPUTS) is False
    assert stage.begin("f", CONFIG, INPUTS) is True
    assert stage.manifest() is None, "begun is not finished"


@pytest.mark.parametrize(
    ("config", "inputs", "told"),
    [
        ({**CONFIG, "seed": 1}, INPUTS, ["seed: 0 then, 1 now"]),
        ({"train": {"stages": [{"steps": 10}, {"steps": 30}]}, "seed": 0}, INPUTS, ["train.stages.1.steps: 20 then"]),
        (CONFIG, {"mix": "bbbb"}, ['inputs.mix: "aaaa" then, "bbbb" now']),
        ({**CONFIG, "new": [1]}, {}, ["new: null then, [1] now", "inputs.mix"]),
        (CONFIG, INPUTS, ["another version of olhar"]),
    ],
)
def test_another_recipes_folder_names_what_differs(
    stage: StageFolder, config: Mapping[str, Any], inputs: dict[str, str], told: list[str]
) -> None:
    stage.begin("f", CONFIG, INPUTS)
    before = (stage.path / "begun.json").read_bytes()
    with pytest.raises(StageError) as caught:
        stage.begin("g", config, inputs)
    assert all(part in caught.value.what for part in told), caught.value.what
    assert "--redo train" in caught.value.fix and caught.value.where == str(stage.path)
    assert (stage.path / "begun.json").read_bytes() == before


def test_many_differences_are_counted_not_listed() -> None:
    then, now = {f"k{n}": 0 for n in range(9)}, {f"k{n}": 1 for n in range(9)}
    error = StageFolder("s", Path("p")).differs(then, {}, now, {})
    assert "k5: 0 then, 1 now; and 3 more" in error.what and "k6" not in error.what


def test_changes_are_found_at_any_depth() -> None:
    assert list(changes({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})) == ["a.1.b: 2 then, 3 now"]
    assert list(changes({"a": [1]}, {"a": [1, 2]})) == ["a: [1] then, [1, 2] now"]
    assert list(changes({"a": {"b": 1}}, {"a": {"b": 1}})) == []


def test_a_finished_stage_tells_what_it_was(stage: StageFolder) -> None:
    stage.begin("f", CONFIG, INPUTS)
    manifest = Manifest("train", "f", CONFIG, INPUTS, {}, {"steps": 3}, 1.5, None, None, "0")
    stage.finish(manifest)
    assert stage.manifest() == manifest
    row = json.loads((stage.path / MANIFEST).read_text(encoding="utf-8"))
    (stage.path / MANIFEST).write_text(json.dumps(row | {"unheard": 1}))
    with pytest.raises(StageError, match="another version"):
        stage.manifest()
    stage.finish(replace(manifest, seconds=2.0))
    assert (stage.manifest() or manifest).seconds == 2.0


def test_outputs_are_the_files_a_stage_made(stage: StageFolder) -> None:
    stage.begin("f", CONFIG, INPUTS)
    stage.finish(Manifest("train", "f", CONFIG, INPUTS, {}, {}, 0.0, None, None, "0"))
    (stage.path / "a.jsonl").write_text("1")
    (stage.path / ("b.jsonl" + PARTIAL)).write_text("2")
    (stage.path / "media").mkdir()
    assert stage.outputs() == {"a.jsonl": digest_path(stage.path / "a.jsonl")}


HOLDING = """
import sys, time
from pathlib import Path
from olhar.core.store import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_works_in_a_run_and_its_death_frees_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(run.path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == "held\n"
            with pytest.raises(StageError, match=f"process {holder.pid}") as caught, run.locked():
                pass
            assert caught.value.where == str(run.path)
        finally:
            os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with run.locked():
            assert (run.path / ".lock").read_text() == str(os.getpid())
        with run.locked():
            pass


def test_a_stopwatch_counts_seconds() -> None:
    watch = Stopwatch()
    assert 0 <= watch.seconds <= watch.seconds < 5
