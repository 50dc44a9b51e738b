"""Makes a model ready for one stage: which parameters learn, adapters, new rows of the vocabulary, recomputation.

Afterwards the model is the same object, and until a step is taken it computes the same.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from torch.utils.checkpoint import checkpoint

from olhar.core.errors import UserError
from olhar.core.recipe import TrainStage
from olhar.training.model import adapters, new_tokens
from olhar.training.model.blocks import blocks, unread

Roles = dict[str, list[str]]


@dataclass(slots=True)
class Prepared:
    """A model ready for a stage.

    roles: {role: names of the parameters that learn}; rows added to a frozen vocabulary are the role ``tokens``.
    left_out: parameters of a trained role that nothing reads (see ``blocks.unread``); they stay as they are.
    """

    model: Any
    roles: Roles
    left_out: frozenset[str] = frozenset()
    adapter: adapters.Injected | None = None
    undo: list[Callable[[], None]] = field(default_factory=list)

    def finish(self) -> None:
        """The model as transformers makes it: adapters merged into the weights, plain names, no hooks."""
        while self.undo:
            self.undo.pop()()
        if self.adapter:
            self.adapter.merge()
            self.adapter = None

    def load_adapter(self, folder: Path) -> None:
        """Go on with an adapter that was trained before, ours or plain PEFT's; see ``adapters.Injected.load``."""
        if self.adapter is None:
            what = "there is an adapter to go on with, and this stage trains none"
            raise UserError(what, str(folder), "give the stage an adapter, or start from the merged checkpoint")
        self.adapter.load(folder)

    def save_adapter(self, folder: Path, base: str, also: Collection[str] = ()) -> None:
        """Write what learned as PEFT loads it, before ``finish``.

        Args:
            base: path or hub name of the model that this stage started from.
            also: parameters that an earlier stage changed in full, where ``base`` is what was there before it.
        """
        assert self.adapter, "only of a stage with an adapter"
        full = [name for names in self.roles.values() for name in names if not adapters.is_factor(name)]
        self.adapter.save(folder, base, {*full, *also})


def prepare(
    model: Any, family: ModuleType, stage: TrainStage, new_rows: Sequence[int] = (), sharding: str = "replicate"
) -> Prepared:
    """Make the model ready for a stage.

    Args:
        new_rows: ids of tokens that were added to a pretrained language model's vocabulary.

    Raises:
        UserError: a role that the model does not have, more layers than there are, adapters without PEFT, weights
            that are quantised where they must not be or are not where they should, rows to learn that are sharded.
    """
    _refuse(model, stage, sharding)
    if adapters.quantised_bits(model):
        adapters.keep_trainable(model)
    owned = family.roles(model)
    roles: Roles = {role: _named(owned, role, stage) for role in stage.trains}
    left_out = unread(model, family, owned["vision"]) if "vision" in roles else frozenset()
    roles = {role: [name for name in names if name not in left_out] for role, names in roles.items()}
    last: Roles = {
        role: _last_blocks(model, roles[role], role, count, stage) for role, count in stage.last_layers.items()
    }
    prepared = Prepared(model, {}, left_out)
    if stage.adapter:
        prepared.adapter = _adapted(model, roles, last, stage)
        factors = [name for name, _ in model.named_parameters() if adapters.is_factor(name)]
        now = {role: set(names) for role, names in family.roles(model).items()}
        roles |= {role: [name for name in factors if name in now[role]] for role in stage.adapter.roles}
    for role, names in last.items():
        below = tuple(f"{name}." for name in names)
        roles[role] = [name for name in roles[role] if name.startswith(below)]
    if stage.new_tokens is not None:
        prepared.undo.append(new_tokens.only_rows(model, new_rows))
        roles[new_tokens.ROLE] = new_tokens.tables(model)
    if stage.gradient_checkpointing:
        prepared.undo += _recomputed(model, family, roles)
    prepared.roles = roles
    _in_float32(model, prepared.roles)
    return prepared


def _refuse(model: Any, stage: TrainStage, sharding: str) -> None:
    where, wanted = f"train.stages, {stage.name!r}", stage.adapter.bits if stage.adapter else None
    bits = adapters.quantised_bits(model)
    if wanted and bits != wanted:
        what = f"adapter.bits is {wanted}, and the model was loaded in {f'{bits} bits' if bits else 'full'}"
        fix = "quantised weights are those of a checkpoint that is loaded so: bits belong to a run's last stage alone"
        raise UserError(what, where, fix)
    if bits and "language" in stage.trains and not (stage.adapter and "language" in stage.adapter.roles):
        what = f"weights of {bits} bits cannot be trained themselves"
        raise UserError(what, where, "give the stage an adapter of the role language")
    if sharding == "shard" and stage.new_tokens is not None:
        what = "rows of a table that several processes share cannot learn alone"
        raise UserError(what, f"{where}: new_tokens", 'write sharding = "replicate", or train the language model')
    if sharding == "shard" and bits:
        what = f"weights of {bits} bits cannot be shared among processes"
        raise UserError(what, f"{where}: adapter.bits", 'write sharding = "replicate", or leave bits out')


def _named(owned: Mapping[str, list[str]], role: str, stage: TrainStage) -> list[str]:
    if not owned.get(role):
        known = ", ".join(known for known, names in owned.items() if names)
        where = f"train.stages, {stage.name!r}: trains.{role}"
        raise UserError(f"the model has no {role} parameters", where, f"name some of: {known}")
    return owned[role]


def _last_blocks(model: Any, names: Collection[str], role: str, count: int, stage: TrainStage) -> list[str]:
    """The last layers of a role that anything reads."""
    found = list(blocks(model, names))
    if count > len(found):
        what = f"the {role} part has {len(found)} layers to train, not {count}"
        raise UserError(what, f"train.stages, {stage.name!r}: last_layers.{role}", "name fewer, or train all of it")
    return found[-count:]


def _adapted(
    model: Any, roles: Mapping[str, Collection[str]], last: Mapping[str, list[str]], stage: TrainStage
) -> adapters.Injected:
    assert stage.adapter
    wanted = [
        name for role in stage.adapter.roles for name in adapters.linear_names(model, roles[role], last.get(role))
    ]
    return adapters.inject(model, stage.adapter, wanted)


def _recomputed(model: Any, family: ModuleType, roles: Mapping[str, Collection[str]]) -> list[Callable[[], None]]:
    """Blocks that keep only their input and compute the rest again backwards (Chen et al. 2016, arXiv:1604.06174).

    Of the tower where it learns; of the language model always, because the gradient of all that comes before it
    passes through it. transformers' own switch does nothing in frozen parts, whose blocks are in evaluation mode.
    """
    owned = family.roles(model)
    parts = [role for role in ("vision", "language") if role == "language" or roles.get(role)]
    undo: list[Callable[[], None]] = []
    for role in parts:
        for block in blocks(model, owned[role]).values():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
            undo.append(partial(delattr, block, "forward"))
    return undo


def _in_float32(model: Any, roles: Mapping[str, Collection[str]]) -> None:
    """What learns is held in float32: steps of 1e-5 of a number are lost in 16 bits."""
    names = {name for found in roles.values() for name in found}
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.data = parameter.data.float()
