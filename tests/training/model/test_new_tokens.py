"""Rows that were added to a vocabulary learn; all others stay as they are, bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.training.model.optimizers import freeze_all_but, groups, optimizers
from olhar.training.model.prepare import prepare
from tests.training.small_models import composed, logits

MAKE = Callable[..., TrainStage]
NEW = [3, 41]
STEPS = 3


def model_of(tied: bool) -> tuple[Any, Any, Any]:
    model, family, settings = composed("internvl")
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.5)
    return model, family, settings


def trained(stage: TrainStage, tied: bool) -> tuple[Any, dict[str, torch.Tensor], Any]:
    model, family, settings = model_of(tied)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepared = prepare(model, family, stage, NEW)
    found = groups(model, prepared.roles, stage)
    freeze_all_but(model, found)
    made = optimizers(model, found, stage.betas)
    for step in range(STEPS):
        loss = logits(model, family, settings, seed=step)[..., :30].pow(2).mean()
        loss = loss + logits(model, family, settings)[..., NEW].mean()
        loss.backward()
        for optimizer in made.values():
            optimizer.step()
            optimizer.zero_grad()
    return model, before, prepared


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_only_the_new_rows_move(tied: bool, optimizer: str, stage: MAKE) -> None:
    asked = stage(trains={"connector": 1e-3}, new_tokens=1e-2, weight_decay=0.3, optimizer=optimizer)
    model, before, _ = trained(asked, tied)
    now = model.state_dict()
    rows = {name: (now[name] != before[name]).reshape(len(now[name]), -1).any(dim=1) for name in now}
    moved = {name: changed.nonzero().flatten().tolist() for name, changed in rows.items() if changed.any()}
    assert moved.pop("lm_head.weight") == NEW == moved.pop("model.language_model.embed_tokens.weight")
    assert moved.keys() and all(name.startswith("model.multi_modal_projector") for name in moved)


def test_they_have_a_group_of_their_own_without_decay(stage: MAKE) -> None:
    model, family, _ = model_of(tied=False)
    asked = stage(trains={"connector": 1e-3}, new_tokens=5e-4, weight_decay=0.3, optimizer="muon")
    found = [
        group for group in groups(model, prepare(model, family, asked, NEW).roles, asked) if group.role == "tokens"
    ]
    assert [(g.rate, g.weight_decay, g.optimizer) for g in found] == [(5e-4, 0.0, "adamw")]
    assert set(found[0].names) == {"model.language_model.embed_tokens.weight", "lm_head.weight"}


def test_afterwards_every_row_can_learn_again(stage: MAKE) -> None:
    model, family, settings = model_of(tied=True)
    prepare(model, family, stage(trains={"connector": 1e-3}, new_tokens=5e-4), NEW).finish()
    logits(model, family, settings).sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    assert int(gradient.any(dim=1).sum()) > len(NEW)


def test_a_gradient_that_is_no_number_does_not_reach_the_others(stage: MAKE) -> None:
    model, family, _ = model_of(tied=True)
    prepare(model, family, stage(trains={"connector": 1e-3}, new_tokens=5e-4), NEW)
    table = model.get_input_embeddings().weight
    (table * torch.full_like(table, torch.nan)).sum().backward()
    assert not table.grad[[0, 1, 2]].isnan().any() and table.grad[NEW].isnan().all()


def test_rows_that_are_shared_among_processes_are_refused(stage: MAKE) -> None:
    model, family, _ = model_of(tied=True)
    with pytest.raises(UserError, match="several processes"):
        prepare(model, family, stage(trains={"connector": 1e-3}, new_tokens=5e-4), NEW, sharding="shard")


def test_a_vocabulary_to_which_nothing_was_added_has_nothing_to_learn(stage: MAKE) -> None:
    model, family, _ = model_of(tied=True)
    with pytest.raises(UserError, match="no token was added"):
        prepare(model, family, stage(trains={"connector": 1e-3}, new_tokens=5e-4))
    with pytest.raises(ValueError, match="rows 4 to 900"):
        prepare(model, family, stage(trains={"connector": 1e-3}, new_tokens=5e-4), [4, 900])
