"""What a stage trains, family by family: the roles' parameters, the last layers, recomputed blocks."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.training.model.optimizers import describe, freeze_all_but, groups
from olhar.training.model.prepare import prepare
from tests.training.small_models import FAMILIES, LAYERS, composed, difference, logits

MAKE = Callable[..., TrainStage]
every_family = pytest.mark.parametrize("name", FAMILIES)
UNREAD_BLOCKS = {"vipllava": 1}  # it reads the last but one state at most; a new tower of LLaVA's is read to the end


def blocks_of(names: list[str], layers: str) -> set[int]:
    return {int(name.removeprefix(layers).split(".")[0]) for name in names if name.startswith(layers)}


@every_family
def test_a_stage_trains_all_of_its_roles_but_what_nothing_reads(name: str, stage: MAKE) -> None:
    model, family, _ = composed(name)
    owned = family.roles(model)
    prepared = prepare(model, family, stage(trains={"vision": 1e-4, "language": 1e-3}))
    assert prepared.roles.keys() == {"vision", "language"} and prepared.roles["language"] == owned["language"]
    assert prepared.left_out == set(owned["vision"]) - set(prepared.roles["vision"])
    layers = "model.vision_tower.encoder.layer." if name == "internvl" else "model.vision_tower.encoder.layers."
    read = LAYERS["vision"] - UNREAD_BLOCKS.get(name, 0)
    assert blocks_of(prepared.roles["vision"], layers) == set(range(read))


@every_family
def test_everything_that_is_to_learn_gets_a_gradient_and_nothing_else(name: str, stage: MAKE) -> None:
    """A parameter without one would learn nothing, and processes that wait for its gradient would wait for ever."""
    model, family, settings = composed(name)
    asked = stage(trains={"vision": 1e-4, "connector": 1e-3, "language": 1e-3})
    prepared = prepare(model, family, asked)
    freeze_all_but(model, groups(model, prepared.roles, asked))
    logits(model, family, settings).pow(2).mean().backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    wanted = {name for names in prepared.roles.values() for name in names}
    assert moved | {"model.image_newline"} == wanted | {"model.image_newline"}  # a single square has no lines


@every_family
@pytest.mark.parametrize("count", [1, 2])
def test_only_the_last_layers_learn(name: str, count: int, stage: MAKE) -> None:
    model, family, _ = composed(name)
    asked = stage(trains={"vision": 1e-4, "language": 1e-3}, last_layers={"vision": count, "language": count})
    prepared = prepare(model, family, asked)
    tower = f"model.vision_tower.encoder.{'layer' if name == 'internvl' else 'layers'}."
    for role, layers in (("vision", tower), ("language", "model.language_model.layers.")):
        last = LAYERS[role] - (UNREAD_BLOCKS.get(name, 0) if role == "vision" else 0)
        assert blocks_of(prepared.roles[role], layers) == set(range(last - count, last))
        assert all(parameter.startswith(layers) for parameter in prepared.roles[role])
        wanted = {n for n in family.roles(model)[role] if blocks_of([n], layers) & set(range(last - count, last))}
        assert set(prepared.roles[role]) == wanted


@every_family
def test_more_layers_than_there_are_and_layers_of_what_has_none_are_refused(name: str, stage: MAKE) -> None:
    model, family, _ = composed(name)
    with pytest.raises(UserError, match="3 layers to train, not 4"):
        prepare(model, family, stage(trains={"language": 1e-3}, last_layers={"language": 4}))
    with pytest.raises(UserError, match="0 layers"):
        prepare(model, family, stage(trains={"connector": 1e-3}, last_layers={"connector": 1}))
    with pytest.raises(UserError, match="no fusion parameters"):
        prepare(model, family, stage(trains={"fusion": 1e-3}))


@every_family
@pytest.mark.parametrize(
    "trains", [{"connector": 1e-3}, {"vision": 1e-4, "connector": 1e-3, "language": 1e-3}], ids=str
)
def test_recomputed_blocks_give_the_same_gradients(name: str, trains: dict[str, float], stage: MAKE) -> None:
    """Also where the language model is frozen: the connector's gradient passes through it."""
    gradients, calls = [], []
    for again in (False, True):
        model, family, settings = composed(name)
        asked = stage(trains=trains, gradient_checkpointing=again)
        prepared = prepare(model, family, asked)
        freeze_all_but(model, groups(model, prepared.roles, asked))
        layer, count = model.model.language_model.layers[0].mlp, [0]
        layer.register_forward_pre_hook(lambda *_, count=count: count.__setitem__(0, count[0] + 1))
        logits(model, family, settings).pow(2).mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        calls.append(count[0])
        prepared.finish()
        assert not any("forward" in vars(module) for module in model.modules())
    one, other = gradients
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert calls == [1, 2], "the second run computes a block once more on the way back"


def test_nothing_changes_until_a_step_is_taken(stage: MAKE) -> None:
    model, family, settings = composed("llava")
    with torch.no_grad():
        before = logits(model, family, settings)
        asked = stage(
            trains={"vision": 1e-4, "language": 1e-3},
            adapter={"roles": ["vision", "language"]},
            gradient_checkpointing=True,
        )
        prepared = prepare(model, family, asked)
        assert torch.equal(logits(model, family, settings), before)
        prepared.finish()
        assert difference(logits(model, family, settings), before) == 0.0


def test_what_learns_is_held_in_float32_and_the_rest_stays(stage: MAKE) -> None:
    model, family, _ = composed("internvl")
    model.to(torch.bfloat16)
    prepared = prepare(model, family, stage(trains={"connector": 1e-3}))
    learns = set(prepared.roles["connector"])
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if name in learns else torch.bfloat16)


def test_the_table_tells_adapters_from_weights(stage: MAKE) -> None:
    model, family, _ = composed("llava")
    asked = stage(trains={"language": 2e-4, "connector": 2e-5}, adapter={"rank": 4}, weight_decay=0.1, optimizer="muon")
    found = groups(model, prepare(model, family, asked).roles, asked)
    rows = {row["role"]: row for row in describe(model, found)}
    assert rows.keys() == {"language (adapter)", "connector"}
    assert rows["language (adapter)"]["learning rate"] == 2e-4 and rows["language (adapter)"]["weight decay"] == 0.1
    assert rows["language (adapter)"]["tensors"] == 2 * 7 * LAYERS["language"]
    assert {group.optimizer for group in found if group.role == "language"} == {"adamw"}


def test_quantised_weights_are_where_the_recipe_says(stage: MAKE) -> None:
    model, family, _ = composed("llava")
    with pytest.raises(UserError, match=r"bits is 4, and the model was loaded in full"):
        prepare(model, family, stage(adapter={"bits": 4}))
    model.hf_quantizer = SimpleNamespace(quantization_config=SimpleNamespace(load_in_8bit=True))
    with pytest.raises(UserError, match=r"bits is 4, and the model was loaded in 8 bits"):
        prepare(model, family, stage(adapter={"bits": 4}))
    with pytest.raises(UserError, match="8 bits cannot be trained"):
        prepare(model, family, stage())
    with pytest.raises(UserError, match="shared among processes"):
        prepare(model, family, stage(adapter={"bits": 8}), sharding="shard")
    assert prepare(model, family, stage(trains={"connector": 1e-3})).roles.keys() == {"connector"}


def test_an_adapter_to_go_on_with_needs_one_that_learns(stage: MAKE, tmp_path: Any) -> None:
    model, family, _ = composed("llava")
    with pytest.raises(UserError, match="this stage trains none"):
        prepare(model, family, stage()).load_adapter(tmp_path)
