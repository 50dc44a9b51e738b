"""One training run: tokenizer, tokens, model, then stage after stage; every part is kept and found again."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rich.table import Table
from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.recipe import ModelParts, Recipe, Training, TrainStage
from olhar.core.samples import SampleFile
from olhar.core.store import writing
from olhar.core.types import Pen, Sample
from olhar.families import Checkpoint as Published
from olhar.families import Encoder, Spoken, add_tokens, read_tokenizer, views_of
from olhar.languages import language
from olhar.prompts import prompt, special_tokens, with_placeholder
from olhar.training import checkpoints, encode, features, loop, packs, vocabulary
from olhar.training.batches import PackedBatches
from olhar.training.encode import EncodedSet
from olhar.training.energy import EnergyMeter
from olhar.training.features import FeatureCache, Looked
from olhar.training.objectives import AnswerLearner, PatchLearner
from olhar.training.optimizers import Group, describe, freeze_all_but, groups
from olhar.training.patches import PatchBatches, class_names, labelled_pictures
from olhar.training.team import Team, assembled

Track = Callable[..., Iterable[Any]]
Say = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came out: the model with all it needs to be loaded, the step records, the counts for the manifest."""

    published: Published
    records: list[dict[str, Any]]
    counts: dict[str, Any]

    def export(self, folder: Path) -> None:
        self.published.save(folder)


def train(recipe: Recipe, run: Path, folder: Path, identity: str, track: Track, say: Say) -> Trained:
    """Train all stages of the recipe; whatever an interrupted run finished is used as it is."""
    assert recipe.train and recipe.model  # the stage runs only then
    with assembled(recipe.train.processes, _assist, (recipe, run, folder, identity)) as team:
        work = _session(recipe, run, folder, identity, team, track, say)
        return work.all_stages()


def _assist(team: Team, recipe: Recipe, run: Path, folder: Path, identity: str) -> None:
    """The part of a further process: the same, without a word."""
    _session(recipe, run, folder, identity, team, lambda items, *_: items, lambda _: None).all_stages()


def _session(recipe: Recipe, run: Path, folder: Path, identity: str, team: Team, track: Track, say: Say) -> "_Session":
    assert recipe.train and recipe.model
    torch.set_num_threads(recipe.train.threads)
    torch.manual_seed(recipe.seed)
    family = choose("families", recipe.model.family)
    settings = family.settings(recipe.model)
    tokenizer = team.in_turn(lambda: _tokenizer(recipe, run, folder, family))
    encoder = Encoder(prompt(recipe.train.prompt), recipe.train.variant, with_placeholder(tokenizer), family, settings)
    model = family.compose(recipe.model, settings, tokenizer)
    return _Session(
        recipe, recipe.model, recipe.train, run, folder, identity, model, family, settings, encoder, team, track, say
    )


def _sizes(model: torch.nn.Module, family: ModuleType) -> dict[str, int]:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return {role: sum(sizes[name] for name in names) for role, names in family.roles(model).items()}


def precision(wanted: str) -> str:
    """``auto`` becomes bf16 where the processor multiplies bf16 natively, else fp32: elsewhere bf16 is slower."""
    if wanted != "auto":
        return wanted
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


def _tokenizer(recipe: Recipe, run: Path, folder: Path, family: ModuleType) -> Tokenizer:
    """The recipe's tokenizer: learned from a mixture's text, or read from a folder."""
    assert recipe.train and recipe.model
    target = folder / "tokenizer.json"
    if target.exists():
        return Tokenizer.from_file(str(target))
    wanted = recipe.model.tokenizer
    if isinstance(wanted, str):
        tokenizer = read_tokenizer(Path(wanted))
        add_tokens(tokenizer, family.SPECIAL_TOKENS)
    else:
        specials = special_tokens(prompt(recipe.train.prompt), language(recipe.language), recipe.train.variant)
        samples = SampleFile(run / "mix" / f"{wanted.mixture}.jsonl", run)
        texts = (f" {turn.text}" for sample in samples for turn in sample.turns)
        tokenizer = vocabulary.learn(texts, wanted.vocabulary, [*specials, *family.SPECIAL_TOKENS])
    with writing(target) as handle:
        handle.write(tokenizer.to_str())
    return tokenizer


