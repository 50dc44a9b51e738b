"""Marks are drawn as the original draws them, read from words, and kept in JSON."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from olhar.core import marks
from olhar.core.errors import UserError
from olhar.core.sketches import sketch
from olhar.core.types import ImageRef, Mark, Sample, Turn, sample_from_json, sample_to_json

GOLDEN = Path(__file__).parents[1] / "golden" / "visual_prompts"
FACTS = {folder: json.loads((folder / "cases.json").read_text()) for folder in (GOLDEN, GOLDEN / "scaled")}
CASES = [(folder, case) for folder, facts in FACTS.items() for case in facts["cases"]]
SIDE = 128


def picture(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def changed(mark: Mark, size: tuple[int, int] = (SIDE, SIDE), anchor: int = SIDE) -> np.ndarray:
    """(height, width) bool: where the mark changed a grey picture."""
    image = marks.draw(Image.new("RGB", size, (77, 77, 77)), mark, anchor)
    return (np.asarray(image) != 77).any(-1)


def sketched(folder: Path, case: dict[str, Any], seed: int = 5) -> Mark:
    facts, size = FACTS[folder], picture(folder / "base.png").size
    segmentation = facts["segmentation"] if case["seg"] else None
    colour = tuple(case.get("rgb") or facts["rgb"])
    look = {"style": case["style"] or "random", "width": case["width"], "alpha": case["alpha"]}
    return sketch(case["shape"], facts["bbox"], segmentation, size, Random(seed), colour=colour, **look)


@pytest.mark.parametrize(("folder", "case"), [c for c in CASES if c[1]["deterministic"]], ids=lambda c: str(c)[-40:])
def test_what_has_no_chance_is_drawn_pixel_for_pixel(folder: Path, case: dict[str, Any]) -> None:
    drawn = marks.draw(picture(folder / "base.png"), sketched(folder, case))
    assert np.array_equal(np.asarray(drawn), np.asarray(picture(folder / case["file"])))


def test_two_objects_are_drawn_one_over_the_other() -> None:
    folder = GOLDEN / "scaled"
    image = picture(folder / "base.png")
    for said in FACTS[folder]["two_instances"]["draws"]:
        look = {key: said[key] for key in ("colour", "width", "alpha")}
        image = marks.draw(image, sketch(said["shape"], said["bbox"], None, image.size, Random(0), **look))
    assert np.array_equal(np.asarray(image), np.asarray(picture(folder / "two_instances.png")))


@pytest.mark.parametrize(
    "case", [c for f, c in CASES if f == GOLDEN and not c["deterministic"]], ids=lambda case: case["file"]
)
def test_what_has_chance_looks_like_the_examples(case: dict[str, Any]) -> None:
    """Over seeds, the example's number of changed pixels lies within what is drawn; each pixel is a blend."""
    base = np.asarray(picture(GOLDEN / "base.png")).astype(int)
    counts = []
    for seed in range(40):
        image = marks.draw(Image.fromarray(base.astype(np.uint8)), sketched(GOLDEN, case, seed))
        drawn = np.asarray(image).astype(int)
        where = (drawn != base).any(-1)
        blended = base + (np.array(FACTS[GOLDEN]["rgb"]) - base) * case["alpha"] / 255
        assert np.abs(drawn - blended)[where].max() <= 1
        counts.append(int(where.sum()))
        rows, columns = np.nonzero(where)
        if case["shape"] in ("triangle", "scribble"):
            assert columns.min() >= 40 and columns.max() <= 111 and rows.min() >= 30 and rows.max() <= 91
    assert min(counts) <= case["changed"] <= max(counts)


