"""The trained model as a folder that plain transformers loads, with a card filled from what was measured.

The snippet on the card is run, by a Python that knows nothing of olhar, before the folder appears. Written:
``model/`` and, where the recipe asks for it, ``tower/``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from olhar import __version__
from olhar.conversion import HUB_ID
from olhar.core import pictures
from olhar.core.choices import choose
from olhar.core.errors import OlharError
from olhar.core.recipe import Model, Publishing, Recipe, StartingPoint
from olhar.core.samples import SampleFile
from olhar.core.store import disk_errors, read_json, writing
from olhar.core.types import ImageRef, Sample, Score
from olhar.families import read_sidecar
from olhar.languages import language
from olhar.reports.card import CardFacts, TrainingData, model_card
from olhar.reports.scores import Table, energy_of, table
from olhar.stages import Context

NEEDS = ("check", "train", "evaluate")
EXAMPLE = "example.png"  # the picture of the card's snippet
SECONDS = 300  # a snippet that takes longer is broken

ASSISTANT_USAGE = """
from PIL import Image
from transformers import AutoModelForImageTextToText, %(processor)s, AutoTokenizer

path = "."  # this folder
model = AutoModelForImageTextToText.from_pretrained(path)
tokenizer = AutoTokenizer.from_pretrained(path)
processor = %(processor)s.from_pretrained(path)

image = Image.open(f"{path}/%(example)s").convert("RGB")
question = "%(question)s"
messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
%(inputs)s
output = model.generate(**inputs, max_new_tokens=40, do_sample=False)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip())
"""

TOWER_USAGE = """
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

path = "."  # this folder
model = AutoModel.from_pretrained(path)
processor = AutoImageProcessor.from_pretrained(path)

image = Image.open(f"{path}/%(example)s").convert("RGB")
print(tuple(model(**processor(image, return_tensors="pt")).last_hidden_state.shape))
"""


def config(recipe: Recipe) -> dict[str, Any] | None:
    if recipe.publish is None or recipe.train is None:
        return None
    return {"publish": recipe.publish.model_dump(mode="json")}


def outside(recipe: Recipe) -> dict[str, str]:
    return {}


def run(context: Context) -> dict[str, Any]:
    publishing = context.recipe.publish
    assert publishing
    question = _example_question(context)
    facts = _facts(context, publishing)

    def assistant(folder: Path) -> None:
        shutil.copytree(context.run.path / "train" / "model", folder, dirs_exist_ok=True)

    counts: dict[str, Any] = {}
    words = {"example": EXAMPLE, "question": question.turns[0].text}
    usage = ASSISTANT_USAGE % (words | _inputs(context))
    counts["answer"] = _folder(context, "model", assistant, usage, question, facts)
    if publishing.tower:
        facts |= _tower_facts(context, publishing)
        counts["shape"] = _folder(context, "tower", _tower_writer(context), TOWER_USAGE % words, question, facts)
    return counts


def _inputs(context: Context) -> dict[str, str]:
    """The lines of the snippet that differ by family."""
    family, settings = _layout(context)
    processor, lines = family.usage(settings)
    return {"processor": processor, "inputs": lines}


def _layout(context: Context) -> tuple[Any, Any]:
    """The family, and how the trained model looks at pictures."""
    said = read_sidecar(context.run.path / "train" / "model")
    assert said  # training wrote the folder
    return choose("families", said.family_name), said.settings


def _folder(
    context: Context, name: str, write: Callable[[Path], None], usage: str, question: Sample, facts: dict[str, Any]
) -> str:
    """Write a folder beside its place, run its snippet, add its card, move it in; returns what the snippet printed."""
    folder, temporary = context.folder / name, context.folder / f"{name}.partial"
    with disk_errors(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        _, settings = _layout(context)
        pictures.read(question.media[0], settings.side)[0].save(temporary / EXAMPLE)
    printed = _printed_by_plain_transformers(usage, temporary)
    context.say(f"  {name}: the card's snippet, in plain transformers, prints {printed!r}")
    card = CardFacts(**facts, usage=f"{usage.strip()}\n# {printed}")
    with disk_errors(folder):
        with writing(temporary / "README.md") as handle:
            handle.write(model_card(card))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    return printed


def _printed_by_plain_transformers(usage: str, folder: Path) -> str:
    """Run a snippet inside ``folder`` and return its last line; a failure is a defect of what we export."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", usage], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise OlharError(f"the published folder does not load in plain transformers:\n{done.stderr}")
    return (done.stdout.strip().splitlines() or [""])[-1]  # an untrained model may say nothing


