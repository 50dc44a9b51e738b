"""One training run: tokenizer, tokens, model, then stage after stage; every part is kept and found again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.table import Table
from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.recipe import ModelParts, Recipe, Training, TrainStage
from olhar.core.samples import SampleFile
from olhar.core.store import writing
from olhar.families import Checkpoint as Published
from olhar.families import Encoder, read_tokenizer
from olhar.languages import language
from olhar.prompts import prompt, special_tokens, with_placeholder
from olhar.training import checkpoints, encode, features, loop, packs, vocabulary
from olhar.training.batches import PackedBatches
from olhar.training.encode import EncodedSet
from olhar.training.energy import EnergyMeter
from olhar.training.features import FeatureCache
from olhar.training.objectives import AnswerLearner, PatchLearner
from olhar.training.optimizers import Group, describe, freeze_all_but, groups
from olhar.training.patches import PatchBatches, class_names, labelled_pictures

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
    torch.set_num_threads(recipe.train.threads)
    torch.manual_seed(recipe.seed)
    family = choose("families", recipe.model.family)
    settings = family.settings(recipe.model)
    tokenizer = _tokenizer(recipe, run, folder, family)
    encoder = Encoder(prompt(recipe.train.prompt), recipe.train.variant, with_placeholder(tokenizer), family, settings)
    image_token = tokenizer.token_to_id(family.IMAGE_TOKEN)
    model = family.compose(recipe.model, settings, tokenizer.get_vocab_size(), image_token)
    published = Published(
        model, tokenizer, recipe.model.family, settings, recipe.train.prompt, recipe.train.variant, recipe.language
    )
    work = _Session(
        recipe, recipe.model, recipe.train, run, folder, identity, model, family, settings, encoder, track, say
    )
    with EnergyMeter(recipe.train.country) as energy:
        stages = [work.stage(number, stage, energy) for number, stage in enumerate(recipe.train.stages)]
    totals = {name: sum(counters[name] for counters in stages) for name in loop.COUNTERS}
    records = [line for number in range(len(stages)) for line in loop.read_records(work.stage_folder(number))]
    counts: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "parameters_by_role": _sizes(model, family),
        "vocabulary": tokenizer.get_vocab_size(),
        "precision": precision(recipe.train.precision),
        "energy_method": energy.method,
        "stages": {stage.name: counters for stage, counters in zip(recipe.train.stages, stages, strict=True)},
        "total": totals,
    }
    if energy.method != "not measured":
        counts |= {"energy_kwh": totals["energy_kwh"], "co2_g": totals["co2_g"]}
    return Trained(published, records, counts)


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
    track: Track
    say: Say

    def stage_folder(self, number: int) -> Path:
        return self.folder / f"{number + 1}-{self.training.stages[number].name}"

    def stage(self, number: int, stage: TrainStage, energy: EnergyMeter) -> dict[str, float]:
        """Run one stage, or take over what it left when it is finished; returns its counters."""
        meter = loop.Meter(energy.read)
        folder = self.stage_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        finished = checkpoints.newest(folder, self.identity)
        torch.manual_seed(self.recipe.seed + number)
        learner, batches = self._learner(number, stage)
        if finished and finished.step == stage.steps:
            checkpoints.load_strictly(learner.module, finished.weights)
            self.say(f"  [green]✓[/] {stage.name}: finished before")
            return dict(finished.counters)
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
        )
        for _ in self.track(loop.steps(job), f"train {stage.name}", stage.steps):
            pass
        return job.counters

    def _learner(
        self, number: int, stage: TrainStage
    ) -> tuple[AnswerLearner | PatchLearner, torch.utils.data.Dataset[Any]]:
        """What the stage trains, and the batches it sees."""
        samples = self._samples(stage.mixture)
        if stage.objective == "patches":
            labelled = labelled_pictures(self.track(samples, f"boxes of {stage.mixture}", len(samples)))
            order = packs.pack_order(len(labelled), stage.batch, stage.steps, self.recipe.seed)
            learner = PatchLearner(self.model, self.family, self.settings, len(class_names(labelled)))
            seed, augment = self.recipe.seed, stage.augment
            return learner, PatchBatches(labelled, order, self.parts.family, self.settings, augment, seed)
        encoded = self._encoded(stage.mixture, samples)
        lengths = encoded.lengths()
        planned = packs.plan_packs(lengths, self.training.max_tokens)
        share = packs.fill(planned, lengths, self.training.max_tokens)
        epochs = stage.steps * stage.batch / len(planned)
        self.say(f"  {len(lengths)} documents in {len(planned)} packs, {share:.1%} full; {epochs:.1f} epochs")
        order = packs.pack_order(len(planned), stage.batch, stage.steps, self.recipe.seed)
        pad = self.encoder.tokenizer.token_to_id(vocabulary.PAD) or 0
        seen = None if "vision" in stage.trains else self._features(number)
        family = self.parts.family
        batches = PackedBatches(encoded, samples, planned, order, family, self.settings, pad, seen)
        return AnswerLearner(self.model, self.family, self.settings), batches

    def _features(self, number: int) -> FeatureCache:
        """What the frozen tower sees in all pictures from here on, looked at once for all stages that follow."""
        stages = self.training.stages
        trained_before = sum("vision" in stage.trains for stage in stages[:number])
        mixtures = dict.fromkeys(stage.mixture for stage in stages if "vision" not in stage.trains)
        refs = [ref for name in mixtures for sample in self._samples(name) for ref in sample.media]
        return features.build(
            self.folder / f"features-{trained_before}",
            refs,
            self.model,
            self.parts.family,
            self.settings,
            precision(self.training.precision),
            self.training.workers + 1,  # while they look, this process only waits
            self.track,
        )

    def _samples(self, mixture: str) -> SampleFile:
        return SampleFile(self.run / "mix" / f"{mixture}.jsonl", self.run)

    def _encoded(self, mixture: str, samples: SampleFile) -> EncodedSet:
        folder = self.folder / f"tokens-{mixture}"
        found = encode.load(folder)
        if found is None:
            share = self.training.isolate_questions
            found = encode.encode_set(samples, range(len(samples)), self.encoder, share, self.track)
            encode.save(found, folder)
        return found

    def _describe(self, stage: TrainStage, module: torch.nn.Module, trained: list[Group]) -> None:
        table = Table(title=f"{stage.name}: {stage.steps} steps", title_justify="left", box=None)
        rows = list(describe(module, trained))
        for column in rows[0]:
            table.add_column(column, justify="left" if column in ("role", "optimizer") else "right")
        for row in rows:
            table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
        self.say(table)
