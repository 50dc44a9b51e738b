"""What a stage of training costs, by arithmetic: operations, memory, hours, energy. Every formula names its source.

Numbers are estimates to choose a machine and a batch by; ``docs/plan.md`` says what each leaves out.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from olhar.core.recipe import Adapter, Hardware, ParameterRole, Training, TrainStage
from olhar.families._counting import Connector, Counts, Stack

FP32, BF16 = 4, 2  # bytes
ADAM_STATES = 2  # numbers that AdamW keeps for each weight; Muon keeps one
BITS_OVERHEAD = 0.127  # bits a weight that the scales of 4-bit blocks take, quantised twice (arXiv:2305.14314)
PUE = 1.0  # power usage effectiveness: what the building takes beside the GPUs is left out
MUON_SIDE = 17  # thinner matrices get AdamW
LOGITS_AT_ONCE = 2**24  # ``training.objectives.CHUNK``, which needs torch


@dataclass(frozen=True, slots=True)
class Learns:
    """What of one role learns in a stage.

    trained: parameters that learn. of_layers: share of its layers whose own weights learn. passed: share of its layers
    that gradients pass through. adapters: of the trained parameters those of low-rank adapters.
    """

    trained: int = 0
    of_layers: float = 0.0
    passed: float = 0.0
    adapters: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What goes through the model: tokens of the sequence, of these labelled, tiles, the sum of the documents'
    squared lengths. looked: tiles that go through the tower, where a cache spares it the rest."""

    tokens: float
    labelled: float
    tiles: float
    squares: float
    looked: float

    def times(self, steps: float) -> "Work":
        return Work(*(getattr(self, name) * steps for name in Work.__slots__))

    def spared(self) -> "Work":
        """The same where the tower's features come from disk."""
        return replace(self, looked=0)


def learning(counts: Counts, stage: TrainStage, added: int) -> dict[str, Learns]:
    """What learns, by role; the role ``tokens`` is the rows of ``new_tokens``."""
    stacks: dict[ParameterRole, Stack] = {"vision": counts.tower, "language": counts.language}
    full: dict[ParameterRole, int] = {
        "vision": counts.tower.parameters - counts.tower.unread(counts.layer),
        "connector": counts.connector.parameters,
        "language": counts.roles["language"],
    }
    named = [role for role in full if role in stage.trains]
    found: dict[str, Learns] = {
        role: _learns(role, stacks.get(role, counts.connector), full[role], stage) for role in named
    }
    if stage.new_tokens is not None:
        found["tokens"] = Learns(added * counts.language.row)
    if stage.objective == "answers":
        below = bool(found.keys() & {"vision", "connector", "tokens"})
        spoken = found.get("language", Learns())
        whole = below or (spoken.adapters and "language" not in stage.last_layers)
        passed = 1.0 if whole else _reached(stage, "language", counts.language) if "language" in found else 0.0
        found["language"] = Learns(spoken.trained, spoken.of_layers, passed, spoken.adapters)
    return found


def _reached(stage: TrainStage, role: ParameterRole, stack: Stack) -> float:
    """Share of a role's layers that gradients enter when nothing before the role learns."""
    return min(stage.last_layers[role] / stack.layers, 1.0) if role in stage.last_layers else 1.0


def _learns(role: ParameterRole, part: Stack | Connector, full: int, stage: TrainStage) -> Learns:
    layers = part.layers if isinstance(part, Stack) else 1
    count = min(stage.last_layers.get(role, layers), layers)
    share = count / layers
    if stage.adapter and role in stage.adapter.roles:
        trained = adapter_parameters(part, stage.adapter, count)
        return Learns(trained, 0.0, share, trained)
    own = count * part.layer if isinstance(part, Stack) and role in stage.last_layers else full
    return Learns(own, share, share)


def adapter_parameters(part: Stack | Connector, adapter: Adapter, layers: int) -> int:
    """Two thin matrices for every linear layer: rank x (inputs + outputs) (Hu et al. 2021, arXiv:2106.09685)."""
    each = sum(adapter.rank * (inputs + outputs) for inputs, outputs in part.linears)
    return each * (layers if isinstance(part, Stack) else 1)


