"""The trained model answers held-out questions, with its pictures and without; every number has an interval and a peer.

Written: ``scores.json`` (a list of ``Score``), ``predictions.jsonl``, ``report.html``, ``skills.png``.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from io import BytesIO
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from olhar.core import pictures
from olhar.core.choices import choose
from olhar.core.recipe import Evaluation, Recipe
from olhar.core.samples import SampleFile
from olhar.core.store import write_json, writing
from olhar.core.types import Control, Prediction, Sample, Score
from olhar.languages import language
from olhar.reports.scores import Example, ScoresPage, energy_of, scores_page, table
from olhar.stages import Context

if TYPE_CHECKING:
    from olhar.inference.assistant import Assistant

NEEDS = ("check", "train")
SHOWN_WRONG, SHOWN_RIGHT = 6, 2  # examples a skill in the report


def config(recipe: Recipe) -> dict[str, Any] | None:
    if not recipe.evaluate or recipe.train is None:
        return None
    return {"evaluate": [evaluation.model_dump(mode="json") for evaluation in recipe.evaluate]}


def outside(recipe: Recipe) -> dict[str, str]:
    return {}


def run(context: Context) -> dict[str, Any]:
    import torch

    from olhar.inference.assistant import Assistant

    torch.set_num_threads(context.recipe.train.threads if context.recipe.train else 1)
    assistant = Assistant.load(context.run.path / "train" / "model")
    scores: list[Score] = []
    examples: list[Example] = []
    asked = answers = 0
    with writing(context.folder / "predictions.jsonl") as lines:
        for evaluation in context.recipe.evaluate:
            benchmark = choose("benchmarks", evaluation.benchmark)
            questions = list(_questions(evaluation, context))
            answered = _answered(evaluation, questions, assistant, context)
            lines.writelines(json.dumps(asdict(prediction), ensure_ascii=False) + "\n" for prediction in answered)
            scores += benchmark.score(answered) + benchmark.majority(questions)
            examples += _examples(benchmark, questions, answered, assistant.checkpoint.settings.side)
            asked, answers = asked + len(questions), answers + len(answered)
    write_json(context.folder / "scores.json", [asdict(score) for score in scores])
    _report(context, scores, examples, asked)
    return {"questions": asked, "answers": answers}


def _questions(evaluation: Evaluation, context: Context) -> Iterator[Sample]:
    for data in evaluation.data:
        yield from SampleFile(context.run.path / "check" / f"{data}.jsonl", context.run.path)


def _answered(
    evaluation: Evaluation, questions: Sequence[Sample], assistant: "Assistant", context: Context
) -> list[Prediction]:
    """Every question under every control, by as many processes as training had."""
    from olhar.inference.asking import answers_of

    benchmark = choose("benchmarks", evaluation.benchmark)
    processes = context.recipe.train.processes if context.recipe.train else 1
    batches = _batches(benchmark, questions, evaluation.batch, processes)
    predictions = []
    for control in evaluation.controls:
        asked = [[benchmark.prompt(sample).turns for sample in batch] for batch in batches]
        answers = answers_of(assistant, asked, benchmark.SPEC.max_new_tokens, control == "blank", processes)
        tracked = context.track(answers, f"answer ({control})", len(batches))
        for batch, texts in zip(batches, tracked, strict=True):
            predictions += [_prediction(benchmark, *pair, control) for pair in zip(batch, texts, strict=True)]
    return predictions


def _batches(benchmark: Any, questions: Sequence[Sample], size: int, processes: int) -> list[list[Sample]]:
    """Batches of similar questions, so that a batch ends together. Batch ``i`` goes to process ``i % processes``;
    questions about one picture go to one process, which looks at it once."""

    def alike(sample: Sample) -> tuple[str, str, int]:
        shown = sum(len(pictures.sizes(ref)) for ref in sample.media)
        return benchmark.split_of(sample), benchmark.skill_of(sample), shown

    dealt: list[list[Sample]] = [[] for _ in range(processes)]
    numbers = {media: number for number, media in enumerate(dict.fromkeys(sample.media for sample in questions))}
    for sample in sorted(questions, key=alike):
        dealt[numbers[sample.media] % processes].append(sample)
    cut = [[share[start : start + size] for start in range(0, len(share), size)] for share in dealt]
    return [batch for row in zip_longest(*cut, fillvalue=[]) for batch in row]


def _prediction(benchmark: Any, sample: Sample, text: str, control: Control) -> Prediction:
    return Prediction(
        sample_id=sample.id,
        text=text,
        expected=benchmark.expected(sample),
        skill=benchmark.skill_of(sample),
        language=sample.language,
        control=control,
        split=benchmark.split_of(sample),
    )


def _examples(
    benchmark: Any, questions: Sequence[Sample], answered: Sequence[Prediction], anchor: int
) -> list[Example]:
    """For the gallery: of every skill and split the first answers that were wrong, and a few that were right."""
    by_id = {(sample.id, benchmark.split_of(sample)): sample for sample in questions}
    room: dict[tuple[str, str], dict[bool, int]] = defaultdict(lambda: {False: SHOWN_WRONG, True: SHOWN_RIGHT})
    found = []
    for prediction in answered:
        correct = benchmark.right(prediction)
        left = room[prediction.skill, prediction.split]
        if prediction.control != "image" or not left[correct]:
            continue
        left[correct] -= 1
        found.append(_example(by_id[prediction.sample_id, prediction.split], prediction, correct, anchor))
    return found


def _example(sample: Sample, prediction: Prediction, correct: bool, anchor: int) -> Example:
    """``anchor``: the side of the model's input, by which marks are drawn."""
    return Example(
        sample_id=sample.id,
        skill=prediction.skill,
        split=prediction.split,
        question=sample.turns[-2].text,
        expected=prediction.expected[0],
        answer=prediction.text,
        correct=correct,
        pictures=tuple(_png(image) for ref in sample.media for image in pictures.read(ref, anchor)),
    )


def _png(image: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _report(context: Context, scores: list[Score], examples: list[Example], questions: int) -> None:
    """``report.html``: the first benchmark's first data set as its main split, everything else beside it."""
    recipe = context.recipe
    trained = context.run.stage("train").manifest()
    evaluation = recipe.evaluate[0]
    split = next(score.split for score in scores)
    shown = [score for score in scores if score.benchmark == evaluation.benchmark]
    of_split = [score for score in shown if score.split == split]
    choose("reports", "curves").skills_chart(of_split, context.folder / "skills.png")  # draws: slow to import
    page = ScoresPage(
        run=recipe.name,
        language=language(recipe.language).name,
        table=table(shown, split),
        examples=tuple(examples),
        loss_png=(context.run.path / "train" / "loss.png").read_bytes(),
        skills_png=(context.folder / "skills.png").read_bytes(),
        recipe=json.dumps(recipe.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, indent=1),
        energy=energy_of(trained.counts, recipe.train.country) if trained and recipe.train else None,
        counts={"questions": questions},
    )
    with writing(context.folder / "report.html") as handle:
        handle.write(scores_page(page))
