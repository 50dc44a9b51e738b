"""Low-rank adapters by PEFT (LoRA, Hu et al. 2021, arXiv:2106.09685), laid into transformers' own model object.

What gets one is told by module names that were read off the model, all of them, never by a list of endings: the
towers' layers end like the language models' (``q_proj``, ``k_proj``, ``v_proj``). Everything else a stage trains
(the connector above all) trains in place and is written into the adapter's ``modules_to_save``.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from olhar.core.errors import UserError
from olhar.core.recipe import Adapter
from olhar.core.store import read_json, writing
from olhar.training.model.blocks import blocks

NAME = "default"  # PEFT's name of an adapter that was given none
SIDES = ("lora_A", "lora_B")
PREFIX = "base_model.model."  # what PEFT puts before the names of the model that it wraps
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FACTOR = re.compile(r"(?P<module>.+)\.(?P<side>lora_[AB])\.weight")
PLAIN = {  # what makes PEFT's LoRA compute something else than W x + alpha / r B A x
    "peft_type": "LORA",
    "use_rslora": False,
    "use_dora": False,
    "bias": "none",
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": False,
}


def is_factor(name: str) -> bool:
    """Whether a parameter's name is that of an adapter's matrix."""
    return any(side in name.split(".") for side in SIDES)


def linear_names(model: torch.nn.Module, names: Collection[str], within: Collection[str] | None = None) -> list[str]:
    """The linear layers of a role: those inside its transformer blocks, of a role without blocks all of them.

    ``within``: only those below these modules.
    """
    found, owned = blocks(model, names), set(names)
    below = tuple(f"{name}." for name in (found if within is None else within))
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return [name for name in linear if f"{name}.weight" in owned and (name.startswith(below) or not found)]


def pattern(names: Sequence[str], every: Collection[str]) -> str:
    """A regular expression that matches these module names in full, and none of the model's others (``every``).

    Where a form of name is adapted in all layers it is written with ``\\d+``, so that a person can read it.
    """
    forms: dict[str, set[str]] = {}
    for name in names:
        forms.setdefault(re.sub(r"\.\d+\.", ".#.", name), set()).add(name)
    grouped: dict[str, list[str]] = {}
    for form, of_form in forms.items():
        general = r"\.\d+\.".join(map(re.escape, form.split(".#.")))
        matched = {name for name in every if re.fullmatch(general, name)}
        for written in [general] if matched == of_form else map(re.escape, sorted(of_form)):
            stem, number, rest = written.rpartition(r"\d+\.")
            grouped.setdefault(stem + number, []).append(rest)
    whole = "|".join(f"{stem}({'|'.join(rests)})" for stem, rests in grouped.items())
    if {name for name in every if re.fullmatch(whole, name)} != set(names):
        raise RuntimeError(f"{whole} does not match exactly the {len(names)} layers that get an adapter")
    return whole


@dataclass(slots=True)
class Injected:
    """An adapter inside a live model. ``carried``: parameters that an adapter's folder brought with it."""

    model: Any
    settings: Adapter
    targets: tuple[str, ...]
    tuner: Any
    carried: set[str] = field(default_factory=set)

    def factors(self, target: str) -> dict[str, torch.nn.Parameter]:
        layer = self.model.get_submodule(target)
        return {side: getattr(layer, side)[NAME].weight for side in SIDES}  # (rank, in), (out, rank)

    @property
    def scale(self) -> float:
        return self.settings.alpha / self.settings.rank

    def merge(self) -> None:
        """W + alpha/r * B A, in float32, in plain layers of the plain names; the model is whole again without PEFT.

        Weights that were kept in 4 or 8 bits become the numbers that they stood for, in the number type of the rest:
        rounding the sum down again would lose most of what was learned.
        """
        found = {target: self.factors(target) for target in self.targets}
        self.tuner.unload()
        if quantised_bits(self.model):
            self.model.dequantize()
        with torch.no_grad():
            for target, pair in found.items():
                weight = self.model.get_submodule(target).weight
                change = self.scale * (pair["lora_B"].float() @ pair["lora_A"].float()).to(weight.device)
                weight.copy_((weight.float() + change).to(weight.dtype))

    def save(self, folder: Path, base: str, full: Collection[str]) -> None:
        """PEFT's layout, as ``PeftModel.from_pretrained(base model, folder)`` loads it; the configuration comes last.

        Args:
            base: path or hub name of what the adapter belongs to.
            full: parameters that were trained themselves and are not the base's any more.

        Raises:
            UserError: one of them is in no module that PEFT could store (as LLaVA-OneVision's line token is).
        """
        from peft import LoraConfig

        modules = _modules_of(self.model, _with_tied(self.model, {*full, *self.carried}))
        tensors = {f"{target}.{side}.weight": p for target in self.targets for side, p in self.factors(target).items()}
        for module in modules:
            inside = self.model.get_submodule(module).state_dict()
            tensors |= {f"{module}.{name}": tensor for name, tensor in inside.items()}
        stored = {PREFIX + name: _whole(tensor) for name, tensor in tensors.items()}
        with writing(folder / WEIGHTS, "wb") as handle:
            handle.write(save(stored, {"format": "pt"}))
        described = LoraConfig(
            **_options(self.settings, self._pattern()), modules_to_save=modules or None, inference_mode=True
        ).to_dict() | {"base_model_name_or_path": base}
        with writing(folder / CONFIG) as handle:
            json.dump(described, handle, indent=2, sort_keys=True, default=_listed)

    def _pattern(self) -> str:
        return str(self.tuner.peft_config[NAME].target_modules)

    def load(self, folder: Path) -> None:
        """Go on with the adapter in a folder of PEFT's layout, ours or another's.

        Raises:
            UserError: it is of another rank or scale, of another kind than plain LoRA, over other layers, or damaged.
        """
        _same_kind(read_json(folder / CONFIG), self.settings, folder)
        given = _tensors(folder)
        factors = {name for name in given if FACTOR.fullmatch(name)}
        wanted = {f"{target}.{side}.weight" for target in self.targets for side in SIDES}
        if factors != wanted:
            raise _other_layers(factors, wanted, folder)
        live = dict(self.model.named_parameters())
        places = {f"{t}.{side}.weight": p for t in self.targets for side, p in self.factors(t).items()} | live
        for name, tensor in given.items():
            if name not in places or places[name].shape != tensor.shape:
                what = f"there is no parameter {name} of the shape {tuple(tensor.shape)} in this model"
                raise UserError(what, str(folder), "name an adapter that was trained on this checkpoint")
        with torch.no_grad():
            for name, tensor in given.items():
                places[name].copy_(tensor)
        self.carried |= set(given) - factors


