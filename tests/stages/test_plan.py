"""``plan`` tells everything that is wrong with a recipe at once, at its dotted place."""

from pathlib import Path

import pytest

from olhar.core import recipe as recipes
from olhar.core.errors import RecipeError
from olhar.stages import _binding, _forecast, _plan

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


LAST = "train.stages.0.last_layers.language"
BEST = '\nbest = { benchmark = "world", data = "nowhere", every = 10 }'


def problems(text: str, folder: Path, planning: bool = False) -> dict[str, str]:
    """Place -> what is wrong."""
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    read = recipes.load(path)
    try:
        _plan.check(read, path, planning)
    except RecipeError as error:
        return {problem.where: problem.what for problem in error.problems}
    return {}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_bound(path: Path) -> None:
    """All that may be wrong is data of one's own, whose size nobody can say before it is there."""
    read = recipes.load(path)
    own = {f"ingest.{n}.path" for n, data in enumerate(read.ingest) if data.path and not data.expect}
    try:
        _plan.check(read, path, planning=True)
    except RecipeError as error:
        assert {problem.where for problem in error.problems} <= own


def test_what_is_not_there_may_be_planned_and_not_run(tmp_path: Path) -> None:
    text = GOOD.replace(
        'name = "scenes"\nsource = "world"\noptions = { scenes = 10 }',
        'name = "scenes"\nsource = "llava"\npath = "told.json"\nexpect = 10',
    )
    text = text.replace("language_model = { hidden_size = 128 }", 'language_model = "Qwen/Qwen2-0.5B-Instruct"')
    text = text.replace('tokenizer = { mixture = "all" }', 'tokenizer = "Qwen/Qwen2-0.5B-Instruct"')
    assert problems(text, tmp_path, planning=True) == {}
    assert problems(text, tmp_path).keys() == {"ingest.0.path"}, "parts of the hub are fetched, data is not"
    nobody = text.replace("Qwen/Qwen2-0.5B-Instruct", "nobody/no-such-model")
    assert "nothing is known of it" in problems(nobody, tmp_path, planning=True)["model.language_model"]


def test_a_checkpoint_is_known_by_its_name_or_must_be_fetched(tmp_path: Path) -> None:
    start, end = GOOD.index("[model]"), GOOD.index("[train]")
    text = GOOD[:start] + '[model]\nfamily = "llava"\ncheckpoint = "liuhaotian/llava-v1.5-7b"\n' + GOOD[end:]
    text = text.replace("max_tokens = 128", "max_tokens = 1024")
    assert problems(text, tmp_path, planning=True) == {}
    assert problems(text, tmp_path) == {}, "it is fetched"
    unknown = text.replace("liuhaotian/llava-v1.5-7b", "nobody/no-such-model")
    assert "fetch it first" not in problems(unknown, tmp_path, planning=True)["model.checkpoint"]
    assert problems(unknown, tmp_path, planning=True)["model.checkpoint"].startswith("no config.json")


def test_missing_packages_are_listed_by_plan_and_refused_by_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_binding, "find_spec", lambda name: None)
    text = GOOD.replace('prompt = "compact"', 'prompt = "compact"\nlogs = ["wandb"]\nkernels = "liger"')
    text = text.replace("batch = 2", "batch = 2\nadapter = { rank = 4 }")
    assert problems(text, tmp_path, planning=True) == {}
    assert problems(text, tmp_path).keys() == {"train.logs.0", "train.kernels", "train.stages.0.adapter"}
    read = recipes.load(tmp_path / "recipe.toml")
    assert [row["name"] for row in _forecast.describe(read)["to_fetch"]] == [
        "pip install wandb",
        "pip install liger-kernel",
        "pip install 'olhar[lora]'",
    ]


def test_few_bits_without_a_gpu_are_a_warning(tmp_path: Path) -> None:
    text = GOOD.replace("batch = 2", "batch = 2\nadapter = { bits = 4 }")
    problems(text, tmp_path)
    warned = _binding.warnings(recipes.load(tmp_path / "recipe.toml"))
    assert bool(warned) != Path("/proc/driver/nvidia/version").exists()


