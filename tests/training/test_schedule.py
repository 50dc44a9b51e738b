"""The rate of every step, against the rates that two published runs logged."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from olhar.core.recipe import TrainStage
from olhar.training.schedule import set_rates, share_of_peak

LOGS = Path(__file__).parents[1] / "golden" / "vitucano_logs" / "schedule.json"


@pytest.mark.parametrize(("run", "warmup"), [("pretraining", 131), ("sft", 485)])
def test_rates_are_those_of_the_published_logs(stage: Callable[..., TrainStage], run: str, warmup: int) -> None:
    log = json.loads(LOGS.read_text(encoding="utf-8"))[run]
    asked = stage(steps=log["steps"], warmup_share=0.03, warmup_steps=None, final_share=0.0)
    assert asked.warmup(log["steps"]) == log["warmup"] == warmup
    for step, rate, _ in log["samples"]:
        ours = log["peak_lr"] * share_of_peak(step, log["steps"], warmup, 0.0)
        assert ours == pytest.approx(rate, rel=0, abs=1e-15), step
        assert abs(ours - rate) <= 1e-12 * log["peak_lr"]
    assert len(log["samples"]) == 11


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_the_schedule_warms_up_and_falls_as_a_cosine(warmup: int) -> None:
    shares = [share_of_peak(step, 20, warmup, 0.1) for step in range(1, 21)]
    assert shares[:warmup] == pytest.approx([step / warmup for step in range(1, warmup + 1)])
    assert max(shares) <= 1.0 and shares[-1] == pytest.approx(0.1)
    assert shares[max(0, warmup - 1) :] == sorted(shares[max(0, warmup - 1) :], reverse=True)
    assert all(share > 0 for share in shares)
    done = (20 - warmup) // 2
    half = share_of_peak(warmup + done, 20, warmup, 0.1)
    assert half == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done / (20 - warmup))))


def test_a_stage_of_one_step_has_a_rate() -> None:
    assert share_of_peak(1, 1, 1, 0.03) == 1.0
    assert share_of_peak(1, 1, 0, 0.03) == pytest.approx(0.03)


def test_rates_are_shares_of_each_groups_peak() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    options = [{"params": [p], "lr": rate, "peak": rate} for p, rate in zip(parameters, (1e-2, 3e-3), strict=True)]
    made = {"adamw": torch.optim.AdamW(options)}
    set_rates(made, 0.5)
    set_rates(made, 0.25)  # of the peak, not of what it was
    assert [group["lr"] for group in made["adamw"].param_groups] == [1e-2 * 0.25, 3e-3 * 0.25]
