"""Every published recipe runs, from foreign data to a checkpoint: the file as it is, its parts and data miniatures."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from olhar.core import recipe as recipes
from olhar.core.choices import choose
from olhar.core.recipe import Recipe, TrainStage
from olhar.core.store import RunFolder
from olhar.families import Loading, load
from olhar.stages import _plan
from olhar.stages._walk import walk
from olhar.training import checkpoints
from tests.conversion.llava_goldens import source
from tests.flow import miniature

FOLDER = Path(__file__).parents[2] / "recipes"
HERE = {"train.processes": 1, "train.workers": 0, "train.max_tokens": 600}  # of this machine
SHORT = {"batch": 4, "micro_batch": 1}  # of every stage: two steps of the eight samples
Overrides = Mapping[str, Any]


def vitucano(folder: Path) -> Overrides:
    return parts(folder, "siglip", "tucano") | {
        "ingest.0.path": miniature.llava(folder / "captions", "pt"),
        "ingest.1.path": miniature.llava(folder / "conversations", "pt", rounds=3),
        "train.stages.1.steps": 2,
    }


def llava_lora(folder: Path) -> Overrides:
    """The engine gives texts back as they are, so they are Portuguese before, and no check may say so."""
    sure = ["structure", "turns", "placeholders", "images", "spans", "numbers", "length", "loops"]
    return {
        "ingest.0.path": miniature.llava(folder / "instruct", "pt", rounds=2),
        "translate": {"engine": "identity"},
        "check.checks": sure,
        "model.checkpoint": source("llava15", folder / "llava15"),
    }


def vip(folder: Path) -> Overrides:
    return parts(folder, "clip", "vicuna", layers=24) | {
        "ingest.0.path": miniature.llava(folder / "captions", "en"),
        "ingest.1.path": miniature.regions(folder / "regions"),
        "ingest.2.path": miniature.regions(folder / "gpt4v"),
    }


def vintern(folder: Path) -> Overrides:
    data = {f"ingest.{number}.path": miniature.internvl(folder / str(number), "vi") for number in range(3)}
    steps = {f"train.stages.{number}.steps": 2 for number in range(2)}
    return parts(folder, "internvit", "qwen") | data | steps | {
        "train.stages.0.warmup_steps": 1,
        "train.stages.2.max_tokens": 500,
    }


def vintern_lora(folder: Path) -> Overrides:
    return {
        "ingest.0.path": miniature.llava(folder / "own", "vi", rounds=2),
        "model.checkpoint": miniature.internvl_checkpoint(folder / "vintern"),
    }


def onevision(folder: Path) -> Overrides:
    return parts(folder, "siglip", "qwen") | {
        "ingest.0.path": miniature.llava(folder / "captions", "en"),
        "ingest.1.path": miniature.onevision(folder / "mid", "mid.yaml"),
        "ingest.2.path": miniature.onevision(folder / "single", "single.yaml"),
        "ingest.3.path": miniature.onevision(folder / "several", "several.yaml", several=True),
        "train.stages.0.max_tokens": 300,
        "train.stages.1.image": {"pinpoints": [[112, 56], [56, 112], [112, 112]]},  # of a tower of 56 pixels
    }


def parts(folder: Path, tower: str, language_model: str, layers: int = 3) -> Overrides:
    words = miniature.language_model(folder / "words", language_model)
    seen = miniature.tower(folder / "tower", tower, layers)
    return {"model.tower": seen, "model.language_model": words, "model.tokenizer": words}


CASES: dict[str, Callable[[Path], Overrides]] = {
    "vitucano-1b5": vitucano,
    "llava-13b-pt-lora": llava_lora,
    "vip-llava-7b": vip,
    "vintern-3b": vintern,
    "vintern-3b-lora": vintern_lora,
    "llava-onevision-0b5": onevision,
}
LORA = [name for name in CASES if name.endswith("lora")]


@dataclass(frozen=True)
class Done:
    """A recipe, as it ran, and its run folder."""

    recipe: Recipe
    folder: Path

    @property
    def stages(self) -> list[tuple[TrainStage, Path]]:
        assert self.recipe.train
        named = enumerate(self.recipe.train.stages, start=1)
        return [(stage, self.folder / "train" / f"{number}-{stage.name}") for number, stage in named]

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "train" / "manifest.json").read_text(encoding="utf-8"))
        return found