def inject(model: Any, settings: Adapter, targets: Sequence[str]) -> Injected:
    """Lay adapters into these linear layers; the model stays the same object, and computes the same until they learn.

    Raises:
        UserError: PEFT is not installed, or there is no layer to adapt.
    """
    where = "train.stages: adapter"
    if find_spec("peft") is None:
        raise UserError("adapters need peft", where, 'pip install "olhar[lora]"')
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    if not targets:
        what = f"there is no linear layer in the parts that should get adapters: {', '.join(settings.roles)}"
        raise UserError(what, where, "name other roles, or train them in full")
    every = [name for name, _ in model.named_modules()]
    config = LoraConfig(**_options(settings, pattern(targets, every)))
    tuner = LoraModel(model, config, NAME)
    injected = Injected(model, settings, tuple(targets), tuner)
    for target in targets:
        for parameter in injected.factors(target).values():
            parameter.data = parameter.data.float()  # small steps on small numbers: never in 16 bits
        layer = model.get_submodule(target)
        layer.train(layer.get_base_layer().training)  # else its dropout acts in a model that is asked
    return injected


def _options(settings: Adapter, target_modules: str) -> dict[str, Any]:
    return {
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": target_modules,
        "bias": "none",
    }


def quantised_bits(model: Any) -> int | None:
    """In how many bits the model's weights were loaded; None where they were not quantised, or are no longer."""
    config = getattr(getattr(model, "hf_quantizer", None), "quantization_config", None)
    return next((bits for bits in (4, 8) if getattr(config, f"load_in_{bits}bit", False)), None)


def keep_trainable(model: Any) -> None:
    """Undo and forbid what bitsandbytes does to 4-bit weights that a processor asks: it packs them anew in place, and
    through packed ones no gradient passes, nor can they be told back into numbers."""
    model.state_dict()  # whose hooks unpack
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _with_tied(model: torch.nn.Module, names: Collection[str]) -> set[str]:
    """All names of these parameters: PEFT copies a stored module, so a head tied to it must be stored as well."""
    every = list(model.named_parameters(remove_duplicate=False))
    meant = {id(parameter) for name, parameter in every if name in names}
    return {name for name, parameter in every if id(parameter) in meant}


def _modules_of(model: torch.nn.Module, names: Collection[str]) -> list[str]:
    """The fewest modules that hold these parameters: whole ones from the top, else the one that a parameter is in."""
    left, found = set(names), list[str]()
    for name, module in model.named_modules():
        inside = {f"{name}.{inner}" for inner, _ in module.named_parameters()}
        if name and inside and inside <= left:
            found.append(name)
            left -= inside
    for name in sorted(left):
        owner = name.rpartition(".")[0]
        if any(True for _ in model.get_submodule(owner).children()):
            what = f"{name} was trained in full, and PEFT's layout has no place for it"
            raise UserError(what, "train: the adapter's folder", "publish the merged checkpoint instead")
        found.append(owner)
    return list(dict.fromkeys(found))


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """On the processor, contiguous, and not only a process's part of it."""
    gathered = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered.detach().cpu().contiguous().clone()


def _listed(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(value)


def _same_kind(config: Mapping[str, Any], settings: Adapter, folder: Path) -> None:
    """Refuse an adapter that computes something else than the recipe's."""
    wanted = PLAIN | {"r": settings.rank, "lora_alpha": settings.alpha}
    for option, value in wanted.items():
        if (found := config.get(option, value)) != value and (found or value):
            what = f"this adapter has {option} = {found!r}, and the recipe's adapter {value!r}"
            raise UserError(what, str(folder / CONFIG), "write the adapter's own rank and alpha into the recipe")


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The adapter's tensors by the names of the live model."""
    path = folder / WEIGHTS
    if not path.is_file():
        what = f"there is no {WEIGHTS} here"
        raise UserError(what, str(folder), "save the adapter with PEFT's save_pretrained, which writes it")
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"the adapter cannot be read: {error}", str(path), "copy the file again") from error
    return {name.removeprefix(PREFIX).replace(".base_layer.", "."): tensor for name, tensor in stored.items()}


def _other_layers(found: Collection[str], wanted: Collection[str], folder: Path) -> UserError:
    first = [sorted(set(one) - set(other))[:1] for one, other in ((found, wanted), (wanted, found))]
    shown = "; ".join(
        f"only {which}: {names[0]}" for which, names in zip(("this adapter", "the recipe"), first, strict=True) if names
    )
    what = f"this adapter has {len(found) // 2} adapted layers, and the recipe's adapter {len(wanted) // 2}; {shown}"
    return UserError(what, str(folder), "name the adapter's own roles in the recipe's adapter")
