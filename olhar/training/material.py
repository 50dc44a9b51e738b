"""What a stage learns from: its samples in tokens, packs of them, the batches of every step, and how many steps."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from olhar.core.recipe import Recipe, Training, TrainStage
from olhar.core.samples import SampleFile
from olhar.core.store import digest
from olhar.core.types import Pen
from olhar.families import Encoder, views_of
from olhar.prompts import prompt, with_placeholder
from olhar.training.data import encode, features, packs
from olhar.training.data.batches import Look, PackedBatches, Share
from olhar.training.data.encode import EncodedSet
from olhar.training.data.features import FeatureCache, Looked
from olhar.training.data.patches import PatchBatches, class_names, labelled_pictures
from olhar.training.data.pieces import shown_media
from olhar.training.model.vocabulary import PAD
from olhar.training.opening import Start
from olhar.training.processes.team import Team

Track = Callable[..., Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Material:
    """A stage's batches by the step's number, how many steps there are, and what a person is told of it.

    classes: of the patches, where the stage learns those. cached: pictures come as what a frozen tower sees in them.
    """

    batches: torch.utils.data.Dataset[Any]
    steps: int
    told: str
    classes: int = 0
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Materials:
    """Makes the material of every stage; what is costly to make is kept in ``folder``, and found again here."""

    recipe: Recipe
    training: Training
    start: Start
    run: Path
    folder: Path
    team: Team
    track: Track
    _encoded: dict[Path, EncodedSet] = field(default_factory=dict)
    _seen: dict[str, FeatureCache] = field(default_factory=dict)

    @property
    def pen(self) -> Pen:
        return Pen(self.training.marks.width, self.training.marks.alpha)

    def of(self, number: int, model: Any, precision: str) -> Material:
        """The material of a stage; ``model`` as it stands before it."""
        stage = self.training.stages[number]
        samples = self._samples(stage.mixture)
        if stage.objective == "patches":
            return self._patches(stage, samples)
        encoded = self.encoded(stage)
        features = self._features(number, model, precision) if self.training.caches(stage) else None
        settings = self.settings(stage)
        look = Look(self.start.family_name, settings, self.pen, features)
        batches = PackedBatches(
            encoded,
            samples,
            stage,
            look,
            capacity=self.training.tokens_of(stage),
            max_tiles=self.training.max_tiles,
            seed=self.recipe.seed,
            pad=self.start.tokenizer.token_to_id(PAD) or 0,
            share=Share(self.team.rank, self.team.size),
        )
        return Material(batches, len(batches), self._told(stage, encoded), cached=features is not None)

    def _patches(self, stage: TrainStage, samples: SampleFile) -> Material:
        labelled = labelled_pictures(self.track(samples, f"boxes of {stage.mixture}", len(samples)))
        steps = packs.steps_of(stage, len(labelled), len(labelled))
        order = packs.Order(len(labelled), stage.batch, steps, self.recipe.seed)
        family, settings = self.start.family_name, self.settings(stage)
        share = (self.team.rank, self.team.size)
        batches = PatchBatches(labelled, order, family, settings, stage.augment, self.recipe.seed, *share)
        return Material(batches, steps, f"{len(labelled):,} pictures", len(class_names(labelled)))

    def _told(self, stage: TrainStage, encoded: EncodedSet) -> str:
        """Samples, tokens, and what did not fit."""
        counts = encoded.counts
        lost = [f"{counts[fate]:,} {fate}" for fate in ("rejected", "truncated", "split") if counts.get(fate)]
        told = f"{encoded.samples:,} samples, {counts['tokens']:,} tokens"
        return f"{told}; {', '.join(lost)}: see {self._tokens(stage) / encode.FINDINGS}" if lost else told

    def settings(self, stage: TrainStage) -> Any:
        """How the family looks at pictures in a stage."""
        return self.start.settings_for(stage.image, f"train.stages, {stage.name!r}: image")

    def _samples(self, mixture: str) -> SampleFile:
        return SampleFile(self.run / "mix" / f"{mixture}.jsonl", self.run)

    def _encoder(self, stage: TrainStage) -> Encoder:
        name, variant = self.training.spoken(stage)
        tokenizer = with_placeholder(self.start.tokenizer)
        return Encoder(prompt(name), variant, tokenizer, self.start.family, self.settings(stage))

    def _tokens(self, stage: TrainStage) -> Path:
        """Where a stage's tokens are: stages that see a mixture alike share them."""
        said = [self.training.spoken(stage), stage.image, self.training.tokens_of(stage)]
        return self.folder / f"tokens-{stage.mixture}-{digest(said)[:8]}"

    def encoded(self, stage: TrainStage) -> EncodedSet:
        """The stage's samples in tokens; process 0 makes them, the others find them."""
        folder = self._tokens(stage)
        if folder not in self._encoded:
            self._encoded[folder] = self.team.in_turn(lambda: self._encode(stage, folder))
        return self._encoded[folder]

    def _encode(self, stage: TrainStage, folder: Path) -> EncodedSet:
        return encode.encode_set(
            self._samples(stage.mixture),
            self._encoder(stage),
            self.training.tokens_of(stage),
            self.training.overlong,
            self.training.isolate_questions,
            folder,
            max(self.training.workers + 1, self.training.processes),
            self.track,
            self.training.max_tiles,
        )

    def _features(self, number: int, model: Any, precision: str) -> FeatureCache:
        """What the frozen tower sees in all pictures from here on, looked at once for all stages that look alike."""
        stages, like = self.training.stages, self.settings(self.training.stages[number])
        changed = sum("vision" in stage.trains for stage in stages[:number])  # stages that the tower learned in
        said = repr((like, changed))
        if said not in self._seen:
            self._seen[said] = self._look(like, model, precision)
        return self._seen[said]

    def _look(self, like: Any, model: Any, precision: str) -> FeatureCache:
        caching = [stage for stage in self.training.stages if self.training.caches(stage)]
        folders = {self._tokens(stage): stage for stage in caching if self.settings(stage) == like}
        looked = [pair for stage in folders.values() for pair in self._looked(stage, like)]
        workers = max(self.training.workers + 1, self.training.processes)  # this process only waits meanwhile
        family, folder = self.start.family_name, self.folder
        return self.team.in_turn(
            lambda: features.build(folder, looked, model, family, like, precision, workers, self.track)
        )

    def _looked(self, stage: TrainStage, settings: Any) -> Iterator[Looked]:
        """Every picture that a stage shows, and how it is looked at beside those it is shown with."""
        look, samples = Look(self.start.family_name, settings, self.pen), self._samples(stage.mixture)
        encoded = self.encoded(stage)
        first = encoded.groups[:-1]  # a document's samples show the same
        for row, shown in zip(encoded.rows[first].tolist(), encoded.shown[first].tolist(), strict=True):
            media = look.penned(tuple(shown_media(samples[row], shown)))
            yield from zip(media, views_of(media, self.start.family, settings), strict=True)
