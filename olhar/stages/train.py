"""Parts become an assistant: a tokenizer, a composed model, and the recipe's stages of training, one after another.

The folder holds ``tokenizer.json``, ``tokens-<mixture>/``, one folder a training stage (checkpoints, ``steps.jsonl``),
``model/`` as plain transformers loads it, and the curves of its loss.
"""

import shutil
from pathlib import Path
from typing import Any

from olhar.core.choices import choose
from olhar.core.recipe import Recipe
from olhar.core.store import digest_path
from olhar.stages import Context

NEEDS = ("mix",)


def config(recipe: Recipe) -> dict[str, Any] | None:
    if recipe.train is None or recipe.model is None:
        return None
    model = recipe.model.model_dump(mode="json")
    for part in ("tower", "language_model", "tokenizer"):  # a path is no content: its hash is among the inputs
        if isinstance(model[part], str):
            model[part] = "pretrained"
    training = recipe.train.model_dump(mode="json")
    return {"model": model, "train": training, "language": recipe.language, "seed": recipe.seed}


def outside(recipe: Recipe) -> dict[str, str]:
    parts = recipe.model.model_dump(include={"tower", "language_model", "tokenizer"}) if recipe.model else {}
    return {part: digest_path(Path(path)) for part, path in parts.items() if isinstance(path, str)}


def run(context: Context) -> dict[str, Any]:
    from olhar.training import session  # torch only now: plan and help stay quick

    trained = session.train(
        context.recipe, context.run.path, context.folder, context.fingerprint, context.track, context.say
    )
    trained.export(context.folder / "model")
    _curves(context.folder, trained.records)
    for cache in context.folder.glob("features-*"):
        shutil.rmtree(cache)  # large, quickly made again, and of no use once training has ended
    return trained.counts


def _curves(folder: Path, records: list[dict[str, Any]]) -> None:
    one_after_another = [{**record, "step": step} for step, record in enumerate(records, start=1)]
    choose("reports", "curves").loss_curve(one_after_another, folder / "loss.png")
