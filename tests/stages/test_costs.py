"""The arithmetic of ``plan`` against what torch counts, saves and keeps."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from torch.utils.flop_counter import FlopCounterMode

from olhar.core.choices import choose
from olhar.core.recipe import Adapter, Hardware, LanguageModelShape, ModelParts, TowerShape, TrainStage
from olhar.families import _counting, normalised
from olhar.stages import _costs
from olhar.training.model import objectives
from olhar.training.model.optimizers import freeze_all_but, groups, optimizers
from olhar.training.model.prepare import prepare

SIDE, PATCH, LAYERS, LABELLED = 56, 14, 4, 5
SHAPE = TowerShape(image_size=SIDE, patch_size=PATCH, hidden_size=32, layers=LAYERS, heads=2, intermediate_size=48)
TEXT = LanguageModelShape(hidden_size=48, layers=LAYERS, heads=2, intermediate_size=80)


def stage(**changes: Any) -> TrainStage:
    return TrainStage(**{"name": "one", "mixture": "all", "steps": 100, "batch": 2, **changes})


def tiny(name: str = "internvl") -> tuple[Any, Any, Any, _counting.Counts]:
    """(family, settings, model, counts)."""
    family = choose("families", name)
    words = Tokenizer(models.WordLevel({"?": 0} | {f"w{number}": number for number in range(1, 60)}, unk_token="?"))
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.SPECIAL_TOKENS])
    parts = ModelParts(family=name, tower=SHAPE, language_model=TEXT, tokenizer="unused")
    settings = family.settings(parts)
    torch.manual_seed(0)
    model = family.compose(parts, settings, words)
    tower, language = model.config.vision_config.to_dict(), model.config.text_config.to_dict()
    layer = _counting.layer_read(family, tower, anew=True)
    return family, settings, model, _counting.counts(family, tower, language, layer=layer)


WAYS: Mapping[str, dict[str, Any]] = {
    "connector": {"trains": {"connector": 1e-3}},
    "connector and language": {"trains": {"connector": 1e-3, "language": 1e-3}},
    "all": {"trains": {"vision": 1e-3, "connector": 1e-3, "language": 1e-3}},
    "language": {"trains": {"language": 1e-3}},
    "last layers": {"trains": {"language": 1e-3, "connector": 1e-3}, "last_layers": {"language": 1}},
    "last layers alone": {"trains": {"language": 1e-3}, "last_layers": {"language": 1}},
    "last of the tower": {"trains": {"vision": 1e-3, "connector": 1e-3}, "last_layers": {"vision": 2}},
    "adapter": {"trains": {"language": 1e-3, "connector": 1e-3}, "adapter": Adapter(rank=4, dropout=0)},
    "adapter of the tower": {
        "trains": {"language": 1e-3, "vision": 1e-3},
        "adapter": Adapter(rank=4, dropout=0, roles=("language", "vision")),
    },
    "adapter in last layers": {
        "trains": {"language": 1e-3, "connector": 1e-3},
        "adapter": Adapter(rank=4, dropout=0),
        "last_layers": {"language": 2},
    },
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


@ways
@pytest.mark.parametrize("name", ["internvl", "llava"])
def test_what_learns_is_what_training_prepares(way: dict[str, Any], name: str) -> None:
    family, _, model, counts = tiny(name)
    wanted = stage(**way)
    prepared = prepare(model, family, wanted)
    sizes = {parameter: tensor.numel() for parameter, tensor in model.named_parameters()}
    real = {role: sum(sizes[parameter] for parameter in held) for role, held in prepared.roles.items()}
    found = {role: learns.trained for role, learns in _costs.learning(counts, wanted, 0).items() if learns.trained}
    assert found == real


@ways
def test_operations_are_those_that_torch_counts(way: dict[str, Any]) -> None:
    """With attention by matrices, of which no half is spared: twice what the causal count says."""
    family, settings, model, counts = tiny()
    wanted = stage(**way)
    prepared = prepare(model, family, wanted)
    trained = groups(model, prepared.roles, wanted)
    freeze_all_but(model, trained)
    pixels = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    tokens = 24
    with FlopCounterMode(display=False) as counter:
        seen = family.connected(model, family.patch_features(model, normalised(pixels, settings)))
        embeddings = torch.cat(
            [model.get_input_embeddings()(torch.zeros(tokens - 8, dtype=torch.long)), seen.flatten(0, 1)]
        )
        hidden = model.model.language_model(inputs_embeds=embeddings[None], use_cache=False).last_hidden_state
        model.get_output_embeddings()(hidden[0, :LABELLED]).sum().backward()
    found = _costs.operations(
        counts, _costs.learning(counts, wanted, 0), _costs.Work(tokens, LABELLED, 2, tokens**2, 2), checkpointing=False
    )
    causal = _costs.operations(
        counts, _costs.learning(counts, wanted, 0), _costs.Work(0, 0, 0, tokens**2, 0), checkpointing=False
    )["attention"]
    assert sum(found.values()) + causal == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_the_rule_of_thumb_for_one_token() -> None:
    """6 N, 4 N and 2 N of a language model's layers (Kaplan et al. 2020)."""
    *_, counts = tiny()
    work = _costs.Work(1, 0, 0, 0, 0)
    weights = counts.language.matrices
    for trains, times in (({"language": 1e-3}, 6), ({"connector": 1e-3}, 4)):
        learns = _costs.learning(counts, stage(trains=trains), 0)
        assert _costs.operations(counts, learns, work, checkpointing=False)["language"] == times * weights
        assert _costs.operations(counts, learns, work, checkpointing=True)["language"] == (times + 2) * weights
    frozen = _costs.operations(counts, {}, _costs.Work(0, 0, 1, 0, 1), False)["tower"]
    assert frozen == 2 * counts.tower.patches * (counts.tower.matrices + counts.tower.patching)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("trains", [("connector", "language"), ("vision", "connector", "language")], ids=str)
