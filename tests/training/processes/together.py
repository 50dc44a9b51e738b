"""Trains a case that a test wrote down, with a team of processes: ``python together.py CASE PROCESSES``.

A case is a pickled mapping: model, family, settings, total, dies (the step at which process 1 does, or None);
``stages[kind]``, ``batches[kind][size][rank][step]``; and ``runs``: each (name, kind, sharding, folder, step after
which to stop or None, seconds between checkpoints). CASE.<rank> gets what every run told.
"""

import copy
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from olhar.core.choices import choose
from olhar.training import loop
from olhar.training.model.objectives import AnswerLearner
from olhar.training.model.optimizers import freeze_all_but, groups
from olhar.training.processes.team import Team, assembled
from olhar.training.records import Meter

JUDGED = "at once"  # the kind that process 0 judges on the way


def job_of(case: dict[str, Any], team: Team, kind: str, sharding: str, folder: Path, seconds: int) -> loop.Job:
    torch.set_num_threads(1)
    model = copy.deepcopy(case["model"])
    if not team.leads:  # the others must learn from process 0 what the weights are
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter))
    torch.manual_seed(3)
    family, stage = choose("families", case["family"]), case["stages"][kind]
    learner = AnswerLearner(model, family, case["settings"], always_look=team.size > 1)
    roles = {role: [f"model.{name}" for name in names] for role, names in family.roles(model).items()}
    trained = groups(learner, roles, stage)
    freeze_all_but(learner, trained)
    folder.mkdir(parents=True, exist_ok=True)
    batches = case["batches"][kind][team.size][team.rank]
    meter, total = Meter(lambda: (0.0, 0.0)), case["total"]
    job = loop.Job(
        stage, learner, trained, batches, folder, "me", 0, "fp32", seconds, meter, total, 2, team, sharding=sharding
    )
    if kind == JUDGED and team.leads:
        job.judge, job.judge_every = (lambda _: size_of(learner.state_dict())), 2
    return job


def size_of(weights: dict[str, torch.Tensor]) -> float:
    return float(sum(value.double().abs().sum() for value in weights.values()))


def run(case: dict[str, Any], team: Team) -> dict[str, Any]:
    """By its name, (losses, gradient norms, weights) of every run of the case."""
    told = {}
    for name, kind, sharding, folder, until, seconds in case["runs"]:
        job = job_of(case, team, kind, sharding, Path(folder), seconds)
        lines = []
        for line in loop.steps(job):
            lines.append(line)
            if line["step"] == until:
                break
            if line["step"] == case["dies"] and not team.leads:
                os.kill(os.getpid(), signal.SIGKILL)
        losses, norms = ([line[key] for line in lines] for key in ("loss", "grad_norm"))
        told[name] = (losses, norms, {name: t.clone() for name, t in job.learner.state_dict().items()})
    return told


def work(team: Team, path: str) -> None:
    told = run(pickle.loads(Path(path).read_bytes()), team)
    Path(f"{path}.{team.rank}").write_bytes(pickle.dumps(told))


if __name__ == "__main__":
    with assembled(int(sys.argv[2]), work, (sys.argv[1],), "cpu") as leading:
        work(leading, sys.argv[1])
