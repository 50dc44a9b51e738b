"""Label maps say what lies under every patch, and stay with their pictures through every augmentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Sample, Turn, VideoRef
from olhar.training.data.packs import Order
from olhar.training.data.patches import Labelled, PatchBatch, PatchBatches, class_names, labelled_pictures, recoloured

ORDER = np.array([[0, 1], [1, 0], [0, 0]])


def sample(name: str, refs: Sequence[Any], objects: Any) -> Sample:
    meta = {} if objects is None else {"objects": objects}
    return Sample(name, "pt", (Turn("user", (*refs, "?")), Turn("assistant", ("a",))), meta=meta)


@pytest.fixture
def painted(tmp_path: Path) -> list[Labelled]:
    """Two 64 x 64 pictures: a bright box on black where the label says; in the first also a dark one, marked."""
    found = []
    for number, boxes in enumerate(
        ([("noun:x", 16, 0, 32, 48, False), ("noun:y", 48, 48, 64, 64, True)], [("letter:a", 0, 0, 16, 16, False)])
    ):
        image = Image.new("RGB", (64, 64))
        for _, x0, y0, x1, y1, _ in boxes:
            image.paste((200, 200, 200), (x0, y0, x1, y1))
        image.save(tmp_path / f"{number}.png")
        found.append(Labelled(str(tmp_path / f"{number}.png"), tuple(boxes)))
    return found


def batches(bench: Any, painted: list[Labelled], augment: bool, seed: int = 0, order: Any = ORDER) -> list[PatchBatch]:
    """The one micro-batch of every step."""
    made = PatchBatches(painted, order, "internvl", bench.settings, augment, seed)
    return [part for step in range(len(made)) for part in made[step].parts]


def test_a_patch_shows_what_its_centre_lies_in(bench: Any, painted: list[Labelled]) -> None:
    """16-pixel patches, 4 x 4 of them."""
    batch = batches(bench, painted, augment=False)[0]
    x, y, a = (class_names(painted).index(name) for name in ("noun:x", "noun:y", "letter:a"))
    expected = [[0, x, 0, 0], [0, x, 0, 0], [0, x, 0, 0], [0, 0, 0, y]]
    assert batch.classes[0].reshape(4, 4).tolist() == expected
    assert batch.marked[0].nonzero().flatten().tolist() == [15]
    assert batch.classes[1].reshape(4, 4).nonzero().tolist() == [[0, 0]] and batch.classes[1, 0] == a
    assert batch.pixels.shape == (2, 3, 64, 64) and batch.tokens == 32


def test_a_picture_of_another_size_keeps_its_proportions(bench: Any, tmp_path: Path) -> None:
    Image.new("RGB", (128, 32)).save(tmp_path / "wide.png")
    wide = [Labelled(str(tmp_path / "wide.png"), (("noun:x", 64, 0, 128, 16, False),))]
    batch = batches(bench, wide, augment=False, order=np.array([[0]]))[0]
    assert batch.classes.reshape(4, 4).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4]


def test_maps_move_with_their_pictures(bench: Any, painted: list[Labelled]) -> None:
    """Whatever was mirrored or recoloured: where the pixels differ from the background, the map says an object."""
    order = np.zeros((40, 1), dtype=int)
    mirrored, marked = 0, class_names(painted).index("noun:y")
    made = batches(bench, painted, augment=True, order=order)
    for step in range(40):
        batch = made[step]
        patches = batch.pixels[0].float().mean(0).unfold(0, 16, 16).unfold(1, 16, 16).mean((-1, -2))
        bright = patches - patches.min()
        assert ((bright > bright.max() / 2) == (batch.classes.reshape(4, 4) > 0)).all()
        assert (batch.marked > 0).equal(batch.classes == marked)
        mirrored += int(batch.classes.reshape(4, 4)[0, 2] > 0)
    assert 8 <= mirrored <= 32


def test_letters_are_never_mirrored(bench: Any, painted: list[Labelled]) -> None:
    """A mirrored letter is none."""
    made = batches(bench, painted, augment=True, order=np.ones((30, 1), dtype=int))
    assert all(made[step].classes[0, 0] > 0 for step in range(30))


def test_named_colours_keep_their_hue(bench: Any, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (200, 40, 40)).save(tmp_path / "red.png")
    hues = {}
    for label in ("shape:square-red", "noun:x"):
        found = [Labelled(str(tmp_path / "red.png"), ((label, 0, 0, 64, 64, False),))]
        made = batches(bench, found, augment=True, order=np.zeros((30, 1), dtype=int))
        pixels = np.stack([made[step].pixels[0, :, 0, 0].numpy() for step in range(30)]).astype(int)
        hues[label] = np.abs(pixels[:, 1] - pixels[:, 2]).max()
    assert hues["shape:square-red"] <= 1 < hues["noun:x"]


def test_a_step_is_the_same_in_any_order_and_differs_from_others(bench: Any, painted: list[Labelled]) -> None:
    made = batches(bench, painted, True, seed=1)
    again = PatchBatches(painted, ORDER, "internvl", bench.settings, True, 1)
    later = again[2].parts[0], again[0].parts[0]
    assert made[0].pixels.equal(later[1].pixels) and made[2].pixels.equal(later[0].pixels)
    assert not made[0].pixels[0].equal(made[2].pixels[0])
    assert not made[0].pixels.equal(batches(bench, painted, True, seed=2)[0].pixels)


def test_processes_share_the_pictures_of_a_step(bench: Any, painted: list[Labelled]) -> None:
    order = Order(2, 5, 3, 0)
    whole = PatchBatches(painted, order, "internvl", bench.settings, False, 0)
    team = [PatchBatches(painted, order, "internvl", bench.settings, False, 0, rank, 2) for rank in range(2)]
    for step in range(3):
        parts = [batch[step] for batch in team]
        assert [part.samples for part in parts] == [3, 2] and whole[step].weight == 5
        assert sum(part.tokens for part in parts) == whole[step].tokens == whole[step].capacity == 5 * 16
        shown = whole[step].parts[0].classes
        assert shown[0::2].equal(parts[0].parts[0].classes) and shown[1::2].equal(parts[1].parts[0].classes)
    with pytest.raises(UserError, match="5 pictures a step for 6 processes"):
        PatchBatches(painted, order, "internvl", bench.settings, False, 0, 0, 6)


def test_recolouring_by_nothing_keeps_grey_grey() -> None:
    grey = np.full((3, 4, 4), 90, dtype=np.uint8)
    for seed in range(5):
        out = recoloured(grey, 1.0, np.random.default_rng(seed)).astype(int)
        assert np.ptp(out, axis=0).max() <= 1, "grey has no hue"


def test_every_picture_of_the_samples_is_taken_once(tmp_path: Path) -> None:
    video = tmp_path / "v"
    video.mkdir()
    for frame in range(2):
        Image.new("RGB", (8, 8)).save(video / f"{frame}.png")
    one, two = ImageRef("one.png"), ImageRef("two.png")
    box = ["noun:x", 0, 0, 4, 4, 1]
    samples = [
        sample("a", [one], [[box]]),
        sample("b", [one, two], [[box], []]),
        sample("c", [VideoRef(str(video))], [[], [["noun:z", 1, 1, 2, 2, 0]]]),
        sample("d", [one], [[box]]),
    ]
    found = labelled_pictures(samples)
    assert [Path(picture.path).name for picture in found] == ["one.png", "two.png", "0.png", "1.png"]
    assert found[0].objects == (tuple(box),) and found[1].objects == ()
    assert class_names(found) == ["background", "noun:x", "noun:z"]


@pytest.mark.parametrize("objects", [None, [[], []]], ids=["none", "too many"])
def test_samples_whose_boxes_do_not_fit_are_told(objects: Any) -> None:
    with pytest.raises(UserError, match="boxes") as caught:
        labelled_pictures([sample("a", [ImageRef("one.png")], objects)])
    assert "'a'" in caught.value.where