@dataclass(slots=True)
class _Session:
    recipe: Recipe
    parts: ModelParts
    training: Training
    run: Path
    folder: Path
    identity: str
    model: torch.nn.Module
    family: ModuleType
    settings: Any
    encoder: Encoder
    team: Team
    track: Track
    say: Say

    def all_stages(self) -> Trained:
        """Every stage in order; then what came out."""
        with EnergyMeter(self.training.country) if self.team.leads else nullcontext() as energy:
            read = energy.read if energy else lambda: (0.0, 0.0)
            stages = [self.stage(number, stage, read) for number, stage in enumerate(self.training.stages)]
        return Trained(self._published(), self._records(), self._counts(stages, energy.method if energy else ""))

    def _published(self) -> Published:
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))  # without the placeholder
        spoken = Spoken(self.training.prompt, self.training.variant, self.recipe.language)
        pen = Pen(self.training.marks.width, self.training.marks.alpha)
        return Published(self.model, tokenizer, self.parts.family, self.settings, spoken, pen)

    def _records(self) -> list[dict[str, Any]]:
        folders = [self.stage_folder(number) for number in range(len(self.training.stages))]
        return [line for folder in folders for line in loop.read_records(folder)]

    def _counts(self, stages: list[dict[str, float]], energy_method: str) -> dict[str, Any]:
        totals = {name: sum(counters[name] for counters in stages) for name in loop.COUNTERS}
        counts: dict[str, Any] = {
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "parameters_by_role": _sizes(self.model, self.family),
            "vocabulary": self.model.get_input_embeddings().num_embeddings,  # type: ignore[operator]
            "precision": precision(self.training.precision),
            "energy_method": energy_method,
            "stages": {stage.name: found for stage, found in zip(self.training.stages, stages, strict=True)},
            "total": totals,
        }
        if energy_method != "not measured":
            counts |= {"energy_kwh": totals["energy_kwh"], "co2_g": totals["co2_g"]}
        return counts

    def stage_folder(self, number: int) -> Path:
        return self.folder / f"{number + 1}-{self.training.stages[number].name}"

    def stage(self, number: int, stage: TrainStage, energy: Callable[[], tuple[float, float]]) -> dict[str, float]:
        """Run one stage, or take over what it left when it is finished; returns its counters."""
        meter = loop.Meter(energy)
        folder = self.stage_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        if self.team.in_turn(lambda: checkpoints.steps_done(folder)) == stage.steps:
            self.say(f"  [green]✓[/] {stage.name}: finished before")
            return self._taken_over(folder)
        torch.manual_seed(self.recipe.seed + number)
        learner, batches = self._learner(number, stage)
        roles = {role: [f"model.{name}" for name in names] for role, names in self.family.roles(self.model).items()}
        roles["vision"] += learner.head_names  # a patch head learns with the tower it judges
        trained = groups(learner.module, roles, stage)
        freeze_all_but(learner.module, trained)
        self._describe(stage, learner.module, trained)
        job = loop.Job(
            stage=stage,
            learner=learner,
            groups=trained,
            batches=batches,
            folder=folder,
            identity=self.identity,
            workers=self.training.workers,
            precision=precision(self.training.precision),
            checkpoint_seconds=self.training.checkpoint_seconds,
            meter=meter,
            team=self.team,
        )
        for _ in self.track(loop.steps(job), f"train {stage.name}", stage.steps):
            pass
        return job.counters

    def _taken_over(self, folder: Path) -> dict[str, float]:
        """The weights of a finished stage, without preparing again what it saw; returns its counters."""
        finished = self.team.in_turn(lambda: checkpoints.newest(folder, self.identity))
        assert finished  # there is a checkpoint of its last step
        named = {name.removeprefix("model."): t for name, t in finished.weights.items() if name.startswith("model.")}
        checkpoints.load_strictly(self.model, named)  # a patch head is not taken over: it was thrown away
        return dict(finished.counters)

    def _learner(
        self, number: int, stage: TrainStage
    ) -> tuple[AnswerLearner | PatchLearner, torch.utils.data.Dataset[Any]]:
        """What the stage trains, and the batches it sees."""
        samples = self._samples(stage.mixture)
        if stage.objective == "patches":
            labelled = labelled_pictures(self.track(samples, f"boxes of {stage.mixture}", len(samples)))
            order = self._share(packs.pack_order(len(labelled), stage.batch, stage.steps, self.recipe.seed))
            learner = PatchLearner(self.model, self.family, self.settings, len(class_names(labelled)))
            seed, augment = self.recipe.seed + self.team.rank, stage.augment
            return learner, PatchBatches(labelled, order, self.parts.family, self.settings, augment, seed)
        encoded = self._encoded(stage.mixture, samples)
        lengths = encoded.lengths()
        planned = packs.plan_packs(lengths, self.training.max_tokens)
        share = packs.fill(planned, lengths, self.training.max_tokens)
        epochs = stage.steps * stage.batch / len(planned)
        self.say(f"  {len(lengths)} documents in {len(planned)} packs, {share:.1%} full; {epochs:.1f} epochs")
        order = self._share(packs.pack_order(len(planned), stage.batch, stage.steps, self.recipe.seed))
        pad = self.encoder.tokenizer.token_to_id(vocabulary.PAD) or 0
        seen = None if "vision" in stage.trains else self._features(number)
        family = self.parts.family
        batches = PackedBatches(encoded, samples, planned, order, family, self.settings, pad, seen)
        return AnswerLearner(self.model, self.family, self.settings), batches

    def _share(self, order: np.ndarray) -> np.ndarray:
        """This process's part of every step: (steps, batch / processes)."""
        return order[:, self.team.rank :: self.team.size]

    def _features(self, number: int) -> FeatureCache:
        """What the frozen tower sees in all pictures from here on, looked at once for all stages that follow."""
        stages = self.training.stages
        trained_before = sum("vision" in stage.trains for stage in stages[:number])
        mixtures = dict.fromkeys(stage.mixture for stage in stages if "vision" not in stage.trains)
        pictures = [looked for name in mixtures for sample in self._samples(name) for looked in self._looked(sample)]
        folder, exact = self.folder / f"features-{trained_before}", precision(self.training.precision)
        workers = max(self.training.workers + 1, self.training.processes)  # this process only waits meanwhile
        return self.team.in_turn(
            lambda: features.build(
                folder, pictures, self.model, self.parts.family, self.settings, exact, workers, self.track
            )
        )

    def _looked(self, sample: Sample) -> Iterable[Looked]:
        """Every picture of a sample, and how it is looked at."""
        return zip(sample.media, views_of(sample.media, self.family, self.settings), strict=True)

    def _samples(self, mixture: str) -> SampleFile:
        return SampleFile(self.run / "mix" / f"{mixture}.jsonl", self.run)

    def _encoded(self, mixture: str, samples: SampleFile) -> EncodedSet:
        folder = self.folder / f"tokens-{mixture}"

        def made() -> EncodedSet:
            found = encode.load(folder)
            if found is None:
                share = self.training.isolate_questions
                found = encode.encode_set(samples, range(len(samples)), self.encoder, share, self.track)
                encode.save(found, folder)
            return found

        return self.team.in_turn(made)

    def _describe(self, stage: TrainStage, module: torch.nn.Module, trained: list[Group]) -> None:
        table = Table(title=f"{stage.name}: {stage.steps} steps", title_justify="left", box=None)
        rows = list(describe(module, trained))
        for column in rows[0]:
            table.add_column(column, justify="left" if column in ("role", "optimizer") else "right")
        for row in rows:
            table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
        self.say(table)
