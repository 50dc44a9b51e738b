"""A model is asked while it trains: to keep the checkpoint that answers best, and to show a person what it says.

Training is not moved by it: weights, modes and all random states are afterwards what they were before.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from olhar.core import marks, pictures
from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import Recipe
from olhar.core.samples import SampleFile
from olhar.core.store import digest, writing
from olhar.core.types import Prediction, Sample, Score

if TYPE_CHECKING:
    from olhar.families import Checkpoint

ANSWERS = "answers.jsonl"  # in the folder of the stage train; with its pictures in ``answers/``
SHOWN = 6  # answers a judging keeps
SAMPLES = 4  # questions asked where nothing is judged
AT_ONCE = 32  # conversations
SIDE, FRAMES = 192, 4  # pixels of a thumbnail, and pictures of a video
MACRO = "macro"

Say = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """One question with what was said to it. Paths are relative to the run where they lie in it.

    pictures: what it is about. thumbnails: the same, small and with their marks, relative to the stage's folder.
    """

    id: str
    question: str
    expected: str
    answer: str
    correct: bool
    pictures: tuple[str, ...]
    thumbnails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judging found: the mean score of all questions, and some of the answers."""

    score: float
    questions: int
    answers: tuple[Answer, ...]


Judge = Callable[["Checkpoint", str, int], Judged]  # the model as it stands, its stage, the stage's step


def judge_of(recipe: Recipe, run_folder: Path, say: Say) -> Judge | None:
    """What judges by ``train.best``: its benchmark on the first questions of its data; None without one.

    Raises ``UserError`` where the data set is trained on or reported, or holds no question.
    """
    best = recipe.train.best if recipe.train else None
    if recipe.train is None or best is None:
        return None
    mixed = {taking.data for mixture in recipe.mix for taking in mixture.take}
    reported = {name for evaluation in recipe.evaluate for name in evaluation.data}
    for others, what in ((mixed, "trained on"), (reported, "reported by an evaluation")):
        if best.data in others:
            fix = "choose by a data set of its own: reported numbers would be chosen by themselves"
            raise UserError(f"{best.data!r} is {what}, so no checkpoint may be chosen by it", "train.best.data", fix)
    samples = _first(run_folder, best.data, best.questions)
    return _Judge(best.benchmark, samples, run_folder, say, scored=True)


def samples_at(recipe: Recipe, run_folder: Path, say: Say) -> Judge | None:
    """What takes sample answers at the end of a stage where nothing judges: a few questions of the first evaluation.

    None where ``train.best`` judges, and where nothing is evaluated.
    """
    if recipe.train is None or recipe.train.best or not recipe.evaluate:
        return None
    evaluation = recipe.evaluate[0]
    samples = _spread(_first(run_folder, evaluation.data[0], None), SAMPLES)
    return _Judge(evaluation.benchmark, samples, run_folder, say, scored=False)


