"""The recipes of published models say what their papers, scripts and logs say."""

import json
from pathlib import Path
from typing import Any

import pytest

from olhar.core import recipe as recipes
from olhar.core.choices import choose
from olhar.core.recipe import ModelParts, Recipe, Training, TrainStage
from olhar.training.data.packs import steps_of
from olhar.translation.engines import engine_options

FOLDER = Path(__file__).parents[2] / "recipes"
LOGS = Path(__file__).parents[1] / "golden" / "vitucano_logs"
PUBLISHED = (
    "vitucano-1b5",
    "llava-13b-pt-lora",
    "vip-llava-7b",
    "vintern-3b",
    "vintern-3b-lora",
    "llava-onevision-0b5",
)
ALL = sorted(path.stem for path in FOLDER.glob("*.toml"))
WIDE = {"vision": 2e-6, "connector": 1e-5, "language": 1e-5}
BOTH = ("connector", "language")


def rates(rate: float, *roles: str) -> dict[str, float]:
    return dict.fromkeys(roles, rate)


# recipe, stage, rates, length, batch, unit, warm-up, weight decay, tokens, prompt
STAGES = [
    ("vitucano-1b5", "align", rates(1e-3, "connector"), 1, 128, "samples", 0.03, 0, 2048, "plain"),
    ("vitucano-1b5", "sft", rates(2e-5, *BOTH), 16_142, 128, "samples", 0.03, 0, 2048, "tucano"),
    ("llava-13b-pt-lora", "lora", {"connector": 2e-5, "language": 2e-4}, 1, 128, "samples", 0.03, 0, 2048, "vicuna"),
    ("vip-llava-7b", "align", rates(1e-3, "connector"), 1, 256, "samples", 0.03, 0, 2048, "plain"),
    ("vip-llava-7b", "regions", rates(2e-5, *BOTH), 1, 128, "samples", 0.03, 0, 2048, "vicuna"),
    ("vip-llava-7b", "gpt4v", rates(2e-7, *BOTH), 1, 128, "samples", 0.03, 0, 2048, "vicuna"),
    ("vintern-3b", "warm-up", rates(2e-4, "connector"), 100_000, 512, "packs", 100, 0.01, 16_384, "chatml"),
    ("vintern-3b", "full", rates(4e-5, "vision", *BOTH), 11_000, 512, "packs", 0.03, 0.01, 16_384, "chatml"),
    ("vintern-3b", "second", rates(4e-5, *BOTH), 1, 128, "samples", 0.03, 0.01, 8192, "chatml"),
    ("vintern-3b-lora", "lora", rates(4e-5, "language"), 1, 16, "samples", 0.03, 0.01, 8192, "chatml"),
    ("llava-onevision-0b5", "align", rates(1e-3, "connector"), 1, 512, "samples", 0.03, 0, 8192, "plain"),
    ("llava-onevision-0b5", "mid", WIDE, 1, 256, "samples", 0.03, 0, 32_768, "chatml"),
    ("llava-onevision-0b5", "single-image", WIDE, 1, 256, "samples", 0.03, 0, 32_768, "chatml"),
    ("llava-onevision-0b5", "onevision", WIDE, 1, 256, "samples", 0.03, 0, 32_768, "chatml"),
]


def read(name: str) -> Recipe:
    return recipes.load(FOLDER / f"{name}.toml")


def training(name: str) -> Training:
    found = read(name).train
    assert found is not None
    return found


def stage_of(name: str, stage: str) -> TrainStage:
    return next(found for found in training(name).stages if found.name == stage)


@pytest.mark.parametrize("row", STAGES, ids=lambda row: f"{row[0]}: {row[1]}")
def test_figures(row: tuple[Any, ...]) -> None:
    name, stage_name, trains, length, batch, unit, warmup, decay, tokens, prompt = row
    train, stage = training(name), stage_of(name, stage_name)
    assert dict(stage.trains) == trains
    assert length == (stage.steps if stage.steps is not None else stage.epochs)
    assert (stage.steps is None) == (length == 1)
    assert (stage.batch, stage.unit) == (batch, unit)
    assert warmup == (stage.warmup_share if stage.warmup_steps is None else stage.warmup_steps)
    assert stage.weight_decay == decay
    assert train.tokens_of(stage) == tokens
    assert (stage.prompt or train.prompt) == prompt


@pytest.mark.parametrize("name", PUBLISHED)
def test_common_figures(name: str) -> None:
    """AdamW with a cosine that ends at 0, bf16, gradient checkpointing."""
    for stage in training(name).stages:
        assert (stage.optimizer, stage.betas, stage.final_share, stage.clip_norm) == ("adamw", (0.9, 0.999), 0, 1)
        assert stage.gradient_checkpointing and training(name).precision == "bf16"


def test_no_stage_is_forgotten() -> None:
    assert {(row[0], row[1]) for row in STAGES} == {
        (name, stage.name) for name in PUBLISHED for stage in training(name).stages
    }


