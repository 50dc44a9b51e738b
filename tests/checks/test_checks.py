"""Every check of the folder: silent on good samples, and finds each fault planted by ``faults/<check>.py``."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from olhar.checks import images, open_check
from olhar.core import choices
from olhar.core.types import Sample, VideoRef
from olhar.languages import language
from olhar.sources import Request, llava
from tests.checks.planting import Fault, sample

NAMES = choices.names("checks")
GOLDEN = Path(__file__).parent.parent / "golden" / "conversations"
EMPTY_ANSWER = "000000560371"


def planted(name: str, folder: Path) -> list[Fault]:
    assert (Path(__file__).parent / "faults" / f"{name}.py").exists(), f"plant a fault for {name}: faults/{name}.py"
    return importlib.import_module(f"tests.checks.faults.{name}").faults(folder)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("images")
    samples = []
    for path in sorted(GOLDEN.glob("*.json")):
        request = Request(path, llava.Options(images=str(folder)), "en", path.stem, folder)
        samples += [row for row in llava.read(request) if isinstance(row, Sample) and row.id != EMPTY_ANSWER]
    for ref in (ref for each in samples for ref in each.media):
        if not os.path.exists(ref.path):
            Image.new("RGB", (32, 24)).save(ref.path)
    assert len(samples) > 20
    return samples


@pytest.mark.parametrize("name", NAMES)
def test_silent_on_good_samples(name: str, good: list[Sample]) -> None:
    check = open_check(name)
    assert [finding for each in good for finding in check(each, None, language("en"))] == []


@pytest.mark.parametrize("name", NAMES)
def test_finds_what_is_planted(name: str, tmp_path: Path) -> None:
    for fault in planted(name, tmp_path):
        check, found = open_check(name), []
        for each in fault.samples:
            found = list(check(each, fault.parent, language(each.language)))
        kinds = [(finding.message.partition(": ")[0], finding.severity) for finding in found]
        assert (fault.kind, fault.severity) in kinds, (fault, found)
        assert {(finding.check, finding.sample_id) for finding in found} == {(name, fault.samples[-1].id)}


@pytest.mark.parametrize("name", NAMES)
def test_each_kind_of_finding_has_advice(name: str, tmp_path: Path) -> None:
    kinds = {fault.kind for fault in planted(name, tmp_path)}
    assert kinds == set(choices.choose("checks", name).ADVICE)


def test_checks_leave_torch_alone() -> None:
    imports = "; ".join(f"import olhar.checks.{name}" for name in NAMES)
    code = f"import sys; {imports}; import olhar.sources.llava; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_question_about_a_further_image_is_another_question() -> None:
    from olhar.checks import turns
    from olhar.core.types import ImageRef, Turn

    asking = [Turn("user", (ImageRef(f"/{name}.jpg"), "What is this?")) for name in "ab"]
    answer = Turn("assistant", ("A cat.",))
    both = Sample("s", "en", (asking[0], answer, asking[1], answer))
    assert list(turns.check(both, None, language("en"))) == []


def test_ordinary_brackets_are_no_leftover_marks() -> None:
    from olhar.checks import placeholders

    texts = ("if a < image_size and b > 2", "<p>an image</p>", "i < 3, video > 4", "<b>vivid</b>", "<ref>cat</ref>")
    for text in texts:
        assert list(placeholders.check(sample(f"user: {text}", "assistant: A"), None, language("en"))) == [], text


def test_what_may_have_become_of_a_mark_is_named() -> None:
    from olhar.checks import placeholders

    lost = sample("user: <hình ảnh>\nQ", "assistant: A")
    lost = Sample(lost.id, "vi", lost.turns, meta={"unplaced": ["/a.jpg"]})
    (finding,) = placeholders.check(lost, None, language("vi"))
    assert "'<hình ảnh>'" in finding.message and "a.jpg" in finding.message


def test_a_shared_image_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: list[Sample]) -> None:
    opened_paths: list[str] = []
    pillow_open = Image.open
    monkeypatch.setattr(images.Image, "open", lambda path: opened_paths.append(path) or pillow_open(path))
    check = images.start()
    for each in (good[0], good[0], good[0]):
        assert list(check(each, None, language("en"))) == []
    assert opened_paths == [good[0].media[0].path]


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0001.JPG", "JPEG")
    from olhar.core.types import Turn

    video = Sample("s", "en", (Turn("user", (VideoRef(str(tmp_path)), "Q")), Turn("assistant", ("A",))))
    assert list(images.start()(video, None, language("en"))) == []