def _example_question(context: Context) -> Sample:
    """The first evaluated question about a single picture."""
    data = context.recipe.evaluate[0].data[0]
    samples = SampleFile(context.run.path / "check" / f"{data}.jsonl", context.run.path)
    return next(s for s in samples if len(s.media) == 1 and isinstance(s.media[0], ImageRef))


def _facts(context: Context, publishing: Publishing) -> dict[str, Any]:
    """Everything the assistant's card says, beside its snippet."""
    recipe, trained = context.recipe, context.run.stage("train").manifest()
    assert recipe.model and recipe.train and trained
    spoken = language(recipe.language).name
    return {
        "name": publishing.title,
        "what": f"A vision-language model that answers questions about pictures in {spoken}.",
        "task": "image-text-to-text",
        "languages": {recipe.language: spoken},
        "licence": publishing.license,
        "architecture": choose("families", recipe.model.family).MODEL_CLASS,
        "parameters": trained.counts["parameters"],
        "parts": _origins(recipe.model),
        "base_models": (bases := _base_models(recipe.model)),
        "training_type": "fine-tuning" if bases else "pre-training",
        "tables": tuple(_tables(context)),
        "data": tuple(_training_data(context)),
        "energy": energy_of(trained.counts, recipe.train.country),
        "limits": publishing.limits,
        "tags": ("vision-language", recipe.model.family),
        "version": __version__,
    }


def _tower_facts(context: Context, publishing: Publishing) -> dict[str, Any]:
    assert context.recipe.model
    family = choose("families", context.recipe.model.family)
    trained = context.run.stage("train").manifest()
    assert trained
    return {
        "name": f"{publishing.title}: vision tower",
        "what": "A vision tower that other recipes start from: for every patch of a picture, what it shows.",
        "task": "image-feature-extraction",
        "architecture": family.TOWER_CLASS,
        "parameters": trained.counts["parameters_by_role"]["vision"],
        "parts": {"vision tower": "trained from nothing by this recipe"},
        "limits": (
            *publishing.limits,
            "The scores above are those of the assistant that was trained on this tower in the same run.",
        ),
        "tags": ("vision", context.recipe.model.family),
    }


def _tower_writer(context: Context) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from olhar.families import load, write_tower

        checkpoint = load(context.run.path / "train" / "model")
        write_tower(checkpoint.model, checkpoint.settings, folder)

    return write


def _origins(model: Model) -> dict[str, str]:
    """Where each part comes from: a name, or made here."""
    if isinstance(model, StartingPoint):
        return {"checkpoint": Path(model.checkpoint).name}
    named = {"vision tower": model.tower, "language model": model.language_model, "tokenizer": model.tokenizer}
    origins = {
        part: Path(name).name if isinstance(name, str) else "made by this recipe" for part, name in named.items()
    }
    return {"connector": "made by this recipe", **origins}


def _base_models(model: Model) -> tuple[str, ...]:
    """Ids on the hub of what the recipe starts from; what lies in a folder has none."""
    parts = (model.checkpoint,) if isinstance(model, StartingPoint) else (model.tower, model.language_model)
    return tuple(name for name in parts if isinstance(name, str) and HUB_ID.fullmatch(name))


def _tables(context: Context) -> list[Table]:
    """One table a benchmark, around its first split."""
    scores = [Score(**row) for row in read_json(context.run.path / "evaluate" / "scores.json")]
    found = []
    for name in dict.fromkeys(score.benchmark for score in scores):
        of_one = [score for score in scores if score.benchmark == name]
        found.append(table(of_one, of_one[0].split))
    return found


def _training_data(context: Context) -> list[TrainingData]:
    passed = context.run.stage("check").manifest()
    trained_on = {taking.data for mixture in context.recipe.mix for taking in mixture.take}
    found = []
    for data in context.recipe.ingest:
        if data.name not in trained_on or passed is None:
            continue
        source = choose("sources", data.source)
        licence = data.license or str(getattr(source, "LICENCE", "not stated"))
        attribution = data.attribution or getattr(source, "ATTRIBUTION", "")
        found.append(TrainingData(data.name, passed.counts["passed"][data.name], licence, attribution))
    return found
