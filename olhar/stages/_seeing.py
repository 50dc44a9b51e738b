"""What a stage of training sees: how many samples, packs and steps, and what goes through the model in one step."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from olhar.core.errors import UserError
from olhar.core.recipe import Training, TrainStage
from olhar.stages import _costs
from olhar.stages._lengths import Lengths
from olhar.training.data import draws, packs
from olhar.training.data.layout import padding

STEPS_TRIED = 8  # random steps whose packs are planned where a step draws samples, not packs


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stage sees: its samples, packs and steps.

    step: what goes through the model in one step of all processes. micro: in the largest micro-batch of one.
    """

    stage: TrainStage
    found: Lengths
    kept: Lengths
    overlong: int
    packs: int | None
    fill: float | None
    steps: int | None
    step: _costs.Work
    micro: _costs.Work
    epochs: float | None

    @classmethod
    def of(cls, training: Training, stage: TrainStage, found: Lengths, seed: int) -> "Seen":
        """What the stage sees of a mixture of these lengths; raises ``UserError`` where no sample fits into a pack."""
        if stage.objective == "patches":
            return cls._of_pictures(stage, found)
        capacity, tiles = training.tokens_of(stage), training.max_tiles
        kept, overlong = found.kept(capacity, tiles, training.overlong)
        if not len(kept.tokens):
            raise UserError("no sample fits into a pack", f"train.stages: {stage.name}", "raise max_tokens")
        if stage.unit == "packs":
            planned = draws.planned(kept.tokens, kept.tiles, stage.packing, capacity, tiles)
            each = len(planned) / len(kept.tokens)  # packs a document
            total = None if kept.documents is None else max(1, round(kept.documents * each))
            per_step, fill = float(stage.batch), packs.fill(planned, kept.tokens, capacity)
            documents = stage.batch / each
        else:
            per_step, fill = _packs_of_a_step(kept, capacity, tiles, stage, seed)
            total, documents = None, stage.batch / float(kept.samples.mean())
        step = _work(kept, documents)
        processes = _costs.processes(training)
        own = max(1.0, -(-per_step // processes))
        micro = min(stage.micro_batch or own, own)
        steps = _steps(stage, total, kept.total)
        seen = steps * documents if steps is not None else None
        epochs = None if seen is None or not kept.documents else seen / kept.documents
        return cls(
            stage, found, kept, overlong, total, fill, steps, step, _work(kept, documents * micro / per_step), epochs
        )

    @classmethod
    def _of_pictures(cls, stage: TrainStage, found: Lengths) -> "Seen":
        """Of the objective patches: pictures, not samples; how many differ is not known before they are read."""
        work = _costs.Work(0, 0, stage.batch, 0, stage.batch)
        return cls(stage, found, found, 0, None, None, stage.steps, work, work, None)

    def told(self) -> dict[str, Any]:
        found, answers = self.found, self.stage.objective == "answers"
        spread = {name: found.spread(name) for name in ("tokens", "images", "labelled")}
        documents = len(found.tokens)
        return {
            "samples": found.total,
            "samples_known": found.counted,
            "sampled": len(found.rows),
            "epochs": self.epochs,
            "tokens_per_sample": spread["tokens"] if answers else None,
            "image_tokens_per_sample": spread["images"] if answers else None,
            "labelled_per_sample": spread["labelled"] if answers else None,
            "words": found.words,
            "assumed_share": found.assumed,
            "unseen_pictures": found.unseen,
            "refused": found.refused,
            "overlong_share": self.overlong / documents if documents else 0.0,
            "packs": self.packs,
            "fill": self.fill if answers and self.stage.packing else None,
            "padding": padding(self.micro.tokens) if answers else None,
            "tokens_a_step": round(self.step.tokens) if answers else None,
            "images_a_step": self.stage.batch if not answers else None,
            "tokens_a_micro_batch": round(self.micro.tokens) if answers else None,
        }


def _packs_of_a_step(
    kept: Lengths, capacity: int, tiles: int | None, stage: TrainStage, seed: int
) -> tuple[float, float]:
    """(packs, fill) of steps that each draw ``batch`` samples and pack them anew, the mean of some."""
    if not stage.packing:
        return float(stage.batch), float(kept.tokens.mean()) / capacity
    random, planned, tokens = np.random.default_rng(seed), 0, 0
    for _ in range(STEPS_TRIED):
        drawn = random.integers(0, len(kept.tokens), max(1, round(stage.batch / float(kept.samples.mean()))))
        planned += len(packs.plan_packs(kept.tokens[drawn], capacity, kept.tiles[drawn], tiles))
        tokens += int(kept.tokens[drawn].sum())
    return planned / STEPS_TRIED, tokens / (planned * capacity)


def _work(kept: Lengths, documents: float) -> _costs.Work:
    """What that many documents of the mixture put through the model."""
    tokens, tiles = kept.tokens.astype(float), float(kept.tiles.mean()) * documents
    squares = float((tokens**2).mean()) * documents
    return _costs.Work(float(tokens.mean()) * documents, float(kept.labelled.mean()) * documents, tiles, squares, tiles)


def _steps(stage: TrainStage, total_packs: int | None, samples: int | None) -> int | None:
    if stage.steps is None and (total_packs if stage.unit == "packs" else samples) is None:
        return None
    return packs.steps_of(stage, total_packs or 0, samples or 0)
