"""Parameters and multiplications of a model by arithmetic, from configurations alone: exact, without torch.

Every count is checked against transformers' own classes. What has no entry in ``BIASES`` or ``TOWERS`` is refused:
a count that is nearly right would be believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from olhar.core.errors import UserError
from olhar.families import _towers

Matrix = tuple[int, int]  # (inputs, outputs)

# decoder -> which of its linear layers have a bias; all have RMS norms and a gated MLP (Shazeer 2020, arXiv:2002.05202)
BIASES: Mapping[str, tuple[str, ...]] = {
    "llama": (),
    "mistral": (),
    "qwen2": ("q", "k", "v"),
    "qwen3": (),
}
LLAMA_SWITCHES = {"attention_bias": ("q", "k", "v", "o"), "mlp_bias": ("gate", "up", "down")}
NORMED_HEADS = ("qwen3",)  # a norm over each head's queries and keys
VIPLLAVA_LAYERS = 5  # states of the tower that lie side by side


@dataclass(frozen=True, slots=True)
class Stack:
    """A pile of like transformer layers.

    parameters: of the part, all that is not in layers too. layer: parameters of one layer. linears: its linear layers
    as (inputs, outputs), which every token passes once. attended: width of queries over all heads; keyed: of keys.
    """

    parameters: int
    layers: int
    layer: int
    linears: tuple[Matrix, ...]
    width: int
    inner: int
    attended: int
    keyed: int

    @property
    def matrices(self) -> int:
        """Weights that one token is multiplied with, in all layers together."""
        return self.layers * _weights(self.linears)


@dataclass(frozen=True, slots=True)
class Tower(Stack):
    """patches: tokens inside of the tower for one tile; classes: of these its class token. patching: weights of the
    layer that makes a patch a vector. head: parameters of a pooling head; norm: of the norm behind the last layer;
    normed: whether the last state is the one behind that norm (InternViT), not before it (CLIP, SigLIP)."""

    patches: int
    classes: int
    patching: int
    head: int
    norm: int
    normed: bool

    def unread(self, layer: int) -> int:
        """Parameters behind the state that is read, -1 for the last one: they never learn, though they are computed."""
        behind = -1 - layer
        return self.head + behind * self.layer + (self.norm if behind or not self.normed else 0)


@dataclass(frozen=True, slots=True)
class Decoder(Stack):
    """vocabulary: rows of the embeddings; tied: the output layer is the same matrix; positions: the most it knows."""

    vocabulary: int
    tied: bool
    positions: int | None

    @property
    def row(self) -> int:
        """Parameters of one token of the vocabulary."""
        return self.width * (1 if self.tied else 2)


@dataclass(frozen=True, slots=True)
class Connector:
    """parameters; linears as (inputs, outputs); joined: patches that become one token before it; extra: parameters of
    the layout, which count as the language model's."""

    parameters: int
    linears: tuple[Matrix, ...]
    joined: int = 1
    extra: int = 0

    @property
    def matrices(self) -> int:
        return _weights(self.linears)


@dataclass(frozen=True, slots=True)
class Counts:
    """A whole model, part by part. layer: the tower's state that is read, -1 for the last."""

    tower: Tower
    connector: Connector
    language: Decoder
    layer: int = -1

    @property
    def roles(self) -> dict[str, int]:
        """Parameters by role, as a family's ``roles`` partitions them."""
        return {
            "vision": self.tower.parameters,
            "connector": self.connector.parameters,
            "language": self.language.parameters + self.connector.extra,
        }

    @property
    def parameters(self) -> int:
        return sum(self.roles.values())


def counts(
    family: Any, tower: Mapping[str, Any], language: Mapping[str, Any], tokens: int = 0, layer: int = -1
) -> Counts:
    """What a family's model of these configurations holds.

    Args:
        family: module of the family.
        tower, language: contents of ``config.json``, defaults may be left out.
        tokens: entries of the tokenizer; the embeddings have at least as many rows.
        layer: which state of the tower is read.

    Raises:
        UserError: an architecture whose parameters are not counted here.
    """
    seen, spoken = tower_of(tower), decoder(language, tokens)
    return Counts(seen, connector(family.MODEL_TYPE, seen.width, spoken.width), spoken, layer)


def layer_read(family: Any, tower: Mapping[str, Any], anew: bool) -> int:
    """Which state of the tower a family's ``compose`` reads; ``anew``: the tower is made from nothing."""
    pooled = tower.get("model_type") != _towers.SIGLIP or tower.get("vision_use_head", True)
    wasted = {"llava": not anew, "vipllava": True, "llava_onevision": pooled}
    return -2 if wasted.get(family.MODEL_TYPE, False) else -1


