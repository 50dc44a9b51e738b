"""All that a training run is watched by: trackers, the questions it is asked on the way, the page about it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.core.recipe import Recipe
from olhar.core.store import read_json
from olhar.stages import Context
from olhar.stages._judge import judge_of, samples_at

if TYPE_CHECKING:
    from olhar.families import Checkpoint

LEDGER, PLAN = "energy.jsonl", "plan.json"  # how energy was counted; how many steps a stage has


class Watch:
    """Made before training begins, so that what cannot be judged or logged is said before the first step.

    Raises ``UserError`` where ``train.best`` names no data to choose by, or a tracker of ``train.logs`` is missing.
    """

    def __init__(self, context: Context) -> None:
        from olhar.training.logs import open_logs

        assert context.recipe.train
        self._recipe, self._folder, self._say = context.recipe, context.folder, context.say
        run = context.run.path
        self.asks = judge_of(context.recipe, run, self._say) or samples_at(context.recipe, run, self._say)
        self._logs = open_logs(context.recipe.train.logs, context.folder / "logs", context.recipe.name)

    def record(self, line: Mapping[str, Any]) -> None:
        """The record of one step, also of one that was done before."""
        self._logs.record(line)

    def judge(self, model: "Checkpoint", stage: str, step: int) -> float:
        """Ask the model as it stands, and write the page; the mean score, 0 where there is nothing to ask."""
        score = self.asks(model, stage, step).score if self.asks else 0.0
        try:
            write_page(self._recipe, self._folder, finished=False)
        except Exception as error:  # a page is not worth a training; the last one is written outside of it
            self._say(f"  the page of the run was not written: {error!r}")
        return score

    def close(self, counts: Mapping[str, Any] | None) -> None:
        """End the trackers; with the counts of the finished stage, write the page for good."""
        self._logs.close()
        if counts is not None:
            write_page(self._recipe, self._folder, finished=True, counters=counts["stages"])


def write_page(
    recipe: Recipe, folder: Path, finished: bool, counters: Mapping[str, Mapping[str, float]] | None = None
) -> Path:
    """``report.html`` and the curves from what lies in the stage's folder; returns the page's path.

    ``counters``: stage -> what its last checkpoint counted; the records are asked where it is not given.
    """
    from olhar.reports.run_page import Spent, write_run_page
    from olhar.training.energy import counted_in
    from olhar.training.records import read_records

    assert recipe.train
    folders = {stage.name: folder / f"{number}-{stage.name}" for number, stage in enumerate(recipe.train.stages, 1)}
    records = [line for stage in folders.values() for line in read_records(stage)]
    totals = {name: read_json(stage / PLAN)["steps"] for name, stage in folders.items() if (stage / PLAN).exists()}
    counted = counted_in(folder / LEDGER)
    spent = Spent(counted.method, counted.source, counted.co2, recipe.train.country)
    return write_run_page(folder, recipe, records, counters or {}, totals, spent, finished)