def test_other_processes_than_gpus_are_a_warning(tmp_path: Path) -> None:
    machine = "[train.hardware]\ngpu = 'A40'\ncount = 8\nmemory_gib = 48\ntflops = 150\nwatts = 300\n[[train.stages]]"
    assert problems(GOOD.replace("[[train.stages]]", machine), tmp_path) == {}
    (warned,) = _binding.warnings(recipes.load(tmp_path / "recipe.toml"))
    assert "8 GPUs" in warned and "processes is 1" in warned


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
        ("batch = 2", 'batch = 2\nprompt = "compct"', "train.stages.0.prompt", "no prompts called 'compct'"),
        ("batch = 2", 'batch = 2\nvariant = "x"', "train.stages.0.variant", "no variant of compact 'x'"),
        ("batch = 2", "batch = 2\nmax_tokens = 20", "train.stages.0.max_tokens", "one image takes 18 tokens"),
        ("batch = 2", "batch = 2\nimage = { max_tile = 4 }", "train.stages.0.image", "no image setting 'max_tile'"),
        ("batch = 2", "batch = 2\nimage = { max_tiles = 12 }", "train.max_tokens", "one image takes 194 tokens"),
        ("{ language = 1e-3 }", "{ language = 1e-3 }\nlast_layers = { language = 4 }", LAST, "it has 3 layers, not 4"),
        ("batch = 2", "batch = 2\nadapter = { bits = 8 }", "train.stages.0.adapter.bits", "whole checkpoint"),
        ("batch = 2", 'batch = 3\nobjective = "patches"', "train.stages.0.trains", "trains the tower"),
        ('prompt = "compact"', 'prompt = "compact"' + BEST, "train.best.data", "no data set 'nowhere'"),
        ('prompt = "compact"', 'prompt = "compact"' + BEST.replace("nowhere", "scenes"), "train.best.data", "trained"),
        (
            'prompt = "compact"',
            'prompt = "compact"' + BEST.replace("nowhere", "held-out"),
            "train.best.data",
            "reported",
        ),
        ('data = ["held-out"]', 'data = ["scenes"]', "evaluate.0.data.0", "also trained on"),
        ('benchmark = "world"', 'benchmark = "wrld"', "evaluate.0.benchmark", "no benchmarks called"),
    ],
)
def test_each_mistake_is_told_at_its_place(change: str, to: str, place: str, said: str, tmp_path: Path) -> None:
    assert change in GOOD
    found = problems(GOOD.replace(change, to, 1), tmp_path)
    assert said in found[place]


def test_a_pack_must_hold_the_tiles_of_one_image(tmp_path: Path) -> None:
    text = GOOD.replace("max_tokens = 128", "max_tokens = 256\nmax_tiles = 8")
    text = text.replace("batch = 2", "batch = 2\nimage = { max_tiles = 12 }")
    assert problems(text, tmp_path) == {
        "train.max_tiles": "one image takes up to 12 tiles, more than a pack may hold (8)"
    }
    assert problems(text.replace("max_tiles = 8", "max_tiles = 12"), tmp_path) == {}


def test_processes_share_any_number_of_packs_but_pictures_equally(tmp_path: Path) -> None:
    text = GOOD.replace('prompt = "compact"', 'prompt = "compact"\nprocesses = 2').replace("batch = 2", "batch = 3")
    assert problems(text, tmp_path) == {}
    patches = text.replace("{ language = 1e-3 }", '{ vision = 1e-3 }\nobjective = "patches"')
    assert "cannot be shared equally" in problems(patches, tmp_path)["train.stages.0.batch"]


def test_new_rows_need_new_tokens_and_whole_tables(tmp_path: Path) -> None:
    text = GOOD.replace("{ language = 1e-3 }", "{ connector = 1e-3 }\nnew_tokens = 1e-3")
    assert "no token is added" in problems(text, tmp_path)["train.stages.0.new_tokens"]
    spread = text.replace('prompt = "compact"', 'prompt = "compact"\nsharding = "shard"')
    assert problems(spread, tmp_path).keys() == {"train.stages.0.new_tokens"}


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('"pt"', '"px"').replace('"compact"', '"compct"').replace("max_tokens = 128", "max_tokens = 20")
    assert {"language", "train.prompt", "train.max_tokens"} <= problems(text, tmp_path).keys()