def _first(run_folder: Path, data: str, count: int | None) -> list[Sample]:
    file = SampleFile(run_folder / "check" / f"{data}.jsonl", run_folder)
    if not len(file):
        raise UserError("there is no question to ask", str(file.path), "name a data set that holds some")
    return [file[number] for number in range(len(file) if count is None else min(count, len(file)))]


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most so many of them, evenly from first to last."""
    return [items[number * len(items) // count] for number in range(count)] if len(items) > count else list(items)


class _Judge:
    """Asks the same questions each time, and keeps some of the answers for a person to read."""

    def __init__(self, benchmark: str, samples: Sequence[Sample], run: Path, say: Say, scored: bool) -> None:
        self._benchmark, self._samples = choose("benchmarks", benchmark), samples
        self._run, self._say, self._scored = run.resolve(), say, scored

    def __call__(self, checkpoint: "Checkpoint", stage: str, step: int) -> Judged:
        with undisturbed(checkpoint.model):  # around all of it: an import may draw numbers too
            return self._judged(checkpoint, stage, step)

    def _judged(self, checkpoint: "Checkpoint", stage: str, step: int) -> Judged:
        predictions = [self._prediction(*pair) for pair in zip(self._samples, self._texts(checkpoint), strict=True)]
        score = mean_score(self._benchmark.score(predictions))
        pairs = _spread(list(zip(self._samples, predictions, strict=True)), SHOWN)
        answers = tuple(self._answer(sample, prediction, checkpoint) for sample, prediction in pairs)
        judged = Judged(score, len(predictions), answers)
        self._keep(judged, stage, step)
        if self._scored:
            best = max(row["score"] for row in self._kept() if row["stage"] == stage and row["score"] is not None)
            told = f"mean score {score:.1%} on {len(predictions)} questions, {best:.1%} at best so far"
            self._say(f"  {stage}, step {step:,}: {told}")
        return judged

    def _texts(self, checkpoint: "Checkpoint") -> list[str]:
        import torch

        from olhar.inference.assistant import Assistant

        device = checkpoint.model.device
        exactness = {weight.dtype for weight in checkpoint.model.parameters() if weight.is_floating_point()}
        turns = [self._benchmark.prompt(sample).turns for sample in self._samples]
        parts = [turns[start : start + AT_ONCE] for start in range(0, len(turns), AT_ONCE)]
        room = self._benchmark.SPEC.max_new_tokens
        with torch.autocast(device.type, torch.bfloat16, enabled=len(exactness) > 1):  # a frozen part may be in bf16
            assistant = Assistant(checkpoint)
            return [text for part in parts for text in assistant.answers(part, room)]

    def _prediction(self, sample: Sample, text: str) -> Prediction:
        name = self._benchmark
        said: dict[str, Any] = {"skill": name.skill_of(sample), "split": name.split_of(sample), "control": "image"}
        return Prediction(sample.id, text, expected=name.expected(sample), language=sample.language, **said)

    def _answer(self, sample: Sample, prediction: Prediction, checkpoint: "Checkpoint") -> Answer:
        return Answer(
            id=sample.id,
            question=self._benchmark.prompt(sample).turns[-1].text,
            expected=prediction.expected[0],
            answer=prediction.text,
            correct=self._benchmark.right(prediction),
            pictures=tuple(ref.path.removeprefix(f"{self._run}/") for ref in sample.media),
            thumbnails=tuple(self._thumbnails(sample, checkpoint)),
        )

    def _thumbnails(self, sample: Sample, checkpoint: "Checkpoint") -> Iterator[str]:
        """Small pictures of the sample, drawn once, as the model sees their marks."""
        folder = self._run / "train"
        for place, ref in enumerate(sample.media):
            found = [f"answers/{digest([sample.id, place])}-{number}.jpg" for number in range(FRAMES)]
            if not (folder / found[0]).exists():
                images = pictures.read(marks.penned(ref, checkpoint.pen), checkpoint.settings.side)
                for name, image in zip(found, _spread(images, FRAMES), strict=False):
                    image.thumbnail((SIDE, SIDE))
                    with writing(folder / name, "wb") as handle:
                        image.save(handle, "JPEG", quality=85)
            yield from (name for name in found if (folder / name).exists())

    def _keep(self, judged: Judged, stage: str, step: int) -> None:
        """Add the answers to those of earlier steps; a step that is run again after a kill replaces its own."""
        earlier = [row for row in self._kept() if (row["stage"], row["step"]) != (stage, step)]
        about = {"stage": stage, "step": step, "score": judged.score if self._scored else None}
        about["questions"] = judged.questions
        rows = [*earlier, *(about | asdict(answer) for answer in judged.answers)]
        with writing(self._run / "train" / ANSWERS) as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def _kept(self) -> list[Mapping[str, Any]]:
        return read_answers(self._run / "train" / ANSWERS)


def read_answers(path: Path) -> list[Mapping[str, Any]]:
    """The answers kept so far, in order; each a ``stage``, a ``step``, its ``score`` and the fields of ``Answer``."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mean_score(scores: Sequence[Score]) -> float:
    """One number: the benchmark's own macro where it has one, else the mean over its scores, questions alike."""
    macros = [score.value for score in scores if score.skill == MACRO]
    if macros:
        return fmean(macros)
    return fmean([score.value for score in scores], [score.n for score in scores])


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """The model in evaluation mode; afterwards every module's mode and all random states are as before."""
    import numpy as np
    import torch

    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            random.setstate(states[0])
            np.random.set_state(states[1])
