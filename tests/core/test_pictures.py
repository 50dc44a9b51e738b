"""Pictures are measured without decoding, drawn on where said, and refused with their name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from olhar.core import marks, pictures
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, VideoRef

SIDE = 128


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Frames in the order of their names, written in another, among files that are none."""
    folder = tmp_path / "video"
    folder.mkdir()
    for value, name in ((30, "3.png"), (10, "1.JPG"), (20, "2.png")):
        Image.new("RGB", (4, value), (value, 0, 0)).save(folder / name)
    (folder / "0.txt").write_text("not a frame")
    return folder


def test_sizes_come_from_headers(tmp_path: Path, video: Path) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((300, 200), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert pictures.sizes(ImageRef(str(path))) == ((300, 200),)
    assert pictures.sizes(VideoRef(str(video))) == ((4, 10), (4, 20), (4, 30))
    with pytest.raises(UserError, match="cannot be decoded") as caught:
        pictures.read(ImageRef(str(path)))
    assert caught.value.where == str(path)


def test_frames_are_in_order_of_their_names(video: Path) -> None:
    ref = VideoRef(str(video))
    assert [Path(frame).name for frame in pictures.frames(ref)] == ["1.JPG", "2.png", "3.png"]
    assert [image.size[1] for image in pictures.read(ref)] == [10, 20, 30]


@pytest.mark.parametrize(("count", "names"), [(1, "1"), (2, "13"), (3, "123"), (5, "11223")])
def test_of_a_folder_evenly_spaced_frames_are_seen(video: Path, count: int, names: str) -> None:
    ref = VideoRef(str(video), frames=count)
    assert [Path(frame).name[0] for frame in pictures.frames(ref)] == list(names)
    assert pictures.sizes(ref) == tuple(image.size for image in pictures.read(ref))


def test_what_is_no_video_is_told(tmp_path: Path, video: Path) -> None:
    (tmp_path / "empty").mkdir()
    wrong = [
        (VideoRef(str(tmp_path / "empty")), "holds no picture"),
        (VideoRef(str(tmp_path / "no")), "no such video"),
        (VideoRef(str(video), fps=1), "no frame rate"),
        (VideoRef(str(video), frames=0), "cannot see 0 frames"),
    ]
    for ref, told in wrong:
        for look in (pictures.frames, pictures.sizes, pictures.read):
            with pytest.raises(UserError, match=told) as caught:
                look(ref)
            assert caught.value.where == ref.path


def test_a_video_file_has_no_pictures_on_disk(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(UserError, match="lie in no folder"):
        pictures.frames(VideoRef(str(tmp_path / "film.mp4")))


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    for name, told in (("a.png", "not a picture"), ("b.png", "no such picture"), (".", "not a picture")):
        for look in (pictures.sizes, pictures.read):
            with pytest.raises(UserError, match=told):
                look(ImageRef(str(tmp_path / name)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp"])
def test_a_damaged_picture_is_a_users_error_wherever_it_is_damaged(tmp_path: Path, suffix: str) -> None:
    """One byte turned over, or the end cut off, at many places: read, or refused by name, never anything else."""
    path = tmp_path / f"a.{suffix}"
    Image.effect_noise((24, 16), 80).convert("P" if suffix == "gif" else "RGB").save(path)
    whole = path.read_bytes()
    refused = 0
    for place in [*range(min(64, len(whole))), *range(64, len(whole), max(1, len(whole) // 60))]:
        turned = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        for damaged in (turned, whole[:place]):
            path.write_bytes(damaged)
            pictures._size.cache_clear()
            try:
                (image,) = pictures.read(ImageRef(str(path)))
                assert image.mode == "RGB" and pictures.sizes(ImageRef(str(path))) == (image.size,)
            except UserError as error:
                refused += 1
                assert error.where == str(path)
    assert refused > 10


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (6, 5)).save(path)
    (image,) = pictures.read(ImageRef(str(path)))
    assert (image.mode, image.size) == ("RGB", (6, 5))


def test_marks_are_drawn_when_read_and_not_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (SIDE, SIDE), "white").save(path)
    before = path.read_bytes()
    drawn = (marks.mark("box 0.1 0.1 0.5 0.5 blue alpha=255"), marks.mark("arrow 0.6 0.6 0.9 0.9 red alpha=255"))
    (plain,), (marked,) = pictures.read(ImageRef(str(path))), pictures.read(ImageRef(str(path), drawn))
    colours = {colour for _, colour in marked.getcolors() or []}
    assert plain.getcolors() == [(SIDE * SIDE, (255, 255, 255))]
    assert colours == {(255, 255, 255), (0, 0, 255), (255, 0, 0)}
    assert path.read_bytes() == before


def test_lines_are_as_wide_as_the_models_input_asks(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (672, 200), "white").save(path)
    ref = ImageRef(str(path), (marks.mark("mask 0 0 0.5 1"), marks.mark("box 0.7 0 0.9 1 width=5")))
    for anchor, width in ((336, 10), (672, 5), (6720, 1)):
        (image,) = pictures.read(ref, anchor)
        row = (np.asarray(image)[100, 400:540] != 255).any(-1)
        assert row.sum() == width and not row[:70].any(), "the left line of the box, grown inwards"
