"""A learner as its team trains it: alone, whole in every process (DDP), or spread over all of them (FSDP2)."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType
from typing import Any

import torch

from olhar.training.processes.state import is_spread
from olhar.training.processes.team import Team


class Shared:
    """A learner trained by one process; the others below are trained by several.

    ``module``: the module whose parameters the optimizers move, under the learner's own live names.
    ``spread``: whether a process holds a part of each of them only.
    """

    spread = False

    def __init__(self, learner: torch.nn.Module, team: Team) -> None:
        self.learner, self.team = learner, team
        self.module: torch.nn.Module = learner
        self.forward: Any = learner

    def loss(self, batch: Any) -> tuple[torch.Tensor, Mapping[str, float]]:
        """The learner's forward pass."""
        found: tuple[torch.Tensor, Mapping[str, float]] = self.forward(batch)
        return found

    def exchanging(self, last: bool) -> AbstractContextManager[Any]:
        """Around a micro-batch's forward and backward pass: gradients need to travel after the step's last only."""
        return nullcontext()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, the learner itself holds what was learned so far. All processes enter it together."""
        yield

    def give_back(self) -> None:
        """Training is over: the learner is plain again and holds what was learned. All processes call it."""


class Replicated(Shared):
    """Every process holds the whole model; gradients are averaged while the backward pass goes on.

    partly_used: some of what learns may have no gradient, which costs a walk over the graph of every pass to know.
    """

    def __init__(self, learner: torch.nn.Module, team: Team, partly_used: bool) -> None:
        super().__init__(learner, team)
        warnings.filterwarnings("ignore", "Grad strides do not match bucket", UserWarning)  # of single tokens: harmless
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.forward = torch.nn.parallel.DistributedDataParallel(
                learner,
                broadcast_buffers=False,  # they are constants
                init_sync=False,  # done by wrap
                find_unused_parameters=partly_used,
                gradient_as_bucket_view=True,
            )

    def exchanging(self, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last else self.forward.no_sync()

    def give_back(self) -> None:
        self.forward = self.learner


class Sharded(Shared):
    """Every process holds a part of every parameter, and of its optimizer state; layers are gathered as they are used.

    FSDP2 changes modules for good, so a twin of the learner is what trains, and the learner itself is empty
    meanwhile. The twin's layers are units of their own, its connector and embeddings belong to the root. The tower
    as a whole must not be a unit: transformers collects its hidden states by its class, which a unit changes.
    """

    spread = True

    def __init__(self, learner: torch.nn.Module, team: Team, precision: str) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        from transformers.modeling_layers import GradientCheckpointingLayer

        super().__init__(learner, team)
        if any(parameter._backward_hooks for parameter in learner.parameters()):
            raise ValueError("a hook on a parameter never sees the gradients of its twin")
        twin: Any = _twin(learner)
        self.module = self.forward = twin
        mesh = init_device_mesh(team.device.type, (team.size,))
        half = precision == "bf16" and team.device.type == "cuda"
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
        layers = [module for module in twin.modules() if isinstance(module, GradientCheckpointingLayer)]
        for unit in (*layers, twin):
            plain = list(unit.parameters())
            fully_shard(unit, mesh=mesh, mp_policy=policy)
            for parameter in plain:  # the whole one is not needed any more, before the next unit is spread
                if not is_spread(parameter):
                    parameter.data = parameter.data.new_empty(0)
        if hasattr(twin, "set_reduce_scatter_unused_params"):  # torch 2.13
            twin.set_reduce_scatter_unused_params(True)

    @contextmanager
    def whole(self) -> Iterator[None]:
        self._gather(self.team.device)
        yield
        for parameter in self.learner.parameters():
            parameter.data = parameter.data.new_empty(0)

    def give_back(self) -> None:
        self._gather(torch.device("cpu"))
        self.module = self.forward = self.learner

    def _gather(self, device: torch.device) -> None:
        plain = dict(self.learner.named_parameters())
        for name, parameter in self.module.named_parameters():
            spread: Any = parameter
            with self.team.guarded():
                plain[name].data = spread.detach().full_tensor().to(device)
        self.learner.to(device)  # its buffers


def _twin(learner: torch.nn.Module) -> torch.nn.Module:
    """Other module objects around the very same parameters."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in learner.parameters()}
    for module in learner.modules():
        memo |= {id(value): value for value in vars(module).values() if isinstance(value, ModuleType)}
    return copy.deepcopy(learner, memo)


def wrap(learner: torch.nn.Module, team: Team, sharding: str, precision: str, partly_used: bool = True) -> Shared:
    """The learner on its team's device, with the weights of process 0, ready for its first step."""
    spread = team.size > 1 and sharding == "shard"
    if not spread:
        learner.to(team.device)
    if team.size == 1:
        return Shared(learner, team)
    team.broadcast([tensor.data for tensor in (*learner.parameters(), *learner.buffers())])
    return Sharded(learner, team, precision) if spread else Replicated(learner, team, partly_used)