BOXES = st.tuples(*[st.floats(0, 0.99)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
POLYGONS = st.none() | st.lists(
    st.lists(st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), min_size=3, max_size=8), min_size=1, max_size=3
)


@settings(max_examples=200, deadline=None)
@given(
    BOXES,
    POLYGONS,
    st.sampled_from([(1, 1), (2, 3), (7, 5), (1, 60), (90, 2), (300, 200), (400, 350)]),
    st.integers(0, 1 << 30),
    st.sampled_from(["random", "constant"]),
)
def test_sketches_of_every_shape_leave_a_trace(
    box: Any, polygons: Any, size: tuple[int, int], seed: int, style: Any
) -> None:
    bbox = [value * extent for value, extent in zip(box, size * 2, strict=True)]
    segmentation = polygons and [[v * e for p in polygon for v, e in zip(p, size, strict=True)] for polygon in polygons]
    for shape in marks.SHAPES:
        mark = sketch(shape, bbox, segmentation, size, Random(seed), colour="blue", style=style)
        again = sketch(shape, bbox, segmentation, size, Random(seed), colour="blue", style=style)
        assert mark == again and changed(mark, size, 336).any()
        assert (48 if shape == "mask" else 96) <= mark.alpha <= (128 if shape == "mask" else 255)


def test_an_ellipse_around_everything_is_seen() -> None:
    for seed in range(50):
        mark = sketch("ellipse", (0, 0, SIDE, SIDE), None, (SIDE, SIDE), Random(seed), colour="red")
        assert changed(mark).any()


@pytest.mark.parametrize(
    ("bbox", "segmentation", "told"),
    [
        ((5, 5, 1, 9), None, "is no box"),
        ((1, 2, 3), None, "is no box"),
        ((float("nan"), 2, 3, 4), None, "is no box"),
        ((SIDE, 0, SIDE + 9, 9), None, "lies outside"),
        ((1, 1, 9, 9), [[1, 1, 9, 9]], "no polygon"),
        ((1, 1, 9, 9), [[1, 1, 9, 9, 4, 4, 7]], "no polygon"),
    ],
)
def test_an_annotation_that_is_wrong_is_told(bbox: Any, segmentation: Any, told: str) -> None:
    for shape in marks.SHAPES:
        with pytest.raises(UserError, match=told):
            sketch(shape, bbox, segmentation, (SIDE, SIDE), Random(0), colour="red")


def test_random_widths_are_whole_pixels_of_their_range() -> None:
    size, widths = (672, 100), set()
    for seed in range(200):
        mark = sketch("rectangle", (10, 10, 600, 90), None, size, Random(seed), colour="red")
        widths.add(int(changed(mark, size, 336)[50, :300].sum()))
    assert widths == set(range(4, 17))
    constant = sketch("rectangle", (10, 10, 600, 90), None, size, Random(0), colour="red", style="constant")
    assert changed(constant, size, 336)[50, :300].sum() == 6


def test_points_lie_in_the_object_and_are_round_half_of_the_time() -> None:
    square = [40.0, 40.0, 90.0, 40.0, 90.0, 90.0, 40.0, 90.0]
    spots = []
    for seed in range(200):
        x0, y0, x1, y1 = sketch("point", (0, 0, 99, 99), [square], (200, 200), Random(seed), colour="red").geometry
        assert 40 <= (x0 + x1) * 100 <= 90 and 40 <= (y0 + y1) * 100 <= 90
        spots.append(((x1 - x0) * 100, (y1 - y0) * 100))  # radii in pixels
    round_ones = sum(abs(across - down) < 1e-9 for across, down in spots)
    assert 70 <= round_ones <= 130
    assert all(2 <= round((across * down) ** 0.5, 6) <= 11 for across, down in spots), "5 to 20 at 336"


def test_triangles_are_not_flat_and_lie_in_the_object() -> None:
    for seed in range(100):
        mark = sketch("triangle", (10, 10, 90, 30), None, (SIDE, SIDE), Random(seed), colour="red")
        points = np.array(mark.geometry).reshape(3, 2) * SIDE
        assert (points >= 10).all() and (points[:, 0] <= 90).all() and (points[:, 1] <= 30).all()
        for n in range(3):
            a, b = points[n - 1] - points[n], points[n - 2] - points[n]
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= np.cos(np.radians(150)) - 1e-9


def test_arrows_point_into_the_box() -> None:
    bent, opened = 0, 0
    for seed in range(200):
        mark = sketch("arrow", (100, 100, 140, 160), None, (400, 300), Random(seed), colour="red")
        points = np.array(mark.geometry).reshape(-1, 2) * (400, 300)
        tip, wings = points[-3], points[-2:]
        assert 110 - 1e-6 <= tip[0] <= 130 + 1e-6 and 115 - 1e-6 <= tip[1] <= 145 + 1e-6
        one, other = np.linalg.norm(wings - tip, axis=1)
        assert one == pytest.approx(other) and np.linalg.norm(wings[0] - wings[1]) == pytest.approx(one * 3**0.5)
        bent += len(points) == 5
        opened += not mark.filled
    assert 70 <= bent <= 130 and 70 <= opened <= 130


def test_a_contour_is_the_outline_moved_each_way() -> None:
    for seed in range(20):
        random = Random(seed)
        flat = tuple(random.randint(0, SIDE) for _ in range(2 * random.randint(3, 7)))
        mark = Mark("mask contour", "red", tuple(value / SIDE for value in flat), width=random.randint(1, 6))
        expected = Image.new("1", (SIDE, SIDE))
        pen, reach = ImageDraw.Draw(expected), int(mark.width or 0)
        for dx in range(-reach, reach + 1):
            for dy in range(-reach, reach + 1):
                moved = [(x + dx, y + dy) for x, y in zip(flat[::2], flat[1::2], strict=True)]
                pen.polygon(moved, outline=1)
        assert np.array_equal(changed(mark), np.asarray(expected))


def test_polygons_of_one_mask_do_not_add_up() -> None:
    half, whole = (0.0, 0.0, 0.6, 1.0), (0.4, 0.0, 1.0, 1.0)
    image = marks.draw(Image.new("RGB", (50, 50)), Mark("mask", (200, 100, 0), half, further=(whole,)))
    assert image.getcolors() == [(2500, (100, 50, 0))]


def test_every_pixel_survives_the_way_through_image_coordinates() -> None:
    for side in (7, 97, 333, 1001):
        for x in range(0, side - 1, max(1, side // 40)):
            mark = Mark("rectangle", "red", (x / side, x / side, (x + 1) / side, (x + 1) / side), alpha=255)
            rows, columns = np.nonzero(changed(mark, (side, side), side * 9))
            assert (rows.min(), rows.max(), columns.min(), columns.max()) == (x, x + 1, x, x + 1)


def test_a_written_arrow_points_where_it_is_said() -> None:
    where = changed(marks.mark("arrow 0.25 0.25 0.75 0.25"))
    assert where[32, 33:96].all() and not where[:, 97:].any() and not where[:, :31].any()
    assert where[:, 80:].sum() > where[:, :48].sum(), "the head is at the end"
    rows, _ = np.nonzero(where[:, 85:90])
    assert 31 - rows.min() == pytest.approx(rows.max() - 33, abs=2)


def test_scribbles_follow_their_points() -> None:
    curve = changed(marks.mark("scribble 0.1 0.5 0.1 0.5 0.9 0.5 0.9 0.5 width=1"))
    assert curve[64, 13:115].all() and curve.sum() == curve[64].sum()
    line = changed(marks.mark("scribble 0.1 0.1 0.9 0.1 0.9 0.9 width=1"))
    assert line[12, 20:110].all() and line[20:110, 115].all() and not line[60, 60]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("box 0.1 0.2 0.6 0.9 gold", Mark("box", "gold", (0.1, 0.2, 0.6, 0.9))),
        ("  arrow 0 1 1 0 ", Mark("arrow", "red", (0.0, 1.0, 1.0, 0.0))),
        ("point .5 .5 width=12 blue", Mark("point", "blue", (0.5, 0.5), 12.0)),
        ("mask contour 0 0 1 1 lime alpha=255", Mark("mask contour", "lime", (0.0, 0.0, 1.0, 1.0), alpha=255)),
        ("mask-contour 0 0 1 1 0 1", Mark("mask contour", "red", (0.0, 0.0, 1.0, 1.0, 0.0, 1.0))),
        ("triangle 0 0 1 1 0 1 alpha=9 width=2.5", Mark("triangle", "red", (0.0, 0.0, 1.0, 1.0, 0.0, 1.0), 2.5, 9)),
    ],
)
def test_a_mark_is_read_from_words(text: str, mark: Mark) -> None:
    assert marks.mark(text) == mark


@pytest.mark.parametrize("example", marks.EXAMPLES.values())
def test_every_example_can_be_drawn_in_every_colour(example: str) -> None:
    numbers = [word for word in example.split() if word not in marks.COLOURS]
    for colour, rgb in marks.COLOURS.items():
        mark = marks.mark(" ".join([*numbers, colour, "" if "alpha" in example else "alpha=255"]))
        image = marks.draw(Image.new("RGB", (SIDE, SIDE), (77, 77, 77)), mark)
        colours = {pixel for _, pixel in image.getcolors() or []}
        assert len(colours) == 2 and (mark.alpha < 255 or rgb in colours)


@pytest.mark.parametrize("shape", ["box", *(shape for shape in marks.SHAPES if shape != "arrow")])
def test_a_box_says_where_any_shape_that_takes_one_lies(shape: str) -> None:
    text = f"{shape} 0.25 0.25 0.75 0.75"
    if shape == "triangle":
        with pytest.raises(UserError, match="6 numbers"):
            marks.mark(text)
        return
    rows, columns = np.nonzero(changed(marks.mark(text), anchor=SIDE * 9))
    for values in (rows, columns):
        assert values.min() == pytest.approx(32, abs=2) and values.max() == pytest.approx(96, abs=2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no shape"),
        ("   ", "no shape"),
        ("box", "4 numbers, not 0"),
        ("box red", "4 numbers, not 0"),
        ("box 0.1 0.2 0.6", "4 numbers, not 3"),
        ("box 0.1 0.2 0.6 0.9 0.9 red", "4 numbers, not 5"),
        ("box 0.1 0.2 0.6 0.9 pink", "no colour 'pink'"),
        ("box 0.1 0.2 0.6 nine red", "neither a number"),
        ("box 0.1 0.2 0.6 0.9 red blue", "neither a number"),
        ("box 0.1 0.2 0.6 0.9 size=3", "neither a number"),
        ("box 0.1 0.2 0.6 0.9 width=wide", "width and alpha are numbers"),
        ("box 0.1 0.2 0.6 0.9 width=nan", "width goes"),
        ("box 0.1 0.2 0.6 0.9 alpha=0", "alpha goes"),
        ("box 0.1 0.2 0.6 0.9 alpha=1.5", "width and alpha are numbers"),
        ("box 0.1 0.2 0.6 1.9 red", "leaves the image"),
        ("box -0.1 0.2 0.6 0.9 red", "leaves the image"),
        ("box 0.1 0.2 nan 0.9 red", "leaves the image"),
        ("circle 0.1 0.2 0.6 0.9 red", "no shape 'circle'"),
        ("red 0.1 0.2 0.6 0.9", "no shape 'red'"),
        ("box 0.6 0.2 0.1 0.9 red", "inside out"),
        ("mask 0.1 0.9 0.6 0.2 red", "inside out"),
        ("mask 0.1 0.9 0.6 0.2 0.5", "three or more points"),
        ("arrow 0.5 0.5 0.5 0.5", "no length"),
        ("point 0.5", "2 or 4 numbers"),
    ],
)
def test_a_mark_that_cannot_be_drawn_is_told(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        marks.mark(text)
    shape = (text.split() or [""])[0]
    assert caught.value.where == "--mark" and marks.EXAMPLES.get(shape, "box 0.1 0.2 0.6 0.9 red") in caught.value.fix


@given(st.text() | st.lists(st.sampled_from([*marks.EXAMPLES, "0", "0.5", "1", "red", "alpha=3"])).map(" ".join))
def test_no_words_break_the_reading_of_marks(text: str) -> None:
    try:
        changed(marks.mark(text))
    except UserError as error:
        assert "cannot draw the mark" in error.what or "leaves no trace" in error.what


@pytest.mark.parametrize(
    "mark",
    [
        Mark("circle", "red", (0.1, 0.1, 0.9, 0.9)),
        Mark("box", "pink", (0.1, 0.1, 0.9, 0.9)),
        Mark("box", (1, 2, 300), (0.1, 0.1, 0.9, 0.9)),
        Mark("box", "red", (0.1, 0.1, 0.9)),
        Mark("box", "red", (0.1, 0.1, float("inf"), 0.9)),
        Mark("box", "red", (0.1, 0.1, 0.9, 0.9), further=((0.1, 0.1, 0.9, 0.9),)),
        Mark("box", "red", (0.1, 0.1, 0.9, 0.9), width=-1),
        Mark("box", "red", (2.1, 2.1, 2.9, 2.9)),
    ],
)
def test_a_mark_that_leaves_no_trace_is_told(mark: Mark) -> None:
    with pytest.raises(UserError):
        changed(mark)


NUMBERS = st.floats(0, 1, allow_nan=False)
POINTS = st.lists(NUMBERS, max_size=10).map(tuple)
ALL = st.builds(
    Mark,
    st.sampled_from(marks.SHAPES),
    st.sampled_from(list(marks.COLOURS)) | st.tuples(*[st.integers(0, 255)] * 3),
    POINTS,
    st.none() | NUMBERS,
    st.integers(1, 255),
    st.lists(POINTS, max_size=2).map(tuple),
    st.booleans(),
)


@given(ALL)
def test_json_gives_the_mark_back(mark: Mark) -> None:
    sample = Sample("a", "pt", (Turn("user", (ImageRef("a.png", (mark,)),)),))
    assert sample_from_json(json.loads(json.dumps(sample_to_json(sample)))) == sample


def test_marks_of_before_are_read() -> None:
    old = {"shape": "box", "colour": "red", "geometry": [0, 0, 1, 1]}
    row = {"id": "a", "language": "pt", "turns": [{"role": "user", "parts": [{"image": "a.png", "marks": [old]}]}]}
    (ref,) = sample_from_json(row).media
    assert ref == ImageRef("a.png", (Mark("box", "red", (0, 0, 1, 1)),))
    assert json.loads(json.dumps(sample_to_json(sample_from_json(row)))) == row
