"""``plan`` tells everything that is wrong with a recipe at once, at its dotted place."""

from pathlib import Path

import pytest

from olhar.core import recipe as recipes
from olhar.core.errors import RecipeError
from olhar.stages import _plan

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
GOOD = """
name = "good"
language = "pt"
[[ingest]]
name = "scenes"
source = "world"
options = { scenes = 10 }
[[ingest]]
name = "held-out"
source = "world"
options = { split = "composition", per_skill = 3 }
[[mix]]
name = "all"
take = [{ data = "scenes" }]
[model]
family = "internvl"
tower = { image_size = 64 }
language_model = { hidden_size = 128 }
tokenizer = { mixture = "all" }
[train]
prompt = "compact"
max_tokens = 128
[[train.stages]]
name = "one"
mixture = "all"
trains = { language = 1e-3 }
steps = 100
batch = 2
[[evaluate]]
benchmark = "world"
data = ["held-out"]
"""


def problems(text: str, folder: Path) -> dict[str, str]:
    """Place -> what is wrong."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    read = recipes.load(path)
    try:
        _plan.check(read, path)
    except RecipeError as error:
        return {problem.where: problem.what for problem in error.problems}
    return {}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_bound(path: Path) -> None:
    read = recipes.load(path)
    _plan.check(read, path)
    assert bool(_plan.describe(read)["training"]) == (read.train is not None)


def test_a_good_recipe_has_no_problem(tmp_path: Path) -> None:
    assert problems(GOOD, tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "to", "place", "said"),
    [
        ('language = "pt"', 'language = "px"', "language", "no languages called 'px'"),
        ('source = "world"', 'source = "wold"', "ingest.0.source", "no sources called 'wold'"),
        ("{ scenes = 10 }", "{ scnes = 10 }", "ingest.0.options.scnes", "unknown key"),
        ("{ scenes = 10 }", "{ scenes = 10, per_skill = 3 }", "ingest.0.options", "either scenes or per_skill"),
        ('source = "world"', 'source = "llava"', "ingest.0.path", "reads a file"),
        ('source = "world"', 'source = "world"\npath = "nowhere"', "ingest.0.path", "does not exist"),
        ('take = [{ data = "scenes" }]', 'take = [{ data = "scene" }]', "mix.0.take.0.data", "no data set 'scene'"),
        ('family = "internvl"', 'family = "intervl"', "model.family", "no families called"),
        ("image_size = 64", "image_size = 24", "model.tower", "cannot be joined two by two"),
        ("tower = { image_size = 64 }", 'tower = "nowhere"', "model.tower", "no tower here"),
        ("hidden_size = 128", "hidden_size = 130", "model.language_model.hidden_size", "no multiple"),
        ('tokenizer = { mixture = "all" }', 'tokenizer = "nowhere"', "model.tokenizer", "no tokenizer.json"),
        ('{ mixture = "all" }', '{ mixture = "al" }', "model.tokenizer.mixture", "no mixture 'al'"),
        ('prompt = "compact"', 'prompt = "compact"\nvariant = "x"', "train.variant", "no variant of compact 'x'"),
        ("max_tokens = 128", "max_tokens = 20", "train.max_tokens", "one image takes 18 tokens"),
        ("max_tokens = 128", "max_tokens = 1024", "train.max_tokens", "longer than the language model's 512"),
        ("{ language = 1e-3 }", "{ fusion = 1e-3 }", "train.stages.0.trains.fusion", "no fusion parameters"),
        ("steps = 100", 'steps = 100\nobjective = "patches"', "train.stages.0.trains", "trains the tower"),
        ('data = ["held-out"]', 'data = ["scenes"]', "evaluate.0.data.0", "also trained on"),
        ('benchmark = "world"', 'benchmark = "wrld"', "evaluate.0.benchmark", "no benchmarks called"),
    ],
)
def test_each_mistake_is_told_at_its_place(change: str, to: str, place: str, said: str, tmp_path: Path) -> None:
    assert change in GOOD
    found = problems(GOOD.replace(change, to, 1), tmp_path)
    assert said in found[place]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('"pt"', '"px"').replace('"compact"', '"compct"').replace("max_tokens = 128", "max_tokens = 20")
    assert {"language", "train.prompt", "train.max_tokens"} <= problems(text, tmp_path).keys()
