"""``olhar plan`` tells numbers that training will find again, without torch, and says what they rest on."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors import safe_open
from typer.testing import CliRunner

from olhar.cli import app
from olhar.core import recipe as recipes
from olhar.core.choices import choose
from olhar.core.errors import RecipeError
from olhar.core.recipe import Recipe
from olhar.families import Encoder, budget, read_tokenizer
from olhar.families._settings import settings_of
from olhar.prompts import prompt, with_placeholder
from olhar.sources import Request
from olhar.stages import _excerpt, _forecast, _plan, _sampling, _shown, _sizing
from olhar.training.data import packs

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
RECIPE = """
name = "small"
language = "pt"
[[ingest]]
name = "told"
source = "llava"
path = "told.json"
[[mix]]
name = "all"
take = [{{ data = "told" }}]
[model]
family = "llava"
tower = {{ image_size = 56, patch_size = 14, hidden_size = 32, layers = 3, heads = 2, intermediate_size = 48 }}
language_model = "{language}"
tokenizer = "{tokenizer}"
[train]
prompt = "tucano"
max_tokens = 320
{train}
[train.hardware]
gpu = "A40"
count = 2
memory_gib = 48
tflops = 149.7
watts = 300
utilisation = 0.3
[[train.stages]]
name = "one"
mixture = "all"
trains = {{ connector = 1e-3 }}
epochs = 2
batch = 4
{stage}
"""
SAMPLES = 60


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """A recipe with real data beside it: conversations of different lengths about pictures of different sizes."""
    random, rows = np.random.default_rng(0), []
    for number in range(SAMPLES):
        size = (int(random.integers(20, 90)), int(random.integers(20, 90)))
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
        said = "uma palavra " * int(random.integers(1, 30))
        turns = [{"from": "human", "value": "<image>\nO que se vê?"}, {"from": "gpt", "value": said.strip()}]
        rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
    (tmp_path / "told.json").write_text(json.dumps(rows), encoding="utf-8")
    language = tmp_path / "language"
    language.mkdir()
    config = {"model_type": "llama", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512}
    (language / "config.json").write_text(json.dumps(config))

    def make(train: str = "", stage: str = "", **changes: str) -> Recipe:
        tokenizer = GOLDEN / "vitucano/tokenizer"
        text = RECIPE.format(language=language, tokenizer=tokenizer, train=train, stage=stage)
        for old, new in changes.items():
            text = text.replace(old, new)
        (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
        return recipes.load(tmp_path / "recipe.toml")

    return make


def encoded(recipe: Recipe, folder: Path) -> list[Any]:
    """Every sample as training encodes it."""
    assert recipe.model and recipe.train
    data = recipe.ingest[0]
    source, family = choose("sources", data.source), choose("families", recipe.model.family)
    tokenizer = read_tokenizer(Path(recipe.model.tokenizer))
    tokenizer.add_special_tokens(list(family.SPECIAL_TOKENS))
    settings = settings_of(family, recipe.model)
    encoder = Encoder(prompt("tucano"), None, with_placeholder(tokenizer), family, settings)
    return [
        encoder.sample(sample)
        for sample in source.read(Request(data.path, source.Options(), "pt", data.name, folder))
        if hasattr(sample, "turns")
    ]


def test_tokens_packs_and_steps_of_small_data_are_those_of_training(small: Any, tmp_path: Path) -> None:
    recipe = small()
    real = encoded(recipe, tmp_path)
    lengths = [len(sample.ids) for sample in real]
    (stage,) = _forecast.describe(recipe)["training"]
    assert stage["samples"] == SAMPLES and stage["samples_known"] == "counted" and stage["words"] == "tokenizer"
    assert stage["tokens_per_sample"]["mean"] == pytest.approx(np.mean(lengths))
    assert stage["tokens_per_sample"]["max"] == max(lengths)
    assert stage["image_tokens_per_sample"] == {"median": 16, "mean": 16, "max": 16}
    assert stage["labelled_per_sample"]["mean"] == pytest.approx(np.mean([sum(sample.trained) for sample in real]))
    planned = packs.plan_packs(lengths, 320)
    assert stage["packs"] == len(planned)
    assert stage["fill"] == pytest.approx(packs.fill(planned, lengths, 320))
    assert stage["steps"] == -(-2 * len(planned) // 4)
    assert stage["epochs"] == pytest.approx(stage["steps"] * 4 / len(planned))
    assert stage["tokens"] == pytest.approx(stage["epochs"] * sum(lengths), abs=1)


def test_steps_of_drawn_samples_count_samples(small: Any) -> None:
    (stage,) = _forecast.describe(small(stage='unit = "samples"\nwarmup_share = 0.1'))["training"]
    assert stage["steps"] == 2 * SAMPLES / 4 and stage["warmup_steps"] == 3
    assert stage["tokens_a_step"] == round(4 * stage["tokens_per_sample"]["mean"])
    assert stage["epochs"] == pytest.approx(2)


def test_a_stage_speaks_and_packs_in_its_own_way(small: Any) -> None:
    (usual,) = _forecast.describe(small())["training"]
    (own,) = _forecast.describe(small(stage='prompt = "plain"\nmax_tokens = 512'))["training"]
    assert own["tokens_per_sample"]["mean"] < usual["tokens_per_sample"]["mean"]  # no role words, no system line
    assert own["packs"] < usual["packs"]


def test_a_sample_longer_than_a_pack_is_told(small: Any) -> None:
    unit = 'max_tokens = 90\nunit = "samples"'
    (stage,) = _forecast.describe(small(stage=unit))["training"]
    left = SAMPLES * (1 - stage["overlong_share"])
    assert 0 < left < SAMPLES and stage["steps"] == -(-2 * round(left) // 4)
    (cut,) = _forecast.describe(small(train='overlong = "truncate"', stage=unit))["training"]
    assert cut["steps"] == 2 * SAMPLES / 4 and cut["overlong_share"] == stage["overlong_share"]
    assert stage["tokens_a_step"] < cut["tokens_a_step"] <= 4 * 90


def test_hours_follow_from_operations(small: Any) -> None:
    told = _forecast.describe(small())
    (stage,) = told["training"]
    assert stage["hours"] == pytest.approx(stage["flops_total"] / (2 * 149.7e12 * 0.3) / 3600)
    assert told["total"]["energy_kwh"] == pytest.approx(stage["hours"] * 2 * 0.3)
    assert stage["flops_total"] == pytest.approx(sum(stage["flops"].values()))


def test_a_cache_of_features_is_bytes_on_disk_and_one_look(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(train="cache_features = true")
    told = _forecast.describe(recipe)
    assert told["feature_cache"]["bytes"] == SAMPLES * 16 * 32 * 2  # pictures x patches x width x float16
    assert told["training"][0]["flops"]["tower"] == 0
    without = _forecast.describe(small())
    # two epochs look twice; the cache once, and steps are rounded up to a whole one
    looked = without["training"][0]["epochs"] * told["feature_cache"]["flops_total"]
    per_stage = without["training"][0]["flops"]["tower"]
    assert per_stage < looked  # of which attention is told apart
    _plan.check_costs(told, Path("recipe.toml"))
    monkeypatch.setattr(_forecast.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(RecipeError, match=r"train\.cache_features: the features take"):
        _plan.check_costs(_forecast.describe(recipe), Path("recipe.toml"))


def test_pictures_that_are_missing_are_taken_for_a_usual_size(small: Any, tmp_path: Path) -> None:
    recipe = small()
    for number in range(SAMPLES // 2):
        (tmp_path / f"{number}.png").unlink()
    (stage,) = _forecast.describe(recipe)["training"]
    assert stage["unseen_pictures"] == 0.5
    assert stage["image_tokens_per_sample"]["max"] == 16


PUBLISHED = sorted(path for path in (ROOT / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_every_recipe_is_told_in_a_hundred_columns(path: Path) -> None:
    read = recipes.load(path)
    if any(_sampling.missing(data) and not data.expect for data in read.ingest):
        pytest.skip("data of one's own, whose size nobody knows")
    _plan.check(read, path, planning=True)
    told = _forecast.describe(read)
    assert json.loads(json.dumps(told)) == told
    assert bool(told["training"]) == (read.train is not None)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    console.print(_shown.shown(told, ["a warning"]))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 100
    for stage in told["training"]:
        assert f"{stage['steps']:,}" in shown


VITUCANO = ROOT / "recipes/vitucano-1b5.toml"


def test_vitucano_comes_near_to_what_it_took() -> None:
    """Published: 37.0 kWh and 14.71 h on 8 A40, 4,361 and 16,142 steps; 5.898 kWh of them in the first stage.

    Nothing of it is on this disk: shapes from the papers, lengths assumed, utilisation 0.3 assumed.
    """
    expected = ["ingest.0.expect=558128", "ingest.1.expect=516500"]
    told = _forecast.describe(recipes.load(VITUCANO, expected))
    assert [stage["steps"] for stage in told["training"]] == [4361, 16142]
    assert [stage["warmup_steps"] for stage in told["training"]] == [131, 485]
    assert told["model"]["parameters"] == 1_534_831_680 + 2 * 2048  # and the rows of <image>
    assert told["model"]["pooling_head"] == 15_238_352
    assert all(stage["assumed_share"] == 1 and stage["words"] == "bytes" for stage in told["training"])
    assert told["total"]["energy_kwh"] == pytest.approx(37.0, rel=0.15)
    assert told["training"][0]["energy_kwh"] == pytest.approx(5.898, rel=0.15)
    assert told["total"]["hours"] == pytest.approx(14.71, rel=0.15)
    fetched = {row["name"] for row in told["to_fetch"]}
    assert {"google/siglip-so400m-patch14-384", "TucanoBR/Tucano-1b1", "captions", "conversations"} <= fetched


def test_a_large_file_is_read_in_pieces_from_all_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_excerpt, "LARGE", 1 << 20)
    random, count = np.random.default_rng(0), 9000
    rows = [
        {
            "id": str(number),
            "image": f"{number}.png",
            "conversations": [
                {"from": "human", "value": f"<image>\nO que se {{vê}}? {number}"},
                {"from": "gpt", "value": "palavra, " * int(random.integers(1, 60))},
            ],
        }
        for number in range(count)
    ]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    texts = {"told.json": json.dumps(rows, ensure_ascii=False, indent=1), "told.jsonl": lines}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        found = _excerpt.of(tmp_path / name, folder, seed=1)
        assert found is not None and found.records == pytest.approx(count, rel=0.1)
        records = [json.loads(line) for line in found.path.read_text(encoding="utf-8").splitlines()]
        assert all(record == rows[int(record["id"])] for record in records)
        ids = [int(record["id"]) for record in records]
        assert min(ids) == 0 and max(ids) > 0.8 * count and len(set(ids)) > 200
    (tmp_path / "small.json").write_text("[]")
    assert _excerpt.of(tmp_path / "small.json", tmp_path, seed=1) is None


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from olhar.core import recipe as recipes;"
        "from olhar.stages import _forecast, _plan, _shown;"
        f"path = Path({str(ROOT / 'recipes/world-pt.toml')!r}); read = recipes.load(path);"
        "_plan.check(read, path, planning=True); _shown.shown(_forecast.describe(read), []);"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("name", "family", "image_tokens"),
    [("llava15", "llava", 16), ("vitucano", "llava", 15), ("internvl_base", "internvl", 4 + 2)],
)
def test_a_checkpoint_in_its_original_layout_is_sized(name: str, family: str, image_tokens: int) -> None:
    """As many parameters as its file holds numbers, and as many tokens as its configuration says."""
    folder = GOLDEN / name
    row = {"name": "x", "language": "pt", "ingest": [{"name": "a", "source": "world", "options": {"scenes": 2}}]}
    sized = _sizing.sized(Recipe.model_validate(row | {"model": {"family": family, "checkpoint": str(folder)}}))
    with safe_open(folder / "model.safetensors", "numpy") as file:
        shapes = [file.get_slice(tensor).get_shape() for tensor in file.keys()]  # noqa: SIM118
    assert sized.counts.parameters == sum(math.prod(shape) for shape in shapes)
    side = sized.settings.side
    assert budget(sized.family, side, side, sized.settings).tokens == image_tokens


def test_the_command_prints_json_for_a_program(small: Any, tmp_path: Path) -> None:
    small()
    ran = CliRunner().invoke(app, ["plan", str(tmp_path / "recipe.toml"), "--runs", str(tmp_path), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["training"][0]["samples"] == SAMPLES and "2 GPUs" in told["warnings"][0]
    ran = CliRunner().invoke(app, ["plan", str(tmp_path / "recipe.toml"), "--runs", str(tmp_path)])
    assert ran.exit_code == 0 and "memory a GPU" in ran.stdout and f"{SAMPLES}" in ran.stdout
