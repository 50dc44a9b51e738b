"""One training run: what it starts from, then stage after stage; every part is kept and found again."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from olhar.core.recipe import ModelParts, Recipe, Training, TrainStage
from olhar.core.store import read_json, write_json
from olhar.families import Checkpoint as Published
from olhar.families import Spoken
from olhar.training import loop
from olhar.training.data.feeding import lost_worker
from olhar.training.energy import Counted, EnergyMeter
from olhar.training.material import Material, Materials
from olhar.training.model.kernels import apply_liger
from olhar.training.model.objectives import AnswerLearner, PatchLearner
from olhar.training.model.optimizers import freeze_all_but, groups
from olhar.training.model.precision import keep_in_half, precision
from olhar.training.model.prepare import Prepared, prepare
from olhar.training.opening import Start, opened
from olhar.training.processes import checkpoints, state
from olhar.training.processes.team import Team, assembled
from olhar.training.records import Meter, read_records
from olhar.training.telling import UNTOLD, Told, counts, groups_table

PLAN = "plan.json"  # of a stage: how many steps it has


@dataclass(frozen=True, slots=True)
class Opened:
    """What lies outside the run. source: the recipe's parts with every folder on this disk, or a checkpoint's folder;
    identity: hashes of what decides the result, by name; adapter: one to go on with."""

    source: ModelParts | Path
    identity: Mapping[str, str]
    adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done. ``open`` is asked once in every process, in the first one first: it may fetch and convert."""

    recipe: Recipe
    run: Path
    folder: Path
    open: Callable[[], Opened]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came out: the model with all it needs to be loaded, the step records, the counts for the manifest."""

    published: Published
    records: list[dict[str, Any]]
    counts: dict[str, Any]

    def export(self, folder: Path) -> None:
        self.published.save(folder)


def train(work: Work, told: Told) -> Trained | None:
    """Train all stages of the recipe; whatever an interrupted run finished is used as it is.

    None in a process that torchrun started beside the first one: it has nothing to write.
    """
    assert work.recipe.train and work.recipe.model  # the stage runs only then
    training = work.recipe.train
    with assembled(training.processes, _assist, (work,), training.device) as team:
        trained = _session(work, team, told if team.leads else UNTOLD).all_stages()
        return trained if team.leads else None


def _assist(team: Team, work: Work) -> None:
    """The part of a further process: the same, without a word."""
    _session(work, team, UNTOLD).all_stages()


def _session(work: Work, team: Team, told: Told) -> "_Session":
    assert work.recipe.train
    torch.set_num_threads(work.recipe.train.threads)
    found = team.in_turn(work.open)
    start = team.in_turn(lambda: opened(work.recipe, found.source, work.run, work.folder))
    materials = Materials(work.recipe, work.recipe.train, start, work.run, work.folder, team, told.track)
    return _Session(work, found, work.recipe.train, start, materials, start.model(), team, told)


@dataclass(slots=True)
class _Session:
    work: Work
    found: Opened
    training: Training
    start: Start
    materials: Materials
    model: Any
    team: Team
    told: Told
    learned: set[str] = field(default_factory=set)  # names of what the stages before have changed

    @property
    def precision(self) -> str:
        return precision(self.training.precision, self.team.device)

    @property
    def in_half(self) -> bool:
        """Whether what does not train is kept in 16 bits: on a processor bf16 is computed with, but not kept."""
        return self.precision == "bf16" and self.team.device.type == "cuda"

    def all_stages(self) -> Trained:
        """Every stage in order; then what came out."""
        ledger = self.work.folder / "energy.jsonl"
        with EnergyMeter(self.training.country, ledger) if self.team.leads else nullcontext() as energy:
            counted = [self.stage(number, stage, energy) for number, stage in enumerate(self.training.stages)]
        if self.in_half:
            self.model.to(torch.bfloat16)  # as checkpoints are published; what trained was float32
        records = [line for number in range(len(counted)) for line in read_records(self.stage_folder(number))]
        return Trained(self.published(self.training.stages[-1]), records, self._counts(counted, energy))

    def _counts(self, counted: list[dict[str, float]], energy: EnergyMeter | None) -> dict[str, Any]:
        names = [stage.name for stage in self.training.stages]
        found = counts(self.model, self.start.family, names, counted, energy.counted if energy else Counted())
        return found | {
            "precision": self.precision,
            "device": self.team.device.type,
            "processes": self.team.size,
        }

    def published(self, stage: TrainStage) -> Published:
        """The model as it stands, with how a stage spoke to it and showed it pictures."""
        start, materials, (prompt, variant) = self.start, self.materials, self.training.spoken(stage)
        said, settings = Spoken(prompt, variant, self.work.recipe.language), materials.settings(stage)
        return Published(self.model, start.tokenizer, start.family_name, settings, said, materials.pen)

    def stage_folder(self, number: int) -> Path:
        return self.work.folder / f"{number + 1}-{self.training.stages[number].name}"

    def stage(self, number: int, stage: TrainStage, energy: EnergyMeter | None) -> dict[str, float]:
        """Run one stage, or take over what it left when it is finished; returns its counters."""
        folder = self.stage_folder(number)
        meter = Meter(energy.read, energy.recent) if energy else Meter(lambda: (0.0, 0.0))
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.work.recipe.seed + number)
        if self.in_half:
            keep_in_half(self.model, self.start.family, self.training.stages[number:])
        ready = prepare(self.model, self.start.family, stage, self.start.new_rows, self.training.sharding)
        if self.found.adapter and number == 0:
            ready.load_adapter(self.found.adapter)
        finished = self.team.in_turn(lambda: self._finished(folder))
        if finished:
            self.told.say(f"  [green]✓[/] {stage.name}: finished before")
            self._take_over(finished)
            counters = dict(finished.counters)
        else:
            counters = self._train(number, stage, ready, meter)
        self._take_best(number, folder)
        if ready.adapter:
            self._save_adapter(number, ready)
        self.learned |= {name for names in ready.roles.values() for name in names}
        ready.finish()
        return counters

    def _save_adapter(self, number: int, ready: Prepared) -> None:
        """The last stage's adapter apart, as PEFT loads it on the checkpoint that the run started from."""
        base, stages = self.found.source, self.training.stages
        if number < len(stages) - 1 or not isinstance(base, Path) or not self.team.leads:
            return
        if any(stage.adapter for stage in stages[:-1]):
            self.told.say("  adapters of several stages are in one another: only the merged model is written")
            return
        ready.save_adapter(self.work.folder / "adapter", str(base), also=self.learned)

    def _finished(self, folder: Path) -> checkpoints.Checkpoint | None:
        """The last checkpoint of a stage that was trained to its end."""
        planned = read_json(folder / PLAN) if (folder / PLAN).exists() else {"steps": None}
        done = checkpoints.steps_done(folder)
        return checkpoints.newest(folder, self.found.identity) if done and done == planned["steps"] else None

    def _take_over(self, checkpoint: checkpoints.Checkpoint) -> None:
        """What a checkpoint learned; a patch head is not taken over, it was thrown away."""
        holder = torch.nn.ModuleDict({"model": self.model})
        learned = {name: tensor for name, tensor in checkpoint.weights.items() if name.startswith("model.")}
        state.take_over(holder, learned)

    def _take_best(self, number: int, folder: Path) -> None:
        """What comes out of the last stage is the checkpoint that its judge liked best."""
        best = checkpoints.best(folder) if number == len(self.training.stages) - 1 else None
        if best and best[0] != checkpoints.steps_done(folder):
            self.told.say(f"  the best checkpoint is that of step {best[0]:,} ({best[1]:.3f})")
            self._take_over(checkpoints.read(checkpoints.path_of(folder, best[0]), self.found.identity))

    def _train(self, number: int, stage: TrainStage, ready: Prepared, meter: Meter) -> dict[str, float]:
        """The stage's steps, from where they were interrupted."""
        self.model.to(self.team.device)
        material, folder = self.materials.of(number, self.model, self.precision), self.stage_folder(number)
        warmup = stage.warmup(material.steps)
        if self.team.leads:
            write_json(folder / PLAN, {"steps": material.steps, "warmup": warmup, "told": material.told})
        learner = self._learner(stage, material)
        roles = {role: [f"model.{name}" for name in names] for role, names in ready.roles.items()}
        if learner.head_names:
            roles["vision"] += learner.head_names  # a patch head learns with the tower it judges
        trained = groups(learner, roles, stage)
        freeze_all_but(learner, trained)
        self.told.say(f"  {stage.mixture}: {material.told}")
        self.told.say(groups_table(stage, material, learner, trained))
        judge = self._judge(number, stage)
        if judge and self.training.best and self.team.leads and not checkpoints.steps_done(folder):
            judge(0)  # a question too long for the model is told before hours are spent
        job = loop.Job(
            stage=stage,
            learner=learner,
            groups=trained,
            batches=material.batches,
            folder=folder,
            identity=self.found.identity,
            workers=self.training.workers,
            precision=self.precision,
            checkpoint_seconds=self.training.checkpoint_seconds,
            meter=meter,
            total=material.steps,
            warmup=warmup,
            team=self.team,
            sharding=self.training.sharding,
            keep=self.training.keep,
            checkpoint_steps=self.training.checkpoint_steps,
            judge=judge if self.training.best else None,
            judge_every=self.training.best.every if self.training.best else 0,
        )
        self._follow(job)
        if isinstance(learner, AnswerLearner):
            learner.release()
        if judge and not self.training.best and self.team.leads:
            judge(material.steps)
        return job.counters

    def _follow(self, job: loop.Job) -> None:
        """Take the steps and tell of each; the death of a worker is raised wherever this process happens to be."""
        try:
            for line in self.told.track(loop.steps(job), f"train {job.stage.name}", job.total):
                self.told.record(line)
        except RuntimeError as error:
            if told := lost_worker(error):
                raise told from error
            raise

    def _judge(self, number: int, stage: TrainStage) -> Callable[[int], float] | None:
        """What looks at the model on the way: at the last stage to choose among its checkpoints, else at every
        stage's end, for a person to see."""
        told, chooses = self.told.judge, self.training.best is not None
        if told is None or stage.objective != "answers" or (chooses and number < len(self.training.stages) - 1):
            return None
        return lambda step: told(self.published(stage), stage.name, step)

    def _learner(self, stage: TrainStage, material: Material) -> AnswerLearner | PatchLearner:
        family, settings, kernels = self.start.family, self.materials.settings(stage), self.training.kernels
        if stage.objective == "patches":
            return PatchLearner(self.model, family, settings, material.classes)
        if kernels == "liger":
            apply_liger(self.model)
        cached = material.cached
        return AnswerLearner(self.model, family, settings, self.team.size > 1, cached, kernels)