def tower_of(config: Mapping[str, Any]) -> Tower:
    """A vision tower of CLIP's, SigLIP's or InternViT's kind; raises ``UserError`` for another."""
    kind = str(config.get("model_type"))
    if kind not in _towers.KINDS:
        raise _uncounted("vision tower", kind, tuple(_towers.KINDS))
    config = {**WIDTHS[kind], **_towers.KINDS[kind].defaults, **config}
    width, inner, layers = (config[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    side, patch = (_towers.square(config, name, kind) for name in ("image_size", "patch_size"))
    patches = (side // patch) ** 2 + _towers.KINDS[kind].class_token
    linears = ((width, width),) * 4 + ((width, inner), (inner, width))
    layer = _weights(linears) + 4 * width + inner + width + 4 * width  # matrices, their biases, two norms
    patching, classes = 3 * patch**2 * width, int(_towers.KINDS[kind].class_token)
    outside, head, norm = patching + patches * width, 0, 2 * width
    if kind == _towers.CLIP:
        outside += width + 2 * width  # class token; a norm before; no bias in the patch layer
    elif kind == _towers.SIGLIP:
        head = _pooling_head(width, inner) if config.get("vision_use_head", True) else 0
        outside += width + head  # bias of the patch layer
    else:
        layer += _internvit_layer(config)
        outside += _internvit_outside(config, patches)
        norm = 0 if config.get("use_mean_pooling", True) else norm
    total, normed = outside + norm + layers * layer, kind == _towers.INTERNVIT
    sizes = (total, layers, layer, linears, width, inner, width, width)
    return Tower(*sizes, patches, classes, patching, head, norm, normed)


WIDTHS: Mapping[str, Mapping[str, Any]] = {  # transformers' defaults of what ``_towers.KINDS`` does not need
    _towers.CLIP: {"hidden_size": 768, "intermediate_size": 3072},
    _towers.SIGLIP: {"hidden_size": 768, "intermediate_size": 3072},
    _towers.INTERNVIT: {"hidden_size": 1024, "intermediate_size": 4096},
}


def _pooling_head(width: int, inner: int) -> int:
    """SigLIP's: a probe that attends to all patches, a norm, an MLP (Zhai et al. 2022, arXiv:2106.04560)."""
    attention = 3 * width**2 + 3 * width + width**2 + width
    return width + attention + 2 * width + 2 * width * inner + inner + width


def _internvit_layer(config: Mapping[str, Any]) -> int:
    """What a layer has beside or instead of a usual one: two layer scales, norms of queries and keys."""
    width = int(config["hidden_size"])
    found = 2 * width
    if not config.get("attention_bias", False):
        found -= 3 * width  # only the output of the attention keeps its bias
    if config.get("use_qk_norm", False):
        found += 2 * width
    if config.get("norm_type", "layer_norm") == "rms_norm":
        found -= 2 * width
    return found


def _internvit_outside(config: Mapping[str, Any], patches: int) -> int:
    """Bias of the patch layer, class token, mask token; positions are already counted."""
    width = int(config["hidden_size"])
    found = 2 * width + width * bool(config.get("use_mask_token", False))
    if not config.get("use_absolute_position_embeddings", True):
        found -= patches * width
    return found


def decoder(config: Mapping[str, Any], tokens: int = 0) -> Decoder:
    """A language model with rows for at least ``tokens`` entries; raises ``UserError`` for one not counted here."""
    kind = str(config.get("model_type"))
    if kind not in BIASES:
        raise _uncounted("language model", kind, tuple(BIASES))
    config = {**DECODERS.get(kind, {}), **config}
    width, inner, layers, heads = (
        int(config[name]) for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    )
    each = int(config.get("head_dim") or width // heads)
    attended, keyed = heads * each, int(config.get("num_key_value_heads") or heads) * each
    named = {
        "q": (width, attended),
        "k": (width, keyed),
        "v": (width, keyed),
        "o": (attended, width),
        "gate": (width, inner),
        "up": (width, inner),
        "down": (inner, width),
    }
    biased = set(BIASES[kind])
    if kind in ("llama", "qwen3"):
        biased |= {name for switch, names in LLAMA_SWITCHES.items() if config.get(switch) for name in names}
    linears = tuple(named.values())
    layer = _weights(linears) + sum(named[name][1] for name in biased) + 2 * width
    layer += 2 * each if kind in NORMED_HEADS else 0
    rows, tied = max(int(config["vocab_size"]), tokens), bool(config.get("tie_word_embeddings", False))
    total = layers * layer + width + rows * width * (1 if tied else 2)
    positions = config.get("max_position_embeddings")
    return Decoder(total, layers, layer, linears, width, inner, attended, keyed, rows, tied, positions)


DECODERS: Mapping[str, Mapping[str, Any]] = {  # transformers' defaults, which a configuration may leave out
    "llama": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
    },
    "mistral": {"num_key_value_heads": 8},
    "qwen3": {"head_dim": 128},
}


def connector(model_type: str, seen: int, read: int) -> Connector:
    """What lies between a tower ``seen`` wide and a language model ``read`` wide; raises ``UserError``."""
    if model_type == "internvl":
        return Connector(*_mlp(4 * seen, read, norm=True), joined=4)
    if model_type == "vipllava":
        return Connector(*_mlp(VIPLLAVA_LAYERS * seen, read, norm=True))
    if model_type == "llava":
        return Connector(*_mlp(seen, read))
    if model_type == "llava_onevision":
        return Connector(*_mlp(seen, read), extra=read)  # image_newline
    raise _uncounted("connector", model_type, ("llava", "vipllava", "llava_onevision", "internvl"))


def _mlp(seen: int, read: int, norm: bool = False) -> tuple[int, tuple[Matrix, ...]]:
    """Parameters and layers of two linear layers with biases, a norm before them."""
    linears = ((seen, read), (read, read))
    return _weights(linears) + 2 * read + (2 * seen if norm else 0), linears


def _weights(linears: tuple[Matrix, ...]) -> int:
    return sum(inputs * outputs for inputs, outputs in linears)


def _uncounted(part: str, kind: str, known: tuple[str, ...]) -> UserError:
    return UserError(
        f"the parameters of a {part} of type {kind!r} are not counted here",
        "olhar/families/_counting.py",
        f"counted are: {', '.join(sorted(known))}; add what this one has",
    )
