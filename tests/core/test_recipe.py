"""Recipes: what is wrong is told all at once, with its place and the nearest right word."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from olhar.core.errors import RecipeError, UserError
from olhar.core.recipe import LanguageModelShape, Recipe, TokenizerShape, TowerShape, load

GOOD = """
name = "r"
language = "pt"
[[ingest]]
name = "scenes"
source = "world"
path = "data/scenes.json"
options = { scenes = 3 }
[[mix]]
name = "all"
take = [{ data = "scenes", where = { skill = ["name", 1, true] }, repeat = 0.5 }]
[model]
family = "internvl"
tower = { image_size = 32 }
language_model = { layers = 1 }
tokenizer = { mixture = "all" }
[train]
prompt = "compact"
max_tokens = 64
[[train.stages]]
name = "one"
mixture = "all"
trains = { language = 1e-3 }
steps = 40
batch = 2
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Recipe]:
    def reading(text: str = GOOD, *overrides: str) -> Recipe:
        path = tmp_path / "recipes" / "r.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return load(path, overrides)

    return reading


def problems(read: Callable[..., Recipe], text: str, *overrides: str) -> dict[str, str]:
    """Dotted place -> what is wrong and how to mend it."""
    with pytest.raises(RecipeError) as caught:
        read(text, *overrides)
    places = [problem.where for problem in caught.value.problems]
    assert len(places) == len(set(places)), f"a place is told twice: {places}"
    for problem in caught.value.problems:
        assert f"{problem.where}: {problem.what}" in str(caught.value)
    return {problem.where: f"{problem.what}; {problem.fix}" for problem in caught.value.problems}


def test_a_recipe_is_read(read: Callable[..., Recipe]) -> None:
    recipe = read()
    assert recipe.name == "r" and recipe.train and recipe.train.stages[0].trains == {"language": 1e-3}
    assert recipe.model and recipe.model.tower == TowerShape(image_size=32)
    assert isinstance(recipe.model.language_model, LanguageModelShape)
    assert recipe.model.tokenizer == TokenizerShape(mixture="all")
    taking = recipe.mix[0].take[0]
    assert taking.where == {"skill": ("name", 1, True)} and taking.where["skill"][2] is True
    assert recipe.ingest[0].options == {"scenes": 3}


def test_a_recipe_is_frozen(read: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().name = "other"


def test_paths_are_taken_from_the_recipes_folder(read: Callable[..., Recipe], tmp_path: Path) -> None:
    folder = (tmp_path / "recipes").resolve()
    (folder / "towers" / "vit").mkdir(parents=True)
    text = GOOD.replace("{ image_size = 32 }", '"towers/vit"').replace("{ layers = 1 }", '"somebody/model"')
    recipe = read(text)
    assert recipe.ingest[0].path == folder / "data" / "scenes.json"
    assert recipe.model and recipe.model.tower == str(folder / "towers" / "vit")
    assert recipe.model.language_model == "somebody/model", "what is no file beside it stays a name"
    assert read(GOOD.replace("data/scenes.json", "/abs/x.json")).ingest[0].path == Path("/abs/x.json")


@pytest.mark.parametrize(
    ("right", "wrong", "where", "hint"),
    [
        ("language =", "langauge =", "langauge", "'language'"),
        ("max_tokens", "max_token", "train.max_token", "'max_tokens'"),
        ("batch =", "batches =", "train.stages.0.batches", "'batch'"),
        ("repeat", "repeats", "mix.0.take.0.repeats", "'repeat'"),
        ("image_size", "image_siz", "model.tower.image_siz", "'image_size'"),
        ("source =", "sorce =", "ingest.0.sorce", "'source'"),
        ("prompt =", "qqqq =", "train.qqqq", "remove it"),
        ("{ language = 1e-3 }", "{ langauge = 1e-3 }", "train.stages.0.trains.langauge", "'language'"),
    ],
)
def test_a_misspelt_key_is_told_with_the_nearest(
    read: Callable[..., Recipe], right: str, wrong: str, where: str, hint: str
) -> None:
    found = problems(read, GOOD.replace(right, wrong, 1))
    assert where in found, found
    assert hint in found[where]


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ('name = "r"', 'name = "Red One"', "name"),
        ('name = "r"', "name = 3", "name"),
        ('language = "pt"', "language = ['pt']", "language"),
        ("max_tokens = 64", 'max_tokens = "many"', "train.max_tokens"),
        ("max_tokens = 64", "max_tokens = 0", "train.max_tokens"),
        ("batch = 2", "batch = 2.5", "train.stages.0.batch"),
        ("language = 1e-3", "language = 1.5", "train.stages.0.trains.language"),
        ("trains = { language = 1e-3 }", "trains = {}", "train.stages.0.trains"),
        ("image_size = 32", "image_size = -1", "model.tower.image_size"),
        ("{ image_size = 32 }", "7", "model.tower"),
        ("repeat = 0.5", "repeat = 0", "mix.0.take.0.repeat"),
        ('["name", 1, true]', "[[1]]", "mix.0.take.0.where.skill.0"),
        ("steps = 40", "steps = 30", "train.stages.0"),
        ("steps = 40", "steps = 40\nwarmup_steps = 40", "train.stages.0"),
        ("steps = 40", 'steps = 40\nobjective = "answer"', "train.stages.0.objective"),
        ('prompt = "compact"', 'prompt = "compact"\ncountry = "Brazil"', "train.country"),
    ],
)
def test_an_impossible_value_is_told_at_its_place(
    read: Callable[..., Recipe], right: str, wrong: str, where: str
) -> None:
    assert list(problems(read, GOOD.replace(right, wrong, 1))) == [where]


