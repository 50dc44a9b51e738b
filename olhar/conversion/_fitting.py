"""Whether planned tensors are exactly those of transformers' class, found without a single weight in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from olhar.core.errors import UserError
from olhar.families._conversion import Conversion
from olhar.families._made import Made
from olhar.families._writing import BYTES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

EMBEDDINGS, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"
COMPUTED = {  # tables that older files hold and the classes now compute themselves
    ".rotary_emb.inv_freq": "a table of rotation angles, which the class computes",
    ".embeddings.position_ids": "the numbers 0, 1, 2, ..., which the class counts itself",
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """Tensors in the class's own order, and what the class has no place for, with the reason."""

    tensors: Mapping[str, Made]
    left_out: Mapping[str, str]


def read_config(family: Any, conversion: Conversion) -> "PreTrainedConfig":
    """The family's configuration as the source describes it; raises ``UserError`` where transformers refuses it."""
    from transformers import AutoConfig

    try:
        return AutoConfig.for_model(family.MODEL_TYPE, **conversion.config)
    except Exception as error:  # transformers' own validation has no common error
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"transformers does not accept this configuration: {reason}",
            f"config.json, read as {conversion.layout}",
            "check that config.json is the one that was published with these weights",
        ) from error


def fit(family: Any, config: "PreTrainedConfig", tensors: Mapping[str, Made], where: str) -> Fitted:
    """The tensors in the class's order.

    Raises:
        UserError: a tensor is missing, or there is one too many, or one of another shape, or of a type that
            holds no plain weights.
    """
    expected, tied = _expected(family, config)
    left_out = {name: why for name in tensors for end, why in COMPUTED.items() if name.endswith(end)}
    kept = {name: made for name, made in tensors.items() if name not in left_out or name in expected}
    for name, source in tied.items():
        if name in kept and source in kept:
            _same(name, kept.pop(name), kept[source])
            left_out[name] = "the same as the input embeddings, to which the configuration ties it"
    problems = [*_misfits(kept, expected, set(tied))]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"the weights are not those of {family.MODEL_CLASS}: {'; '.join(problems[:3])}{more}",
            where,
            "check that the folder is whole and that config.json belongs to these weights",
        )
    return Fitted({name: kept[name] for name in expected if name in kept}, left_out)


def _expected(family: Any, config: "PreTrainedConfig") -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes of all tensors of the class by name, and {tied name: the name that it repeats}."""
    import torch
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, family.MODEL_CLASS)._from_config(config)
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (known := first.setdefault(id(parameter), name)) != name:
            tied[name] = known
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, tied


def _misfits(kept: Mapping[str, Made], expected: Mapping[str, tuple[int, ...]], tied: set[str]) -> Iterator[str]:
    for name in expected:
        if name not in kept and name not in tied:
            yield f"{name} is missing"
    for name, made in kept.items():
        place = f"{name} (from {', '.join(file.name for file in made.files)})" if made.files else name
        if name not in expected:
            yield f"{place} is no part of it"
        elif made.shape != expected[name]:
            yield f"{place} has the shape {made.shape}, not {expected[name]}"
        elif made.dtype not in BYTES:
            yield f"{place} is of the type {made.dtype}, which holds no plain weights"


def _same(name: str, repeated: Made, original: Made) -> None:
    import torch

    if repeated.shape != original.shape or not torch.equal(repeated.load(), original.load()):
        raise UserError(
            f"{name} differs from the input embeddings, and the configuration says that they are one",
            ", ".join(str(file) for file in repeated.files),
            "set tie_word_embeddings to false in config.json if the model was trained with both",
        )


def lengthened(tensors: Mapping[str, Made], more: int) -> dict[str, Made]:
    """The tensors with ``more`` rows of input and output embeddings, each the mean of those that were there."""
    longer = {name: _with_mean_rows(tensors[name], more) for name in (EMBEDDINGS, HEAD) if more and name in tensors}
    return {**tensors, **longer}


def _with_mean_rows(made: Made, more: int) -> Made:
    def change(table: "torch.Tensor") -> "torch.Tensor":
        import torch

        mean = table.mean(dim=0, keepdim=True, dtype=torch.promote_types(table.dtype, torch.float32))
        return torch.cat((table, mean.to(table.dtype).expand(more, -1)))  # (rows + more, hidden)

    shape = (made.shape[0] + more, *made.shape[1:])
    how = f"{more} more row{'s' if more > 1 else ''}"
    return made.changed(shape, change, how if made.how == "as it is" else f"{made.how}, {how}")
