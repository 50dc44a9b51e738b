"""Checkpoints of LLaVA's kind in their original layouts, and what plain transformers makes of them converted."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from olhar.conversion.convert import convert
from olhar.core.types import ImageRef, Rendered, Turn
from olhar.families import Checkpoint, Encoder, load, normalised, pixels_of, views_of
from olhar.languages import language
from olhar.prompts import prompt, with_placeholder

GOLDEN = Path(__file__).parents[1] / "golden"
PICTURES = {name: ImageRef(str(GOLDEN / "llava15" / f"image_{name}.png")) for name in ("wide", "tall")}
IMAGE, IGNORED = -200, -100
TOWER = "model.vision_tower.vision_tower."
Weights = dict[str, torch.Tensor]


@cache
def stored(name: str, file: str = "golden.safetensors") -> Weights:
    return load_file(GOLDEN / name / file)


def facts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / name / "golden.json").read_text(encoding="utf-8"))
    return found


def source(
    name: str,
    folder: Path,
    change: Callable[[Weights], Weights] = lambda weights: weights,
    tower: bool = True,
    **config: Any,
) -> Path:
    """A copy of a golden checkpoint to convert, its tokenizer and its tower's folder beside it.

    Args:
        change: makes other weights of its weights.
        tower: whether there is a folder of the tower; of ViP-LLaVA's no configuration names it.
        config: keys of ``config.json`` to replace; None takes one out.
    """
    shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("golden*", "*.png", "vision_tower"))
    if name == "vipllava":
        shutil.copytree(GOLDEN / "llava15" / "tokenizer", folder / "tokenizer")
    row = json.loads((folder / "config.json").read_text()) | config
    row = {key: value for key, value in row.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(row))
    weights = stored(name, "model.safetensors")
    if tower and name != "vitucano":
        shutil.copytree(GOLDEN / name / "vision_tower", folder / "vision_tower")
        own = {key.removeprefix(TOWER): value for key, value in weights.items() if key.startswith(TOWER)}
        save_file(own, folder / "vision_tower" / "model.safetensors", {"format": "pt"})
    save_file(change(dict(weights)), folder / "model.safetensors", {"format": "pt"})
    return folder


@dataclass(frozen=True)
class Converted:
    """A converted folder: what olhar reads of it, and its model as plain transformers loads it."""

    folder: Path
    report: Any
    checkpoint: Checkpoint
    model: Any
    loading: dict[str, Any]

    @property
    def settings(self) -> Any:
        return self.checkpoint.settings

    @property
    def image_id(self) -> int:
        return int(self.model.config.image_token_id)

    def encoder(self, variant: str | None = None) -> Encoder:
        spoken = self.checkpoint.spoken
        return Encoder(
            prompt(spoken.prompt),
            variant or spoken.variant,
            with_placeholder(self.checkpoint.tokenizer),
            self.checkpoint.family,
            self.settings,
        )

    def question(self, text: str, variant: str | None = None) -> list[int]:
        """The ids of a question about the wide picture."""
        turns = [Turn("user", (PICTURES["wide"], text))]
        return self.encoder(variant).question(turns, self.checkpoint.spoken.language).ids

    def rendered(self, conversation: Sequence[dict[str, str]]) -> Rendered:
        spoken = self.checkpoint.spoken
        turns = turns_of(conversation)
        return prompt(spoken.prompt).render(turns, language(spoken.language), variant=spoken.variant)

    def expanded(self, ids: Sequence[int]) -> list[int]:
        """A golden's ids, one id an image, with as many as there are features."""
        spelled = [[self.image_id] * self.settings.tokens if id == IMAGE else [id] for id in ids]
        return [id for part in spelled for id in part]

    def pixels(self, *pictures: str, settings: Any = None) -> torch.Tensor:
        """(pictures, 3, side, side) as olhar prepares them."""
        family, chosen = self.checkpoint.family, settings or self.settings
        refs = [PICTURES[name] for name in pictures]
        return normalised(torch.from_numpy(pixels_of(refs, views_of(refs, family, chosen), family, chosen)), chosen)

    def logits(
        self, ids: Sequence[int], pixels: torch.Tensor | None, model: Any = None, **options: Any
    ) -> torch.Tensor:
        """(tokens, vocabulary of the source) of plain transformers."""
        shown = {} if pixels is None else {"pixel_values": pixels}
        with torch.no_grad():
            found = (model or self.model)(input_ids=torch.tensor([ids]), **shown, **options).logits[0]
        return found[:, : self.image_id]

    def projected(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.stack(list(self.model.model.get_image_features(pixel_values=pixels).pooler_output))

    def generated(self, ids: Sequence[int], pixels: torch.Tensor, count: int) -> list[int]:
        given = torch.tensor([ids])
        with torch.no_grad():
            found = self.model.generate(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                pixel_values=pixels,
                max_new_tokens=count,
                min_new_tokens=count,
                do_sample=False,
            )
        return found[0, len(ids) :].tolist()


def turns_of(conversation: Sequence[dict[str, str]], picture: str = "wide") -> list[Turn]:
    """Turns as the foreign rows have them; the picture's file does not matter where only text is rendered."""
    turns = []
    for row in conversation:
        text = row["value"].replace("<image>", "").strip()
        images = (PICTURES[picture],) * row["value"].count("<image>")
        turns.append(Turn("user" if row["from"] == "human" else "assistant", (*images, text)))
    return turns


def converted(folder: Path, target: Path, **options: Any) -> Converted:
    report = convert(folder, target, **options)
    model, loading = AutoModelForImageTextToText.from_pretrained(target, dtype=torch.float32, output_loading_info=True)
    return Converted(target, report, load(target), model.eval(), loading)


def whole(loading: dict[str, Any]) -> bool:
    return not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def sft_loss(one: Converted, name: str) -> tuple[float, list[float]]:
    """The loss of a golden batch without the image token's column, and the largest difference of logits of each row."""
    golden, fact = stored(name), facts(name)
    losses, tokens, differences = torch.zeros(()), 0, []
    for row, sample in enumerate(fact["sft_samples"]):
        known = golden["sft_attention_mask"][row].bool()
        ids, labels = golden["sft_input_ids"][row][known].tolist(), golden["sft_labels"][row][known].tolist()
        encoded = one.encoder().rendered(one.rendered(sample["conversations"]))
        assert encoded.ids == one.expanded(ids)
        ours = [id if learns else IGNORED for id, learns in zip(encoded.ids, encoded.trained, strict=True)]
        spread = [
            [IGNORED] * one.settings.tokens if id == IMAGE else [label] for id, label in zip(ids, labels, strict=True)
        ]
        assert ours == [label for part in spread for label in part]
        pixels = golden["sft_pixel_values"][row : row + 1] if IMAGE in ids else None
        logits = one.logits(encoded.ids, pixels)
        differences.append(float((logits - golden["sft_logits"][row, : len(logits)]).abs().max()))
        target = torch.tensor(ours[1:])
        losses = losses + torch.nn.functional.cross_entropy(logits[:-1], target, reduction="sum")
        tokens += int((target != IGNORED).sum())
    return float(losses / tokens), differences


def with_strategy(one: Converted, strategy: str) -> Any:
    return replace(one.settings, strategy=strategy)