def test_warming_up_for_longer_than_training_is_told(read: Callable[..., Recipe]) -> None:
    found = problems(read, GOOD.replace("steps = 40", "steps = 10"))
    assert "warmup_steps (30) must be below steps (10)" in found["train.stages.0"]
    assert read(GOOD.replace("steps = 40", "steps = 31")).train


def test_all_problems_are_told_at_once(read: Callable[..., Recipe]) -> None:
    text = GOOD.replace("language =", "langage =", 1).replace("max_tokens = 64", "max_tokens = -1")
    text = text.replace("batch = 2\n", "").replace("image_size = 32", 'image_size = "big"')
    found = problems(read, text)
    assert found.keys() == {
        "language",
        "langage",
        "train.max_tokens",
        "train.stages.0.batch",
        "model.tower.image_size",
    }
    assert found["train.stages.0.batch"] == "this key is required; add it"


def test_the_error_counts_its_problems(read: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match="2 problems"):
        read(GOOD.replace("max_tokens = 64", "max_tokens = -1").replace("batch = 2", "batch = -2"))
    with pytest.raises(RecipeError, match="1 problem\n"):
        read(GOOD.replace("batch = 2", "batch = -2"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + GOOD[GOOD.index("[[train.stages]]") :], "two training stages are called one"),
        (
            GOOD.replace("[[mix]]", '[[ingest]]\nname = "scenes"\nsource = "world"\n[[mix]]'),
            "data sets are called scenes",
        ),
        (GOOD.replace("[model]", '[[mix]]\nname = "all"\ntake = [{ data = "scenes" }]\n[model]'), "two mixtures"),
        (GOOD[: GOOD.index("[model]")] + GOOD[GOOD.index("[train]") :], "[train] needs [model]"),
    ],
)
def test_names_that_clash_are_told(read: Callable[..., Recipe], text: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("override", "place", "value"),
    [
        ("train.stages.0.steps=31", lambda r: r.train.stages[0].steps, 31),
        ("train.stages.0.trains.connector=2e-3", lambda r: r.train.stages[0].trains.get("connector"), 2e-3),
        ("name=other", lambda r: r.name, "other"),
        ('name="quoted"', lambda r: r.name, "quoted"),
        ("seed=7", lambda r: r.seed, 7),
        ("check.stop_above=0.5", lambda r: r.check.stop_above, 0.5),
        ('check.checks=["turns"]', lambda r: r.check.checks, ("turns",)),
        ("train.isolate_questions=true", lambda r: r.train.isolate_questions, True),
        (" ingest.0.options.scenes = 9", lambda r: r.ingest[0].options["scenes"], 9),
        ("ingest.0.path=other.json", lambda r: r.ingest[0].path.name, "other.json"),
    ],
)
def test_one_value_can_be_changed(
    read: Callable[..., Recipe], override: str, place: Callable[[Recipe], Any], value: Any
) -> None:
    assert place(read()) != value
    assert place(read(GOOD, override)) == value


def test_thresholds_of_checks(read: Callable[..., Recipe]) -> None:
    assert read().check.thresholds == {}
    named = 'check.checks=["length"]'
    assert read(GOOD, named, "check.thresholds.length.spread=2").check.thresholds == {"length": {"spread": 2.0}}
    assert "'lenght'" in problems(read, GOOD, named, "check.thresholds.lenght.spread=2")["check"]
    assert "check.thresholds.length.spread" in problems(read, GOOD, named, "check.thresholds.length.spread=wide")


@pytest.mark.parametrize("override", ["train.stages.5.steps=1", "train.stages.x.steps=1", "name.first=1", "seed"])
def test_an_override_without_a_place_is_told(read: Callable[..., Recipe], override: str) -> None:
    with pytest.raises(UserError) as caught:
        read(GOOD, override)
    assert caught.value.where == "--set" and override.partition("=")[0] in caught.value.what


def test_an_override_of_an_unknown_key_is_told_like_any(read: Callable[..., Recipe]) -> None:
    assert "'max_tokens'" in problems(read, GOOD, "train.max_tokns=3")["train.max_tokns"]
    assert "train.stages.0.steps" in problems(read, GOOD, "train.stages.0.steps=many")


def test_a_recipe_that_is_not_there_or_not_toml_is_told(read: Callable[..., Recipe], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe"):
        load(tmp_path / "nowhere.toml")
    with pytest.raises(UserError, match="no such recipe"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"not TOML.*line 2"):
        read("\nname = = 3")
    (tmp_path / "latin.toml").write_bytes('name = "ação"'.encode("latin-1"))
    with pytest.raises(UserError, match="not TOML"):
        load(tmp_path / "latin.toml")
