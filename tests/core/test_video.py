"""Video files are counted without decoding them, seen at the frames asked for, and refused with their name."""

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from olhar.core import pictures, video
from olhar.core.errors import UserError
from olhar.core.types import Sample, Turn, VideoRef, sample_from_json, sample_to_json, with_paths

COUNT, STEP = 30, 8  # frames of every film, and how much lighter each is than the one before
KINDS = [("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "libx264"), ("webm", "libvpx"), ("ts", "libx264")]


def film(path: Path, codec: str = "libx264", count: int = COUNT, rate: int = 10, **options: Any) -> Path:
    """A film of 64 x 48 pixels; frame n is of grey ``n * STEP``, its upper left corner white."""
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8" if codec == "gif" else "yuv420p"
        stream.bit_rate = 4_000_000  # greys stay themselves
        for number in range(count):
            pixels = np.full((48, 64, 3), number * STEP % 256, np.uint8)
            pixels[:16, :16] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def seen(ref: VideoRef) -> list[int]:
    """Which frames were read, by their grey."""
    return [round(int(np.asarray(image)[40, 50].mean()) / STEP) for image in pictures.read(ref)]


@pytest.fixture(autouse=True)
def forgotten() -> None:
    video._header.cache_clear()


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_frames_are_seen_as_asked(tmp_path: Path, suffix: str, codec: str) -> None:
    path = str(film(tmp_path / f"a.{suffix}", codec))
    assert seen(VideoRef(path)) == np.linspace(0, 29, 8, dtype=int).tolist()
    assert seen(VideoRef(path, frames=3)) == [0, 14, 29]
    assert seen(VideoRef(path, frames=1)) == [0]
    assert seen(VideoRef(path, fps=2)) == [0, 5, 10, 15, 20, 25]
    assert seen(VideoRef(path, frames=6, fps=2)) == [0, 5, 10, 15, 20, 25]
    assert seen(VideoRef(path, frames=4, fps=2)) == [0, 9, 19, 29]
    assert seen(VideoRef(path, fps=99)) == list(range(30))
    assert seen(VideoRef(path, frames=60)) == np.linspace(0, 29, 60, dtype=int).tolist()
    for ref in (VideoRef(path), VideoRef(path, 5), VideoRef(path, None, 3.0)):
        images = pictures.read(ref)
        assert pictures.sizes(ref) == tuple(image.size for image in images) == ((64, 48),) * len(images)
        assert {image.mode for image in images} == {"RGB"}


def test_a_moving_gif_is_a_video(tmp_path: Path) -> None:
    path = str(film(tmp_path / "a.gif", "gif", count=5))
    assert len(pictures.read(VideoRef(path))) == 5 == len(pictures.sizes(VideoRef(path))), "fewer than eight: all"
    assert len(pictures.read(VideoRef(path, frames=2))) == 2


def test_sizes_decode_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, decoded = str(film(tmp_path / "a.mp4")), []
    rotation = video._turn
    monkeypatch.setattr(video, "_turn", lambda frame: decoded.append(frame.pts) or rotation(frame))
    assert len(pictures.sizes(VideoRef(path, frames=20))) == 20 and len(decoded) == 1


def test_a_film_of_a_turned_camera_is_upright(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    whole = bytearray(path.read_bytes())
    one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    straight = one + bytes(12) + one + bytes(12) + (1 << 30).to_bytes(4, "big")
    turned = bytes(4) + one + bytes(4) + minus + bytes(16) + (1 << 30).to_bytes(4, "big")  # 90 degrees clockwise
    place = whole.index(straight, whole.index(b"tkhd"))
    whole[place : place + 36] = turned
    path.write_bytes(whole)
    (image,) = pictures.read(VideoRef(str(path), frames=1))
    assert pictures.sizes(VideoRef(str(path), frames=1)) == (image.size,) == ((48, 64),)
    corner = np.asarray(image)[:, :, 0] > 200
    assert corner[4:12, 36:44].all() and not corner[:, :28].any(), "the white corner went from left to right"


def test_a_video_whose_name_looks_like_an_address(tmp_path: Path) -> None:
    (tmp_path / "http:").mkdir()
    assert len(pictures.read(VideoRef(str(film(tmp_path / "http:" / "a:b.mp4"))))) == 8


@pytest.mark.parametrize(("suffix", "codec"), KINDS[:4])
def test_a_video_that_breaks_off_is_told(tmp_path: Path, suffix: str, codec: str) -> None:
    path = film(tmp_path / f"a.{suffix}", codec, **({"movflags": "faststart"} if suffix == "mp4" else {}))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    for look in (pictures.sizes, pictures.read):
        with pytest.raises(UserError, match=r"breaks off|cannot be decoded") as caught:
            look(VideoRef(str(path)))
        assert caught.value.where == str(path)


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("<!doctype html>")
    (tmp_path / "empty.mp4").write_bytes(b"")
    film(tmp_path / "none.mkv", count=0)
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    for name in ("text.mp4", "empty.mp4", "none.mkv", "sound.wav", "absent.mp4"):
        for look in (pictures.sizes, pictures.read):
            with pytest.raises(UserError, match=r"video|no pictures") as caught:
                look(VideoRef(str(tmp_path / name)))
            assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("ref", [VideoRef("", 0), VideoRef("", -1), VideoRef("", None, 0.0), VideoRef("", 4, -1.0)])
def test_a_number_of_frames_that_is_none_is_told(tmp_path: Path, ref: VideoRef) -> None:
    path = str(film(tmp_path / "a.mp4", count=3))
    with pytest.raises(UserError, match="cannot see") as caught:
        pictures.sizes(VideoRef(path, ref.frames, ref.fps))
    assert caught.value.where == path


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_a_damaged_video_is_a_users_error_wherever_it_is_damaged(tmp_path: Path, suffix: str, codec: str) -> None:
    """Bytes turned over, or the end cut off: read as many frames as promised, or refused by name."""
    path = film(tmp_path / f"a.{suffix}", codec)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), max(1, len(whole) // 50)):
        turned = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        for damaged in (turned, whole[:place]):
            path.write_bytes(damaged)
            video._header.cache_clear()
            try:
                promised = pictures.sizes(VideoRef(str(path), frames=4))
                assert tuple(image.size for image in pictures.read(VideoRef(str(path), frames=4))) == promised
            except UserError as error:
                refused += 1
                assert error.where == str(path)
    assert refused > 2


def test_without_pyav_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, folder = film(tmp_path / "a.mp4"), tmp_path / "frames"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "0.png")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="PyAV") as caught:
        pictures.sizes(VideoRef(str(path)))
    assert caught.value.fix == 'pip install "olhar[video]"' and caught.value.where == str(path)
    assert len(pictures.read(VideoRef(str(folder)))) == 1, "folders need no PyAV"


def test_json_keeps_how_a_video_is_seen_and_reads_old_rows() -> None:
    refs = (VideoRef("a"), VideoRef("a", 8), VideoRef("a", None, 0.5), VideoRef("a", 4, 1.0))
    sample = Sample("s", "pt", (Turn("user", refs),))
    row = json.loads(json.dumps(sample_to_json(sample)))
    assert sample_from_json(row) == sample and row["turns"][0]["parts"][0] == {"video": "a"}
    assert with_paths(sample, str.upper).media[3] == VideoRef("A", 4, 1.0) and len(set(refs)) == 4
