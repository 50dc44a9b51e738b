"""Files that are no images a model could use."""

from pathlib import Path

from PIL import Image

from olhar.core.types import ImageRef, Sample, Turn, VideoRef
from tests.checks.planting import Fault


def faults(folder: Path) -> list[Fault]:
    (folder / "empty").mkdir()
    (folder / "text.jpg").write_text("<!doctype html>")
    (folder / "nothing.jpg").write_bytes(b"")
    (folder / "clip.mp4").write_bytes(b"....ftyp")
    (folder / "large.ppm").write_bytes(b"P6 9000 6000 255\n")
    (folder / "bomb.ppm").write_bytes(b"P6 90000 90000 255\n")
    Image.new("RGB", (1, 40)).save(folder / "thin.png")
    Image.new("RGB", (420, 20)).save(folder / "strip.png")
    Image.new("I;16", (8, 8)).save(folder / "deep.png")
    Image.new("RGB", (8, 8)).save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    Image.effect_noise((64, 64), 80).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    Image.effect_noise((64, 64), 80).save(folder / "whole.png")
    (folder / "damaged.png").write_bytes((folder / "whole.png").read_bytes().replace(b"IDAT", b"IDAX"))
    planted = [
        ("no such file", "error", "absent.jpg"),
        ("not an image", "error", "text.jpg"),
        ("not an image", "error", "nothing.jpg"),
        ("not an image", "error", "empty"),
        ("not an image", "error", "damaged.png"),
        ("not an image", "error", "bomb.ppm"),
        ("image too small", "error", "thin.png"),
        ("long and narrow", "warning", "strip.png"),
        ("unusual pixels", "warning", "deep.png"),
        ("animated", "warning", "moving.gif"),
        ("cut off", "warning", "half.jpg"),
        ("very large", "warning", "large.ppm"),
    ]
    found = [Fault(kind, severity, [_about(ImageRef(str(folder / name)))]) for kind, severity, name in planted]
    kinds = {"empty": "no frames", "clip.mp4": "not a video"}
    videos = [Fault(kind, "error", [_about(VideoRef(str(folder / name)))]) for name, kind in kinds.items()]
    return found + videos


def _about(ref: ImageRef | VideoRef) -> Sample:
    return Sample("s", "en", (Turn("user", (ref, "Q")), Turn("assistant", ("A",))))
