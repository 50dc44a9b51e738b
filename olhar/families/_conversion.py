"""What a family says about a foreign checkpoint: which tensor becomes which, and what else the target needs.

Nothing here reads a weight. ``olhar.conversion`` opens the source, checks the plan against transformers' own class
and writes the target tensor by tensor.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from olhar.core.errors import UserError
from olhar.families._made import Made
from olhar.families._spoken import Spoken

__all__ = ["Conversion", "Made", "Source", "Spoken", "renamed"]


class Source(Protocol):
    """An opened foreign checkpoint, its files told apart and its names as one flat table.

    ``tensors`` are all weights by the name they would have in a single file of the layout. Folders of a split
    checkpoint add their role: ``language_model.``, ``vision_tower._vision_tower.``, ``connector.``. A LoRA adapter
    and what was trained beside it are already merged, ``.base_layer`` is gone. A vision tower in a folder of its own
    is ``tower``, never part of ``tensors``.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def tensors(self) -> Mapping[str, Made]: ...

    @property
    def tower(self) -> "Source | None":
        """The vision tower's own folder: the one named on the command line, or by the configuration if it is there."""
        ...

    @property
    def tokenizer(self) -> Path:
        """The folder that holds the tokenizer's files: the source's own, or that of what it was trained on."""
        ...

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A further JSON file of the folder, None where there is none."""
        ...

    def read_text(self, name: str) -> str | None:
        """A further text file of the folder, None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Conversion:
    """What becomes of a source.

    layout: the source's layout in a few words, for people.
    config: of transformers' class, as a dict with ``vision_config`` and ``text_config``; vocabulary size and the
        ids of ``TOKEN_KEYS`` are still those of the source: they are set with the tokenizer.
    tensors: by their names in transformers' live model.
    left_out: source tensors that have no place in the target, each with the reason.
    notes: what a person should know (a choice that was made, a weight that was added).
    """

    layout: str
    config: Mapping[str, Any]
    settings: Any
    tensors: Mapping[str, Made]
    spoken: Spoken
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def renamed(
    tensors: Mapping[str, Made], rules: Iterable[tuple[str, str]], left_out: Mapping[str, str] | None = None
) -> tuple[dict[str, Made], dict[str, str]]:
    """Tensors by new names: the first rule (old prefix, new prefix) that fits counts.

    Args:
        left_out: prefixes of tensors that are not wanted, each with the reason; asked before the rules.

    Returns:
        the tensors by new name, and the reason for every old name that was left out.

    Raises:
        UserError: a name that no rule knows, or two names that become one.
    """
    rules, unwanted = tuple(rules), dict(left_out or {})
    kept: dict[str, Made] = {}
    dropped: dict[str, str] = {}
    for name, made in tensors.items():
        reason = next((why for prefix, why in unwanted.items() if name.startswith(prefix)), None)
        if reason is not None:
            dropped[name] = reason
            continue
        rule = next(((old, new) for old, new in rules if name.startswith(old)), None)
        if rule is None:
            where = f"tensor {name} in {', '.join(str(file) for file in made.files)}"
            raise UserError("no part of this architecture has such a tensor", where, "check that the folder is whole")
        new = rule[1] + name[len(rule[0]) :]
        if new in kept:
            where = f"tensor {name} in {', '.join(str(file) for file in made.files)}"
            raise UserError(f"the source has the tensor {new} twice, by two names", where, "keep one of them")
        kept[new] = made
    return kept, dropped