def operations(
    counts: Counts, learns: Mapping[str, Learns], work: Work, checkpointing: bool, answers: bool = True
) -> dict[str, float]:
    """Floating point operations of some work, by part.

    A weight costs two operations a token forwards; two more where gradients of activations pass, two more where its
    own gradient is needed: 6 N for what learns, 4 N where gradients only pass, 2 N for a frozen tower (Kaplan et al.
    2020, arXiv:2001.08361, section 2.1). Attention adds, a layer and a document of s tokens, 4 s^2 d forwards, half of
    it where it is causal, and twice that backwards (PaLM, Chowdhery et al. 2022, arXiv:2204.02311, appendix B).
    ``checkpointing`` computes every layer that gradients pass through forwards once more.
    """
    tower, spoken, idle = counts.tower, counts.language, Learns()
    seen = learns.get("vision", idle)
    patches = work.looked * tower.patches
    found = {"tower": _stack(tower, seen, patches, checkpointing and bool(seen.trained))}
    found["tower"] += 2 * patches * (tower.patching * (1 + (seen.of_layers == 1.0)) + _head(counts))
    squares = work.looked * tower.patches**2
    found["attention"] = _attention(tower, seen, squares, 4, checkpointing and bool(seen.trained))
    if not answers:
        return found
    joined = work.tiles * (tower.patches - tower.classes) / counts.connector.joined
    linked = learns.get("connector", idle)
    found["connector"] = 2 * joined * (_linked(counts.connector, linked, bool(seen.trained)) + 3 * linked.adapters)
    told = learns.get("language", idle)
    found["language"] = _stack(spoken, told, work.tokens, checkpointing)
    found["attention"] += _attention(spoken, told, work.squares, 2, checkpointing)
    table = spoken.vocabulary * spoken.width
    head_learns = told.of_layers == 1.0 and not told.adapters
    found["output layer"] = 2 * work.labelled * table * (2 + head_learns)
    return found


def _stack(stack: Stack, learns: Learns, tokens: float, again: bool) -> float:
    """The linear layers of a stack: forwards, gradients of activations, gradients of weights, forwards again."""
    shares = 1 + learns.passed * (2 if again else 1) + learns.of_layers
    return 2 * tokens * (stack.matrices * shares + 3 * learns.adapters)


def _linked(connector: Connector, learns: Learns, below: bool) -> float:
    """Weights of the connector, each as often as a token meets it. below: something before it learns."""
    found, reached = 0.0, below
    for inputs, outputs in connector.linears:
        found += inputs * outputs * (1 + (learns.of_layers > 0) + reached)
        reached = reached or learns.trained > 0
    return found


def _attention(stack: Stack, learns: Learns, squares: float, each: int, again: bool) -> float:
    return each * squares * stack.attended * stack.layers * (1 + learns.passed * (3 if again else 2))


def _head(counts: Counts) -> int:
    """Weights that every patch is multiplied with in a pooling head: its keys and values."""
    return 2 * counts.tower.width**2 if counts.tower.head else 0


@dataclass(frozen=True, slots=True)
class Machine:
    """How the model is held: processes that share a step, whether each holds a part only, whether in bfloat16."""

    processes: int = 1
    shard: bool = False
    half: bool = True


def memory(
    counts: Counts, learns: Mapping[str, Learns], work: Work, stage: TrainStage, machine: Machine
) -> dict[str, float]:
    """Bytes on one GPU at its fullest, line by line; ``work`` is that of one micro-batch.

    Weights that learn, their gradients and optimizer states are float32; what is frozen is bfloat16 where the
    precision is (mixed precision: Micikevicius et al. 2018, arXiv:1710.03740). ``shard`` divides all of these by the
    number of processes and gathers one layer at a time (ZeRO stage 3: Rajbhandari et al. 2020, arXiv:1910.02054).
    """
    trained = sum(each.trained for each in learns.values())
    adapters = sum(each.adapters for each in learns.values())
    split = machine.processes if machine.shard else 1
    frozen = counts.parameters - (trained - adapters)
    number = BF16 if machine.half else FP32
    tables = counts.language.row * counts.language.vocabulary if "tokens" in learns else 0
    held = trained + (tables - learns["tokens"].trained if "tokens" in learns else 0)  # whole tables have gradients
    found = {
        "weights that learn": held * FP32 / split,
        "frozen weights": _frozen_bytes(counts, frozen - (held - trained), stage, number) / split,
        "gradients": held * FP32 / split,
        "optimizer states": states(counts, learns, held, stage) * FP32 / split,
    }
    if machine.half:
        found["bf16 copies of them"] = held * BF16 / split
    if machine.shard:
        found["gathered layer"] = max(counts.tower.layer, counts.language.layer) * number
    found["activations"] = _activations(counts, learns, work, stage, number)
    if stage.objective == "answers":
        table = learns["language"].of_layers == 1.0 and not learns["language"].adapters
        found["logits of labels"] = logits(counts, work.labelled, machine.half, table)
    return found


def logits(counts: Counts, labelled: float, half: bool, learns: bool) -> float:
    """Logits of labelled positions, made ``LOGITS_AT_ONCE`` at a time in the model's precision, in float32 and as
    gradients; the states they come from with their gradients; and of an output layer that learns its gradient."""
    number = BF16 if half else FP32
    table = counts.language.vocabulary * counts.language.width
    at_once = min(labelled * counts.language.vocabulary, LOGITS_AT_ONCE)
    states = labelled * counts.language.width * 2 * number
    return at_once * (2 * number + 2 * FP32) + states + (table * (FP32 + number) if learns else 0)