def test_optimizer_states_are_as_many_numbers(optimizer: Any, trains: tuple[str, ...]) -> None:
    family, _, model, counts = tiny()
    wanted = stage(trains=dict.fromkeys(trains, 1e-3), optimizer=optimizer)
    prepared = prepare(model, family, wanted)
    trained = groups(model, prepared.roles, wanted)
    freeze_all_but(model, trained)
    made = optimizers(model, trained)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    for each in made.values():
        each.step()
    kept = sum(
        slot.numel() for each in made.values() for slots in each.state.values() for slot in slots.values() if slot.dim()
    )
    learns = _costs.learning(counts, wanted, 0)
    held = sum(each.trained for each in learns.values())
    assert _costs.states(counts, learns, held, wanted) == pytest.approx(kept, rel=0.01)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("trained", [True, False])
def test_a_layer_keeps_what_autograd_saves(half: bool, trained: bool) -> None:
    """The difference that one more layer makes; what is left out is one number a token or head."""
    config = {"model_type": "llama", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50}
    saved = _saved({**config, "num_hidden_layers": 3}, half, trained) - _saved(config, half, trained)
    stack = _counting.decoder(config)
    assert _costs.kept_by_layer(stack, 2 if half else 4, trained, gated=True) == pytest.approx(saved, rel=0.01)


def _saved(config: dict[str, Any], half: bool, trained: bool, tokens: int = 256) -> float:
    """Bytes a token that a model's forward leaves for backward, its weights and their copies left out."""
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_config(AutoConfig.for_model(**config), attn_implementation="sdpa").train()
    model.requires_grad_(trained)
    weights = {form for p in model.parameters() for form in (p.shape, p.T.shape if p.dim() == 2 else p.shape)}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    states = torch.randn(1, tokens, config["hidden_size"], requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        found = model(inputs_embeds=states, use_cache=False).last_hidden_state
    assert found.requires_grad  # and keeps all of it alive until here
    return sum(kept.values()) / tokens


def test_memory_is_divided_by_the_processes_that_share_it() -> None:
    *_, counts = tiny()
    wanted = stage(trains={"connector": 1e-3, "language": 1e-3})
    learns, work = _costs.learning(counts, wanted, 0), _costs.Work(256, 32, 2, 256.0 * 64, 2)
    alone = _costs.memory(counts, learns, work, wanted, _costs.Machine(8, shard=False))
    shared = _costs.memory(counts, learns, work, wanted, _costs.Machine(8, shard=True))
    trained = counts.roles["connector"] + counts.roles["language"]
    assert alone["weights that learn"] == alone["gradients"] == 4 * trained
    assert alone["optimizer states"] == 8 * trained
    assert alone["frozen weights"] == 2 * counts.roles["vision"]
    for line in ("weights that learn", "gradients", "optimizer states", "frozen weights"):
        assert shared[line] == alone[line] / 8
    assert shared["activations"] == alone["activations"]


def test_recomputation_keeps_less_and_four_bits_are_an_eighth() -> None:
    *_, counts = tiny()
    work, machine = _costs.Work(2048, 32, 2, 2048.0 * 64, 2), _costs.Machine()
    plain, again = (stage(trains={"language": 1e-3}, gradient_checkpointing=on) for on in (False, True))
    activations = [
        _costs.memory(counts, _costs.learning(counts, one, 0), work, one, machine)["activations"]
        for one in (plain, again)
    ]
    assert activations[1] < activations[0] / 2
    small = stage(trains={"language": 1e-3}, adapter=Adapter(rank=4, bits=4))
    learns = _costs.learning(counts, small, 0)
    frozen = _costs.memory(counts, learns, work, small, machine)["frozen weights"]
    matrices = counts.language.matrices
    assert frozen == pytest.approx((counts.parameters - matrices) * 2 + matrices * 4.127 / 8)


def test_logits_never_exist_all_at_once() -> None:
    assert _costs.LOGITS_AT_ONCE == objectives.CHUNK
    *_, counts = tiny()
    rows = counts.language.vocabulary
    few, many = (_costs.logits(counts, labelled, half=True, learns=False) for labelled in (1, 10**7))
    assert few == rows * 12 + counts.language.width * 4
    assert many == _costs.LOGITS_AT_ONCE * 12 + 10**7 * counts.language.width * 4


MACHINE = Hardware(gpu="A40", count=8, memory_gib=48, tflops=150, watts=300, utilisation=0.4)


def test_hours_and_energy() -> None:
    """1.728e18 operations at 8 x 150e12 x 0.4 a second are an hour, at 8 x 300 W 2.4 kWh."""
    assert _costs.hours(1.728e18, MACHINE) == pytest.approx(1.0)
    assert _costs.energy_kwh(1.0, MACHINE) == pytest.approx(2.4)


def test_co2_is_codecarbons_number_or_the_reason_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    grams, said = _costs.carbon_intensity("XXX")
    assert grams is None
    assert "XXX" in said or "not installed" in said
    monkeypatch.setattr(_costs.importlib.util, "find_spec", lambda name: None)
    grams, said = _costs.carbon_intensity("BRA")
    assert grams is None and "pip install" in said


def test_where_codecarbon_is_there_its_table_is_read() -> None:
    pytest.importorskip("codecarbon")
    grams, said = _costs.carbon_intensity("DEU")
    assert grams is not None and 100 < grams < 700 and "Germany" in said
