"""Every family's model at its smallest, and a question with a picture for it."""

from types import ModuleType
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.choices import choose, names
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import Medium, embedded

FAMILIES = names("families")
LAYERS = {"vision": 12, "language": 3}
SIDE = 28


def tokenizer_of(family: ModuleType) -> Tokenizer:
    words = Tokenizer(models.WordLevel({"</s>": 0} | {f"w{id}": id for id in range(1, 40)}, unk_token="</s>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.SPECIAL_TOKENS])
    return words


def composed(name: str, language_model: Any = None, tower: Any = None, seed: int = 0) -> tuple[Any, ModuleType, Any]:
    """(model in evaluation mode, its family, its settings)."""
    family = choose("families", name)
    shape = TowerShape(
        image_size=SIDE, patch_size=14, hidden_size=16, layers=LAYERS["vision"], heads=2, intermediate_size=24
    )
    text = LanguageModelShape(hidden_size=16, layers=LAYERS["language"], heads=2, intermediate_size=24, max_tokens=256)
    parts = ModelParts(family=name, tower=tower or shape, language_model=language_model or text, tokenizer="unused")
    settings = family.settings(parts)
    torch.manual_seed(seed)
    return family.compose(parts, settings, tokenizer_of(family)).eval(), family, settings


def logits(model: Any, family: ModuleType, settings: Any, seed: int = 5) -> torch.Tensor:
    """(1, tokens, vocabulary) of a question about a picture of noise, through tower, connector and language model."""
    [view] = family.views([Medium("image", ((SIDE, SIDE),))], settings)
    spelled = tokenizer_of(family).encode(f"w1 {family.spell(view, settings)} w2 w3 w4").ids
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(view.budget.tiles, 3, SIDE, SIDE, generator=generator)
    images = family.joined(model, family.connected(model, family.patch_features(model, pixels)), [view])
    embeddings = embedded(model, family, torch.tensor([spelled]), images)
    found: torch.Tensor = model(inputs_embeds=embeddings, use_cache=False).logits
    return found


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())