def _frozen_bytes(counts: Counts, frozen: float, stage: TrainStage, number: int) -> float:
    """Frozen weights; with ``adapter.bits`` the language model's linear layers take that many bits each."""
    bits = stage.adapter.bits if stage.adapter else None
    if bits is None:
        return frozen * number
    small = counts.language.matrices
    return (frozen - small) * number + small * (bits + (BITS_OVERHEAD if bits == 4 else 0)) / 8


def states(counts: Counts, learns: Mapping[str, Learns], held: float, stage: TrainStage) -> float:
    """Numbers that the optimizers keep: Muon one for every weight of a matrix, AdamW two for all others."""
    if stage.optimizer == "adamw":
        return held * ADAM_STATES
    stacks: Mapping[str, Stack] = {"vision": counts.tower, "language": counts.language}
    matrices = sum(learns[role].of_layers * stack.matrices for role, stack in stacks.items() if role in learns)
    if learns.get("connector", Learns()).of_layers:
        matrices += sum(i * o for i, o in counts.connector.linears if min(i, o) >= MUON_SIDE)
    return held * ADAM_STATES - matrices


def _activations(counts: Counts, learns: Mapping[str, Learns], work: Work, stage: TrainStage, number: int) -> float:
    """What is kept from forwards for backwards, and the largest layer's own where layers are computed again.

    Counted are the tensors that a layer's backward reads: see ``kept_by_layer`` (after Korthikanti et al. 2022,
    arXiv:2205.05198, section 4.1; attention keeps no matrix of scores, as Dao et al. 2022, arXiv:2205.14135).
    """
    total, idle = 0.0, Learns()
    passes = {"vision": counts.tower, "language": counts.language}
    for role, stack in passes.items():
        each, tokens = learns.get(role, idle), work.tokens if role == "language" else work.looked * counts.tower.patches
        kept = tokens * kept_by_layer(stack, number, each.trained > 0, gated=role == "language")
        if not each.passed:
            total += kept if role == "vision" else 0.0  # nothing is kept; one layer at a time exists
        elif stage.gradient_checkpointing:
            total += kept + tokens * stack.layers * each.passed * stack.width * FP32
        else:
            total += kept * stack.layers * each.passed
    return total + work.tokens * counts.language.width * FP32 * 2  # embeddings, and the last states


def kept_by_layer(stack: Stack, number: int, trained: bool, gated: bool) -> float:
    """Bytes a token that one layer keeps, as autograd saves them; without small ones (one number a token or a head).

    Both norms keep their input in float32, a gated layer's (RMS) norm what it gives too where weights learn. Queries,
    keys, values and the result of attention; the MLP's inner states: three of a gate (gate, its activation, the other
    half), one without. Where weights learn, linear layers keep their inputs: the MLP's product; and the normed states,
    of which mixed precision makes a copy for each layer that reads them (q, k, v, and one or two of the MLP).
    """
    readers = 5 if gated else 4
    found = 2 * stack.width * FP32 + (2 * stack.attended + 2 * stack.keyed) * number
    found += (3 if gated else 1) * stack.inner * number
    if trained:
        found += 2 * stack.width * FP32 * gated + stack.inner * number
        found += (readers if number < FP32 else 2) * stack.width * number
    return found


def processes(training: Training) -> int:
    """Processes that share a step: one for each GPU of the recipe's machine."""
    return training.hardware.count if training.hardware else training.processes


def hours(total: float, hardware: Hardware) -> float:
    """Operations over what the GPUs reach: count x peak x utilisation (MFU as PaLM defines it, appendix B)."""
    return total / (hardware.count * hardware.tflops * 1e12 * hardware.utilisation) / 3600


def energy_kwh(taken: float, hardware: Hardware) -> float:
    """All GPUs at their full power for so many hours; PUE 1.0, no processors, no cooling."""
    return taken * hardware.count * hardware.watts / 1000 * PUE


def carbon_intensity(country: str) -> tuple[float | None, str]:
    """(grams of CO2 a kWh, where that is from) of CodeCarbon's table for machines without a network; else the reason
    why there is no number."""
    try:
        found = importlib.util.find_spec("codecarbon")
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        return None, "CodeCarbon is not installed: pip install 'olhar[energy]'"
    path = Path(next(iter(found.submodule_search_locations))) / "data/private_infra/global_energy_mix.json"
    try:
        row: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))[country]
        return float(row["carbon_intensity"]), f"CodeCarbon, {row['country_name']} {row.get('year', '')}".strip()
    except (OSError, ValueError, KeyError, TypeError):
        return None, f"CodeCarbon's offline table has no number for {country}"
