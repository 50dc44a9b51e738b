"""What LLaVA, TinyLLaVA and ViP-LLaVA say of a checkpoint in their own layouts, and what becomes of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from olhar.core.errors import UserError
from olhar.families import _towers
from olhar.families._conversion import Conversion, Made, Source, Spoken, renamed
from olhar.families._images import squares

TOWER_RULES = (("vision_model.", "model.vision_tower."),)
STRATEGIES: dict[str, squares.Strategy] = {"patch": "default", "cls_patch": "full"}


@dataclass(frozen=True, slots=True)
class Original:
    """A checkpoint as its own code describes it.

    layout: in a few words, for people.
    tower_name: as its code fetches the tower.
    tower, connector: what the names of their tensors begin with.
    language_rules: from the names of all other tensors to those in the live model.
    text: configuration of the language model.
    said: the checkpoint's own description of its tower, whose weights are then the ones in it.
    processor: the checkpoint's own ``preprocessor_config.json``.
    layer, strategy, aspect: which features of the tower are read, how pictures become squares.
    """

    layout: str
    tower_name: str
    tower: str
    connector: str
    language_rules: tuple[tuple[str, str], ...]
    text: Mapping[str, Any]
    connector_type: str
    spoken: Spoken
    said: Mapping[str, Any] | None = None
    processor: Mapping[str, Any] | None = None
    layer: Any = -2
    strategy: Any = "patch"
    aspect: Any = None


def where_of(source: Source) -> str:
    return str(source.folder / "config.json")


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision tower: its configuration, its tensors by their names in the live model, and what is not taken.

    processor: its ``preprocessor_config.json``, where it has one.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Made]
    processor: Mapping[str, Any] | None
    left_out: Mapping[str, str]
    note: str


def tower(source: Source, original: Original, kinds: Collection[str]) -> Tower:
    """The tower that the original reads: that of the tower's own folder, unless the checkpoint has its own.

    Args:
        kinds: values of ``model_type`` that the family takes.

    Raises:
        UserError: there is no tower, nothing says how many heads it has, or it is of another kind.
    """
    inside = {name: made for name, made in source.tensors.items() if name.startswith(original.tower)}
    own, trained = source.tower, original.said is not None or _trained(source.config)
    config = _tower_config(source, original, kinds, bool(inside))
    processor = own.read_json("preprocessor_config.json") if own else None
    if own is not None and own.tensors and not (inside and trained):
        unread = dict.fromkeys(inside, "a tower that was not trained is read from its own folder")
        note = f"the vision tower is that of {own.folder}"
        return Tower(config, renamed(own.tensors, TOWER_RULES)[0], processor, unread, note)
    if not inside:
        what = f"this checkpoint holds no vision tower, and the weights of {original.tower_name!r} are not here"
        raise UserError(what, where_of(source), "download that tower and name its folder: --tower PATH")
    reason = "" if trained else f", for no folder holds the weights of {original.tower_name!r}"
    kept, _ = renamed(inside, [(original.tower + old, new) for old, new in TOWER_RULES])
    return Tower(config, kept, processor, {}, f"the vision tower is the one in the checkpoint{reason}")


def _trained(config: Mapping[str, Any]) -> bool:
    tuned = str(config.get("mm_tunable_parts") or "").split(",")
    return bool(config.get("unfreeze_mm_vision_tower")) or "mm_vision_tower" in tuned


def _tower_config(source: Source, original: Original, kinds: Collection[str], inside: bool) -> dict[str, Any]:
    """What the checkpoint says of the tower, or the tower's own folder, or what is known of its name."""
    name = original.tower_name
    if original.said is not None:
        return _towers.checked(original.said, kinds, where_of(source))
    if source.tower is not None:
        return _towers.checked(source.tower.config, kinds, str(source.tower.folder))
    if name in _towers.KNOWN:
        config = _towers.checked(_towers.KNOWN[name], kinds, name)
        _check_known(source, original, config)
        return config
    has = "does not say how its vision tower is built" if inside else "holds no vision tower"
    what = f"this checkpoint {has}, and {name!r} is neither a folder here nor a known tower"
    raise UserError(what, where_of(source), "download that tower and name its folder: --tower PATH")


def _check_known(source: Source, original: Original, config: Mapping[str, Any]) -> None:
    """Raises ``UserError`` where the tower in the checkpoint cannot be the one that its name says."""
    patches = source.tensors.get(f"{original.tower}vision_model.embeddings.patch_embedding.weight")
    width, patch = config["hidden_size"], config["patch_size"]
    if patches is not None and patches.shape != (width, 3, patch, patch):
        what = f"the tower in this checkpoint is not {original.tower_name!r}, whose patches have another shape"
        raise UserError(what, where_of(source), "name the folder of the tower that it was trained with: --tower PATH")


def settings(original: Original, tower: Tower, where: str) -> squares.Settings:
    """How the original prepares pictures; raises ``UserError`` for a way that is not known here."""
    if original.aspect not in (None, "square", "pad"):
        raise UserError(f"image_aspect_ratio is {original.aspect!r}", where, "only 'square' and 'pad' are known")
    if original.strategy not in STRATEGIES:
        what = f"the features to select are {original.strategy!r}"
        raise UserError(what, where, f"known are {', '.join(STRATEGIES)}")
    strategy = STRATEGIES[original.strategy]
    found = squares.prepared(tower.config, original.processor or tower.processor, strategy, where)
    return replace(found, fit="pad") if original.aspect == "pad" else found


def feature_layer(value: Any, tower: Tower, where: str) -> int:
    """The layer of the tower that is read, if it has one of that number; raises ``UserError``."""
    layers = tower.config["num_hidden_layers"]
    if not isinstance(value, int) or value == 0 or not -layers - 1 <= value <= layers:  # transformers takes 0 for none
        what = f"the layer to select is {value!r}, and the tower has {layers} layers"
        raise UserError(what, where, "name the tower that the checkpoint was trained with: --tower PATH")
    return value


def connector_tensors(source: Source, original: Original) -> dict[str, Made]:
    """The connector's tensors by their names inside it."""
    named = ((name, made) for name, made in source.tensors.items() if name.startswith(original.connector))
    return {name.removeprefix(original.connector): made for name, made in named}


def planned(
    source: Source,
    original: Original,
    seen: Tower,
    settings: squares.Settings,
    connector: Mapping[str, Made],
    config: Mapping[str, Any],
) -> Conversion:
    """The conversion of it all.

    Args:
        connector: tensors by their names in the live model.
        config: what transformers' configuration says beside its two parts.

    Raises:
        UserError: an unknown tensor.
    """
    elsewhere = (original.tower, original.connector)
    others = {name: made for name, made in source.tensors.items() if not name.startswith(elsewhere)}
    language, _ = renamed(others, original.language_rules)
    written = {
        "vision_config": dict(seen.config),
        "text_config": dict(original.text),
        "image_seq_length": settings.tokens,
        "tie_word_embeddings": bool(original.text.get("tie_word_embeddings", False)),
        **config,
    }
    tensors = {**language, **seen.tensors, **connector}
    return Conversion(original.layout, written, settings, tensors, original.spoken, seen.left_out, (seen.note,))
