"""The learning rate of a step: linear warm-up, then a cosine."""

import math
from collections.abc import Mapping

import torch


def share_of_peak(step: int, total: int, warmup: int, final_share: float) -> float:
    """The rate at a 1-based step of ``total`` as a share of its peak: up to 1 at step ``warmup``, then half a cosine
    (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts) that ends at ``final_share``."""
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * progress))


def set_rates(made: Mapping[str, torch.optim.Optimizer], share: float) -> None:
    """Every group moves at that share of its own ``peak``."""
    for optimizer in made.values():
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
