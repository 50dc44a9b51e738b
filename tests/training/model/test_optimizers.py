"""What moves, at which rate, and that an optimizer's state survives under the names of its parameters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.training.model.optimizers import (
    describe,
    freeze_all_but,
    groups,
    optimizers,
)

MAKE = Callable[..., TrainStage]
RATES = {"language": 1e-2, "connector": 2e-3}


def stepped(model: Any, made: Any, seeds: range) -> dict[str, torch.Tensor]:
    """Steps with gradients drawn from seeds; the weights after them."""
    for seed in seeds:
        torch.manual_seed(seed)
        for optimizer in made.values():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_groups_are_a_partition_of_what_the_stage_trains(bench: Any, stage: MAKE, kind: str) -> None:
    model = bench.model()
    roles = bench.family.roles(model)
    found = groups(model, roles, stage(trains=RATES, optimizer=kind, weight_decay=0.1))
    names = [name for group in found for name in group.names]
    assert len(names) == len(set(names)) and set(names) == {*roles["language"], *roles["connector"]}
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for group in found:
        assert group.names and group.rate == RATES[group.role] and set(group.names) <= set(roles[group.role])
        for name in group.names:
            assert group.weight_decay == (0.1 if len(shapes[name]) > 1 else 0.0)
            assert group.optimizer == "adamw" or (len(shapes[name]) == 2 and "embed_tokens" not in name)
    assert {group.optimizer for group in found} == ({"adamw"} if kind == "adamw" else {"adamw", "muon"})
    rows = list(describe(model, found))
    assert sum(row["parameters"] for row in rows) == sum(shapes[name].numel() for name in names)
    assert sum(row["tensors"] for row in rows) == len(names)


def test_each_part_may_decay_by_itself(bench: Any, stage: MAKE) -> None:
    model = bench.model()
    found = groups(model, bench.family.roles(model), stage(trains=RATES, weight_decay={"language": 0.1}))
    decays = {(group.role, group.weight_decay) for group in found}
    assert decays == {("language", 0.1), ("language", 0.0), ("connector", 0.0)}
    with pytest.raises(ValidationError, match="vision has no learning rate"):
        stage(trains=RATES, weight_decay={"vision": 0.1})


def test_a_role_that_the_model_does_not_have_is_told(bench: Any, stage: MAKE) -> None:
    model = bench.model()
    with pytest.raises(UserError, match="fusion"):
        groups(model, bench.family.roles(model), stage(trains={"fusion": 1e-3}))


def test_frozen_roles_get_no_gradient_and_do_not_move(bench: Any, stage: MAKE) -> None:
    model = bench.model()
    trained = groups(model, bench.family.roles(model), stage(trains={"connector": 1e-2}))
    freeze_all_but(model, trained)
    moving = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moving == set(bench.family.roles(model)["connector"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.full((1, bench.settings.tokens_per_tile), bench.tokenizer.token_to_id("<IMG_CONTEXT>"))
    model(input_ids=image, pixel_values=torch.rand(1, 3, 64, 64)).logits.pow(2).mean().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == moving
    for optimizer in optimizers(model, trained).values():
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and changed <= moving


def test_frozen_parts_leave_training_mode_and_trained_ones_enter_it(bench: Any, stage: MAKE) -> None:
    """Dropout of a frozen tower would be noise; that of a trained part is wanted. Also after an earlier stage."""
    model = bench.model().train()
    roles = bench.family.roles(model)
    freeze_all_but(model, groups(model, roles, stage(trains={"connector": 1e-2})))
    assert not any(module.training for module in model.model.vision_tower.modules())
    assert not any(module.training for module in model.model.language_model.modules())
    assert model.model.multi_modal_projector.linear_1.training
    freeze_all_but(model, groups(model, roles, stage(trains={"vision": 1e-2})))
    assert model.model.vision_tower.encoder.layer[0].training
    assert all(parameter.requires_grad for parameter in model.model.vision_tower.parameters())
    assert not model.model.multi_modal_projector.linear_1.training
