"""Weights and optimizer state by name: what is stored is what learns, and what is loaded fits or is refused."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch

from olhar.core.errors import StageError
from olhar.core.recipe import TrainStage
from olhar.training.model.optimizers import freeze_all_but, groups, optimizers
from olhar.training.processes.state import load_state_by_name, load_weights, state_by_name, take_over, trained_weights

RATES = {"language": 1e-2, "connector": 3e-3}
Make = Callable[..., TrainStage]


def prepared(bench: Any, asked: TrainStage, seed: int = 0) -> tuple[Any, dict[str, torch.optim.Optimizer]]:
    model = bench.model(seed=seed)
    trained = groups(model, bench.family.roles(model), asked)
    freeze_all_but(model, trained)
    return model, optimizers(model, trained)


def stepped(model: Any, made: Mapping[str, torch.optim.Optimizer], seeds: Iterable[int]) -> dict[str, torch.Tensor]:
    """Steps on gradients drawn from seeds; the weights after them."""
    for seed in seeds:
        draw = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draw) if parameter.requires_grad else None
        for optimizer in made.values():
            optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_state_moved_to_another_optimizer_goes_on_bit_for_bit(bench: Any, stage: Make, kind: str) -> None:
    asked = stage(trains=RATES, optimizer=kind)
    (model, made), (other, remade) = prepared(bench, asked), prepared(bench, asked, seed=9)
    stepped(model, made, range(3))
    state = {key: value.clone() for key, value in state_by_name(model, made).items()}
    other.load_state_dict(model.state_dict())
    load_state_by_name(other, remade, state)
    again = state_by_name(other, remade)
    assert state.keys() == again.keys() and all(torch.equal(state[key], again[key]) for key in state)
    one, two = stepped(model, made, range(3, 6)), stepped(other, remade, range(3, 6))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all("peak" in group for optimizer in remade.values() for group in optimizer.param_groups)


def test_a_state_loaded_is_not_the_one_it_was_loaded_from(bench: Any, stage: Make) -> None:
    model, made = prepared(bench, stage(trains=RATES))
    stepped(model, made, range(1))
    state = {key: value.clone() for key, value in state_by_name(model, made).items()}
    before = {key: value.clone() for key, value in state.items()}
    load_state_by_name(model, made, state)
    stepped(model, made, range(1, 2))
    assert all(torch.equal(state[key], before[key]) for key in state)


def test_a_state_of_a_frozen_parameter_is_refused(bench: Any, stage: Make) -> None:
    model, made = prepared(bench, stage(trains={"connector": 1e-3}))
    for name in ("model.language_model.norm.weight|step", "nowhere|step"):
        with pytest.raises(KeyError):
            load_state_by_name(model, made, {name: torch.zeros(())})


def test_only_what_learns_is_stored(bench: Any, stage: Make) -> None:
    model, _ = prepared(bench, stage(trains={"connector": 1e-3}))
    assert set(trained_weights(model)) == set(bench.family.roles(model)["connector"])


def test_tied_weights_are_stored_once_and_tied_again(bench: Any, stage: Make) -> None:
    (model, _), (other, _) = prepared(bench, stage(trains=RATES)), prepared(bench, stage(trains=RATES), seed=1)
    tied = [name for name in model.state_dict() if name.endswith(("lm_head.weight", "embed_tokens.weight"))]
    stored = trained_weights(model)
    assert len(tied) == 2 and sum(name in stored for name in tied) == 1
    load_weights(other, stored)
    assert all(torch.equal(other.state_dict()[name], model.state_dict()[name]) for name in (*stored, *tied))
    assert other.get_input_embeddings().weight is other.get_output_embeddings().weight


def test_buffers_beside_what_learns_are_stored() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2))
    module[1].requires_grad_(False)
    module(torch.randn(4, 2))
    stored = {name: value.clone() for name, value in trained_weights(module).items()}
    assert {"0.running_mean", "0.num_batches_tracked"} < set(stored) and not any(name[0] == "1" for name in stored)
    module(torch.randn(4, 2))
    load_weights(module, stored)
    assert torch.equal(module[0].running_mean, stored["0.running_mean"])


def offered(change: dict[str, torch.Tensor | None]) -> dict[str, torch.Tensor]:
    given = {"a": torch.ones(2, 3), "b": torch.ones(4)} | change
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize("change", [{"c": torch.zeros(1)}, {"a": None}, {"b": torch.ones(5)}])
def test_weights_that_do_not_fit_are_refused(change: dict[str, torch.Tensor | None]) -> None:
    module = torch.nn.ParameterDict({"a": torch.zeros(2, 3), "b": torch.zeros(4)})
    with pytest.raises(StageError, match=f"'{next(iter(change))}'"):
        load_weights(module, offered(change))
    assert not any(parameter.any() for parameter in module.values()), "nothing was loaded"
    load_weights(module, offered({}))
    assert all(parameter.all() for parameter in module.values())


def test_a_later_stage_takes_over_what_an_earlier_one_learned() -> None:
    module = torch.nn.ParameterDict({"a": torch.zeros(2, 3), "b": torch.zeros(4)}).requires_grad_(False)
    take_over(module, offered({"a": None}))
    assert not module["a"].any() and module["b"].all()
    with pytest.raises(StageError, match="'c'"):
        take_over(module, offered({"c": torch.zeros(1)}))
