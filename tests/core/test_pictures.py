"""Pictures are measured without decoding, drawn on where said, and refused with their name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from olhar.core import pictures
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Mark, VideoRef

SIDE = 128


def drawn(mark: Mark, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """(height, width) bool: where the mark changed a grey picture."""
    image = Image.new("RGB", size, (77, 77, 77))
    pictures.draw(image, mark)
    return (np.asarray(image) != 77).any(-1)


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


def test_what_is_no_folder_of_frames_is_told(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for name, told in (("film.mp4", "folder of pictures"), ("empty", "holds no picture"), ("no", "folder of pictures")):
        with pytest.raises(UserError, match=told) as caught:
            pictures.sizes(VideoRef(str(tmp_path / name)))
        assert caught.value.where == str(tmp_path / name)


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
            pictures.size.cache_clear()
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
    marks = (pictures.mark("box 0.1 0.1 0.5 0.5 blue"), pictures.mark("arrow 0.6 0.6 0.9 0.9 red"))
    (plain,), (marked,) = pictures.read(ImageRef(str(path))), pictures.read(ImageRef(str(path), marks))
    colours = {colour for _, colour in marked.getcolors() or []}
    assert plain.getcolors() == [(SIDE * SIDE, (255, 255, 255))]
    assert colours == {(255, 255, 255), (0, 0, 255), (255, 0, 0)}
    assert path.read_bytes() == before


@given(st.tuples(*[st.floats(0, 1)] * 4), st.sampled_from([(64, 64), (SIDE, 40), (30, SIDE)]))
def test_a_box_changes_its_border_only(geometry: tuple[float, ...], size: tuple[int, int]) -> None:
    x0, x1 = sorted(geometry[::2])
    y0, y1 = sorted(geometry[1::2])
    changed = drawn(Mark("box", "red", (x0, y0, x1, y1)), size)
    rows, columns = np.nonzero(changed)
    assert len(rows) or x0 > 1 - 2 / size[0] or y0 > 1 - 2 / size[1]
    width = max(2, round(max(size) * 2 / 64))  # a box thinner than its line is as thick as the line
    for values, low, high, extent in ((columns, x0, x1, size[0]), (rows, y0, y1, size[1])):
        assert all(low * extent - width <= value <= high * extent + width for value in values)
    inside = changed[int(y0 * size[1]) + width + 1 : int(y1 * size[1]) - width, :]
    inside = inside[:, int(x0 * size[0]) + width + 1 : int(x1 * size[0]) - width]
    assert not inside.any()


def test_a_box_lies_where_it_is_said() -> None:
    changed = drawn(Mark("box", "red", (0.25, 0.5, 0.75, 1.0)))
    rows, columns = np.nonzero(changed)
    assert (columns.min(), columns.max()) == (32, 96) and rows.min() == 64 and rows.max() == SIDE - 1
    assert changed[64, 50] and not changed[80, 64]


def test_an_arrow_points_where_it_is_said() -> None:
    changed = drawn(Mark("arrow", "lime", (0.25, 0.25, 0.75, 0.25)))
    assert changed[32, 33:95].all() and changed[32, 96]
    rows, columns = np.nonzero(changed)
    radius = SIDE * 3 / 64
    assert columns.max() <= 96 + radius + 1 and rows.min() >= 32 - radius - 1 and rows.max() <= 32 + radius + 1
    assert changed[:, 90:].sum() > changed[:, :40].sum(), "the dot is at the end"


def test_a_mark_is_read_from_words() -> None:
    assert pictures.mark("box 0.1 0.2 0.6 0.9 gold") == Mark("box", "gold", (0.1, 0.2, 0.6, 0.9))
    assert pictures.mark("  arrow 0 1 1 0 ") == Mark("arrow", "red", (0.0, 1.0, 1.0, 0.0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "box",
        "box red",
        "box 0.1 0.2 0.6",
        "box 0.1 0.2 0.6 0.9 0.9 red",
        "box 0.1 0.2 0.6 0.9 pink",
        "box 0.1 0.2 0.6 nine red",
        "box 0.1 0.2 0.6 1.9 red",
        "box -0.1 0.2 0.6 0.9 red",
        "box 0.1 0.2 nan 0.9 red",
        "circle 0.1 0.2 0.6 0.9 red",
        "red 0.1 0.2 0.6 0.9",
        "box 0.6 0.2 0.1 0.9 red",
        "box 0.1 0.9 0.6 0.2 red",
    ],
)
def test_a_mark_that_cannot_be_drawn_is_told(text: str) -> None:
    with pytest.raises(UserError) as caught:
        pictures.mark(text)
    assert caught.value.where == "--mark" and "box 0.1 0.2 0.6 0.9 red" in caught.value.fix


@given(st.text())
def test_no_words_break_the_reading_of_marks(text: str) -> None:
    try:
        mark = pictures.mark(text)
    except UserError:
        return
    drawn(mark)


def test_every_colour_and_shape_that_is_read_can_be_drawn() -> None:
    for shape in pictures.SHAPES:
        for colour in pictures.COLOURS:
            assert drawn(pictures.mark(f"{shape} 0.1 0.1 0.9 0.9 {colour}")).any()