@pytest.mark.parametrize(("stage", "logged", "warmup"), [("align", 4361, 131), ("sft", 16_142, 485)])
def test_vitucanos_steps_are_those_of_its_logs(stage: str, logged: int, warmup: int) -> None:
    found, data = stage_of("vitucano-1b5", stage), read("vitucano-1b5").ingest[0]
    assert data.expect == 558_128
    steps = steps_of(found, packs=10**6, samples=data.expect)
    assert (steps, found.warmup(steps)) == (logged, warmup)


def test_vitucanos_schedule_is_that_of_its_logs() -> None:
    from olhar.training.schedule import share_of_peak

    logged = json.loads((LOGS / "schedule.json").read_text(encoding="utf-8"))
    for name, log in (("align", logged["pretraining"]), ("sft", logged["sft"])):
        stage, steps = stage_of("vitucano-1b5", name), log["steps"]
        assert len(log["samples"]) >= 3
        for step, rate, _ in log["samples"]:
            share = share_of_peak(step, steps, stage.warmup(steps), stage.final_share)
            assert stage.trains["connector"] * share == pytest.approx(rate, rel=1e-9, abs=1e-15)


def test_adapters() -> None:
    found = {name: stage_of(name, "lora").adapter for name in ("llava-13b-pt-lora", "vintern-3b-lora")}
    shapes = {name: (a.rank, a.alpha, a.dropout, a.roles, a.bits) for name, a in found.items() if a}
    assert shapes == {
        "llava-13b-pt-lora": (128, 256, 0.05, ("language",), None),
        "vintern-3b-lora": (16, 32, 0.05, ("language",), None),
    }
    assert all(not stage.adapter for name in PUBLISHED for stage in training(name).stages if stage.name != "lora")


def test_how_pictures_are_looked_at() -> None:
    images = {name: [stage.image for stage in training(name).stages] for name in PUBLISHED}
    five = [[768, 384], [384, 768], [768, 768], [384, 1152], [1152, 384]]
    assert images["vip-llava-7b"] == [{"fit": "crop"}, {}, {}]
    assert images["llava-onevision-0b5"] == [{"pinpoints": []}, {"pinpoints": five}, {}, {}]
    assert images["vintern-3b"] == [{"share_tiles": True}] * 3 and images["vintern-3b-lora"] == [{"share_tiles": True}]
    models = {name: model.image for name in PUBLISHED if (model := read(name).model)}
    assert models["vitucano-1b5"]["strategy"] == "default"  # 728 tokens
    assert models["vintern-3b"]["max_tiles"] == models["vintern-3b-lora"]["max_tiles"] == 6
    assert not any("share_tiles" in models[name] for name in ("vintern-3b", "vintern-3b-lora")), "it is asked otherwise"
    assert models["vip-llava-7b"] == {"fit": "pad"}


def test_interns_packs() -> None:
    train = training("vintern-3b")
    assert train.max_tiles == 48
    assert [stage.weighting for stage in train.stages] == ["square", "square", "token"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("vitucano-1b5", ("llava", "google/siglip-so400m-patch14-384", "TucanoBR/Tucano-1b1")),
        ("vip-llava-7b", ("vipllava", "openai/clip-vit-large-patch14-336", "lmsys/vicuna-7b-v1.5")),
        ("vintern-3b", ("internvl", "OpenGVLab/InternViT-300M-448px-V2_5", "Qwen/Qwen2.5-3B-Instruct")),
        ("llava-onevision-0b5", ("llava_onevision", "google/siglip-so400m-patch14-384", "Qwen/Qwen2-0.5B-Instruct")),
    ],
)
def test_parts(name: str, parts: tuple[str, str, str]) -> None:
    model = read(name).model
    assert isinstance(model, ModelParts)
    assert (model.family, model.tower, model.language_model) == parts
    assert model.tokenizer == model.language_model


@pytest.mark.parametrize("name", ALL)
def test_every_name_and_option_binds(name: str) -> None:
    """Without data and parts: what a recipe says to sources, engines, checks and prompts is known to them."""
    recipe = read(name)
    for data in recipe.ingest:
        choose("sources", data.source).Options(**data.options)
    for check in recipe.check.checks:
        choose("checks", check)
    if recipe.translate:
        engine_options(recipe.translate.engine, recipe.translate.options)
    if recipe.train is None:
        return
    assert recipe.model and choose("families", recipe.model.family)
    mixtures = {mixture.name for mixture in recipe.mix}
    for stage in recipe.train.stages:
        prompt, variant = stage.prompt or recipe.train.prompt, stage.variant or recipe.train.variant
        assert variant is None or variant in choose("prompts", prompt).VARIANTS
        assert stage.mixture in mixtures
        assert stage.batch % recipe.train.processes == 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_figure_of_the_machine_is_there(name: str) -> None:
    train = training(name)
    assert train.hardware and train.hardware.count == train.processes
    watts = {"NVIDIA A40": (48, 149.7, 300), "NVIDIA A100-SXM4-80GB": (80, 312, 400)}
    told = train.hardware
    assert (told.memory_gib, told.tflops, told.watts) == watts[told.gpu]


@pytest.mark.parametrize("name", ["world-pt", "world-vi", "world-scratch"])
def test_the_demo_caches_its_frozen_tower(name: str) -> None:
    assert training(name).cache_features
