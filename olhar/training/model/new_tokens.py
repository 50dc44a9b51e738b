"""Rows of the vocabulary that were added to a pretrained language model: they learn, every other row stays as it is.

A frozen language model has never seen an added token, and the mean of all rows says nothing. Only the gradient of
the new rows is let through; AdamW without weight decay then moves no other row by a single bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from olhar.core.errors import UserError

ROLE = "tokens"  # of the tables that hold the rows


def tables(model: Any) -> list[str]:
    """Names of the parameters that hold a row for every token: the input's, and the output's where it has its own."""
    wanted = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    return [name for name, parameter in model.named_parameters() if id(parameter) in wanted]


def only_rows(model: Any, rows: Sequence[int]) -> Callable[[], None]:
    """Let gradients reach only these rows of the vocabulary's tables; returns what takes that back.

    Raises:
        UserError: there are no rows that a stage could teach.
        ValueError: a row beyond the tables.
    """
    if not rows:
        raise UserError(
            "no token was added to the language model's vocabulary, so there is no row to learn",
            "train.stages: new_tokens",
            "leave new_tokens out",
        )
    parameters = dict(model.named_parameters())
    removals = [_guarded(parameters[name], rows) for name in tables(model)]

    def undo() -> None:
        for removal in removals:
            removal()

    return undo


def _guarded(table: torch.nn.Parameter, rows: Sequence[int]) -> Callable[[], None]:
    if not 0 <= min(rows) <= max(rows) < len(table):
        raise ValueError(f"rows {min(rows)} to {max(rows)} of a table of {len(table)}")
    learns = torch.zeros(len(table), 1, dtype=torch.bool)
    learns[list(rows)] = True

    def masked(gradient: torch.Tensor) -> torch.Tensor:  # (vocabulary, hidden)
        return gradient.masked_fill(~learns.to(gradient.device), 0)  # also where a gradient is not a number

    before = table.requires_grad
    handle = table.requires_grad_().register_hook(masked)

    def remove() -> None:
        handle.remove()
        table.requires_grad_(before)

    return remove
