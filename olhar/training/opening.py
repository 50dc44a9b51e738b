"""What a run starts from: parts joined in a family's class, or a whole checkpoint; always with its tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from tokenizers import Tokenizer

from olhar.core.choices import choose
from olhar.core.recipe import ModelParts, Recipe, StartingPoint
from olhar.core.samples import SampleFile
from olhar.core.store import writing
from olhar.families import Loading, add_tokens, changed, load, of_stage, read_sidecar, read_tokenizer, settings_of
from olhar.families._loading import Quantize
from olhar.languages import language
from olhar.prompts import prompt, special_tokens
from olhar.training.model import vocabulary

BITS: dict[int, Quantize] = {4: "4bit", 8: "8bit"}


@dataclass(frozen=True, slots=True)
class Start:
    """The tokenizer, the family, and how it looks at pictures before a stage says otherwise.

    source: the recipe's parts, with every folder on this disk, or the folder of a whole checkpoint.
    new_rows: vocabulary rows of the tokens that the language model did not know before.
    """

    recipe: Recipe
    source: ModelParts | Path
    tokenizer: Tokenizer
    family_name: str
    settings: Any
    new_rows: Sequence[int]

    @property
    def family(self) -> ModuleType:
        return choose("families", self.family_name)

    def settings_for(self, image: dict[str, Any], where: str) -> Any:
        """How pictures are looked at in a stage that says so much of them."""
        return of_stage(self.settings, image, where)

    def model(self) -> Any:
        """The model as it stands before the first stage; what is new in it is drawn from the recipe's seed."""
        torch.manual_seed(self.recipe.seed)
        if isinstance(self.source, ModelParts):
            return self.family.compose(self.source, self.settings, self.tokenizer)
        return load(self.source, Loading(dtype="float32", quantize=self._quantize())).model

    def _quantize(self) -> Quantize | None:
        """How the weights below adapters are kept, if any stage asks for fewer bits."""
        assert self.recipe.train
        bits = [stage.adapter.bits for stage in self.recipe.train.stages if stage.adapter and stage.adapter.bits]
        return BITS[bits[0]] if bits else None


def opened(recipe: Recipe, source: ModelParts | Path, run: Path, folder: Path) -> Start:
    """Read or learn the tokenizer, bind the family; the model itself is made later.

    Args:
        source: the recipe's parts with every folder on this disk, or the folder of a checkpoint of olhar's.
        run, folder: of the run and of its training, where a learned tokenizer is kept.
    """
    assert recipe.model
    family = choose("families", recipe.model.family)
    if isinstance(source, ModelParts):
        tokenizer, new_rows = _tokenizer(recipe, source, run, folder, family)
        return Start(recipe, source, tokenizer, source.family, settings_of(family, source), new_rows)
    assert isinstance(recipe.model, StartingPoint)
    said = read_sidecar(source)
    assert said  # the stage made or checked the folder
    settings = changed(said.settings, recipe.model.image, "model.image")
    return Start(recipe, source, read_tokenizer(source), said.family_name, settings, ())


def _tokenizer(
    recipe: Recipe, parts: ModelParts, run: Path, folder: Path, family: ModuleType
) -> tuple[Tokenizer, list[int]]:
    """The recipe's tokenizer, learned from a mixture's text or read from a folder, and the rows that are new to it."""
    assert recipe.train
    target, wanted = folder / "tokenizer.json", parts.tokenizer
    known = read_tokenizer(Path(wanted)) if isinstance(wanted, str) else None
    if target.exists():
        tokenizer = Tokenizer.from_file(str(target))
    elif known is not None:
        tokenizer = read_tokenizer(Path(str(wanted)))
        add_tokens(tokenizer, family.SPECIAL_TOKENS)
    else:
        tokenizer = _learned(recipe, parts, run, family)
    if not target.exists():
        with writing(target) as handle:
            handle.write(tokenizer.to_str())
    new = [token for token in family.SPECIAL_TOKENS if known is not None and known.token_to_id(token) is None]
    return tokenizer, [id for token in new if (id := tokenizer.token_to_id(token)) is not None]


def _learned(recipe: Recipe, parts: ModelParts, run: Path, family: ModuleType) -> Tokenizer:
    """A tokenizer learned from a mixture's text, with what the prompt writes as tokens of their own."""
    assert recipe.train and not isinstance(parts.tokenizer, str)
    specials = special_tokens(prompt(recipe.train.prompt), language(recipe.language), recipe.train.variant)
    samples = SampleFile(run / "mix" / f"{parts.tokenizer.mixture}.jsonl", run)
    texts = (f" {turn.text}" for sample in samples for turn in sample.turns)
    return vocabulary.learn(texts, parts.tokenizer.vocabulary, [*specials, *family.SPECIAL_TOKENS])
