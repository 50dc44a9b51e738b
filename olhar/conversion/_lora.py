"""LoRA adapters, merged into the weights they were trained on: W + alpha/r * B A (Hu et al. 2021, arXiv:2106.09685).

The sum is computed in float32 and rounded back to W's own type, as the adapter's own library does on merging.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.families._layouts.standard import live_name
from olhar.families._made import Made

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."  # what peft puts before the names of the model that it wraps
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(\.default)?\.weight")
ADDED = ("model.mm_projector.", "model.image_newline", "model.vision_tower.")  # parts a bare language model lacks
STARTS = (None, True, False, "gaussian", "orthogonal", "eva")  # starts of A and B that leave the base as it is
UNSUPPORTED = ("use_dora", "layer_replication", "use_qalora", "lora_bias", "trainable_token_indices")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's files: what ``adapter_config.json`` says, its tensors, and the full tensors beside them."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Made]
    beside: Mapping[str, Made]

    def merged(self, base: Mapping[str, Made]) -> dict[str, Made]:
        """The base's tensors with everything that was trained, by the base's names.

        Raises:
            UserError: a kind of adapter that is not a plain LoRA, or one that does not fit this base.
        """
        self._refuse()
        find = _finder(base)
        factors, replaced = self._parted()
        result = dict(base)
        for module, pair in factors.items():
            name = find(f"{module}.weight")
            if name is None:
                raise self._misfit(f"{module}.weight", "of the base model")
            result[name] = self._sum(module, base[name], pair)
        for name, made in (replaced | _plain(self.beside)).items():
            found = find(name)
            if found is None and not name.startswith(ADDED):
                raise self._misfit(name, "of the base model")
            result[found or name] = replace(made, how="trained in full beside a LoRA")
        self._all_placed(factors, replaced, find)
        return result

    def _refuse(self) -> None:
        kind = self.config.get("peft_type")
        if kind != "LORA":
            raise self._unsupported(f"an adapter of type {kind!r}")
        for option in UNSUPPORTED:
            if self.config.get(option):
                raise self._unsupported(f"a LoRA with {option} = {self.config[option]!r}")
        start = self.config.get("init_lora_weights", True)
        if not any(start is known or (isinstance(known, str) and start == known) for known in STARTS):
            raise self._unsupported(f"a LoRA that began with {start!r}, which changes the base model")

    def _parted(self) -> tuple[dict[str, dict[str, Made]], dict[str, Made]]:
        """{module: {"A": ..., "B": ...}}, and the tensors that stand for themselves."""
        factors: dict[str, dict[str, Made]] = {}
        full: dict[str, Made] = {}
        for key, made in self.tensors.items():
            name = key.removeprefix(PREFIX).replace(".base_layer.", ".").replace(".modules_to_save.", ".")
            if factor := FACTOR.fullmatch(name):
                factors.setdefault(factor["module"], {})[factor["side"]] = made
            elif "lora_" in name:
                raise self._unsupported(f"the tensor {key}")
            else:
                full[name] = made
        for module, pair in factors.items():
            if len(pair) < 2:
                raise self._misfit(f"{module}.lora_{'AB'.replace(next(iter(pair)), '')}.weight", "of this adapter")
        return factors, full

    def _sum(self, module: str, weight: Made, pair: Mapping[str, Made]) -> Made:
        a, b, scale = pair["A"], pair["B"], self._scale(module)
        rank = self._of_module("r", "rank_pattern", module)
        turned = bool(self.config.get("fan_in_fan_out"))
        expected = (a.shape[-1], b.shape[0]) if turned else (b.shape[0], a.shape[-1])
        if {len(a.shape), len(b.shape)} != {2} or weight.shape != expected or (a.shape[0], b.shape[1]) != (rank, rank):
            what = f"LoRA factors {b.shape} and {a.shape} of rank {rank} do not fit a weight of shape {weight.shape}"
            raise UserError(what, f"{module} in {self.path}", "name the base model that this adapter was trained on")

        def change(tensor: "torch.Tensor") -> "torch.Tensor":
            delta = b.load().float() @ a.load().float()  # (out, in)
            return (tensor.float() + scale * (delta.T if turned else delta)).to(tensor.dtype)

        changed = weight.changed(weight.shape, change, "merged with a LoRA")
        return replace(changed, files=weight.files + a.files)

    def _scale(self, module: str) -> float:
        rank = self._of_module("r", "rank_pattern", module)
        alpha = self._of_module("lora_alpha", "alpha_pattern", module)
        return float(alpha / rank**0.5 if self.config.get("use_rslora") else alpha / rank)

    def _of_module(self, option: str, pattern: str, module: str) -> Any:
        """An option's value, where the first pattern that ends the module's name goes before the general one."""
        patterns: Mapping[str, Any] = self.config.get(pattern) or {}
        found = next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)
        value = patterns[found] if found else self.config.get(option)
        if not isinstance(value, int | float) or value <= 0:
            raise UserError(f"{option} of {module} is {value!r}", str(self.path), "repair adapter_config.json")
        return value

    def _all_placed(self, factors: Iterable[str], full: Mapping[str, Made], find: "Finder") -> None:
        """Refuse an adapter whose configuration promises tensors that its files do not hold."""
        for module in self.config.get("modules_to_save") or ():
            if not any(re.match(rf"(.*\.)?{re.escape(module)}\.", name) for name in full):
                raise self._misfit(f"{module}.weight", f"of this adapter, whose modules_to_save names {module}")
        if self.config.get("bias", "none") != "none":
            for module in factors:
                if find(f"{module}.bias") and f"{module}.bias" not in full:
                    raise self._misfit(f"{module}.bias", "of this adapter, which trained biases")

    def _unsupported(self, what: str) -> UserError:
        return UserError(
            f"{what} cannot be merged here",
            str(self.path),
            "merge it with the library that trained it, and convert the merged folder",
        )

    def _misfit(self, name: str, of_what: str) -> UserError:
        return UserError(
            f"there is no tensor {name} {of_what}",
            str(self.path),
            "name the base model that this adapter was trained on: --base FOLDER",
        )


Finder = Callable[[str], str | None]


def _finder(base: Mapping[str, Made]) -> Finder:
    """Finds a name among the base's tensors, also where one is a live model's name and the other a file's."""
    live = {known: name for name in base if (known := live_name(name))}
    return lambda name: name if name in base else live.get(live_name(name) or "")


def _plain(beside: Mapping[str, Made]) -> dict[str, Made]:
    """Tensors trained beside an adapter, without what wrapping put before their names."""
    names = {name: name.removeprefix("base_model.") for name in beside}
    wrapped = any(name.startswith("model.model.") for name in names.values())
    return {(name.removeprefix("model.") if wrapped else name): beside[key] for key, name in names.items()}
