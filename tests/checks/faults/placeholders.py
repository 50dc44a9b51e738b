"""Marks and media that do not agree."""

from dataclasses import replace
from pathlib import Path

from olhar.core.types import ImageRef, Sample, Turn
from tests.checks.planting import Fault, sample

ONE_IMAGE = Sample("s", "en", (Turn("user", (ImageRef("/a.jpg"), "Q")), Turn("assistant", ("A",))))
DRAWN = Sample("s", "en", (Turn("user", ("Q",)), Turn("assistant", (ImageRef("/a.jpg"), "A"))))
LEFTOVERS = ("<imagem>", "<A imagem>", "< image >", "<Image>", "<IMAGEN>", "<vidéo>", "&lt;image&gt;", "<image 2>")


def faults(folder: Path) -> list[Fault]:
    dialogue = sample("user: Q", "assistant: A")
    left = [
        Fault("mark left in the text", "error", [sample(f"user: {leftover}\nQ", "assistant: A")])
        for leftover in LEFTOVERS
    ]
    return [
        *left,
        Fault("media without a mark", "error", [replace(dialogue, meta={"unplaced": ["/a.jpg"]})]),
        Fault("mark without media", "error", [replace(dialogue, meta={"marks_without_media": [[0, 0]]})]),
        Fault("media outside a question", "warning", [DRAWN]),
        Fault("media differ", "error", [dialogue], parent=ONE_IMAGE),
        Fault("media differ", "error", [DRAWN], parent=ONE_IMAGE),
    ]
