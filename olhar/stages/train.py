"""Parts, or a checkpoint, become an assistant: the recipe's stages of training, one after another.

The folder holds ``tokenizer.json``, ``tokens-*/`` (what the samples are in tokens, and findings about those that do not
fit), one folder a training stage (checkpoints, ``steps.jsonl``), ``model/`` as plain transformers loads it, where
adapters were trained also ``adapter/`` as PEFT loads it, and ``report.html`` with the curves.
"""

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from olhar import __version__
from olhar.core.environment import beside_the_first
from olhar.core.recipe import Recipe
from olhar.core.store import RunFolder, digest, digest_path
from olhar.stages import Context, _start
from olhar.stages._watch import Watch

if TYPE_CHECKING:
    from olhar.training.session import Opened

NEEDS = ("mix",)
READS = ("check",)  # the questions it is asked on the way
MACHINE = {  # of [train]: where and how fast, never what comes out
    *("device", "sharding", "processes", "threads", "workers", "kernels", "hardware", "country", "logs"),
    *("checkpoint_seconds", "checkpoint_steps", "keep"),
}
MACHINE_OF_STAGE = {"micro_batch", "gradient_checkpointing"}


def config(recipe: Recipe) -> dict[str, Any] | None:
    """What decides the weights. A run may go on with other workers, on another number of GPUs, and so on."""
    if recipe.train is None or recipe.model is None:
        return None
    model = recipe.model.model_dump(mode="json")
    for part in (*_start.PARTS, *_start.WHOLE):  # a path is no content: its hash is among the inputs
        if isinstance(model.get(part), str):
            model[part] = "pretrained"
    training = recipe.train.model_dump(mode="json", exclude=MACHINE)
    training["stages"] = [
        {key: value for key, value in stage.items() if key not in MACHINE_OF_STAGE} for stage in training["stages"]
    ]
    return {"model": model, "train": training, "language": recipe.language, "seed": recipe.seed}


def outside(recipe: Recipe) -> dict[str, str]:
    return _start.digests(recipe.model) if recipe.model else {}


def run(context: Context) -> dict[str, Any]:
    from olhar.training import session, telling  # torch only now: plan and help stay quick

    work = session.Work(context.recipe, context.run.path, context.folder, partial(_opened, context.recipe, context.run))
    if beside_the_first():
        session.train(work, telling.UNTOLD)
        return {}
    watch, counts = Watch(context), None
    try:
        judge = watch.judge if watch.asks else None
        trained = session.train(work, telling.Told(context.track, context.say, judge, watch.record))
        assert trained  # in the first process
        trained.export(context.folder / "model")
        counts = trained.counts
    finally:
        watch.close(counts)
    for cache in context.folder.glob("features-*"):
        shutil.rmtree(cache)  # large, quickly made again, and of no use once training has ended
    return counts


def _opened(recipe: Recipe, run: RunFolder) -> "Opened":
    """The model at hand, and what a checkpoint belongs to, by name, so that a refusal can say what differs."""
    from olhar.training.session import Opened

    assert recipe.model
    own = run.stage("train")
    data = {path.name: digest_path(path) for path in sorted((run.path / "mix").glob("*.jsonl"))}
    identity = {"recipe": own.begun(), "data": digest(data), "code": __version__}
    source = _start.at_hand(recipe.model, own.path / "start")
    return Opened(source, identity, _start.adapter_at_hand(recipe.model))
