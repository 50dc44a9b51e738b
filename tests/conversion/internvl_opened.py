"""A converted InternVL, opened as plain transformers does."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.families import Encoder, internvl, normalised, pixels_of, read_tokenizer, views_of
from olhar.families._checkpoint import SIDECAR
from olhar.families.internvl import Settings
from olhar.prompts import prompt, with_placeholder

GOLDEN = Path(__file__).parents[1] / "golden"
BASE, HERMES = "internvl_base", "internvl_hermes"
LAYOUT = Settings(
    56,
    14,
    max_tiles=6,
    thumbnail=True,
    frame_label="Frame-{}: ",
    image_label="Image-{}: ",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


@dataclass(frozen=True)
class Converted:
    """A converted folder, opened as plain transformers does, and what is needed to speak to it as it was spoken to."""

    folder: Path
    model: Any
    report: Any
    encoder: Encoder

    @classmethod
    def open(cls, folder: Path, attention: str = "sdpa") -> "Converted":
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention, output_loading_info=True
        )
        row = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        layout = Settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in row["settings"].items()})
        tokenizer = with_placeholder(read_tokenizer(folder))
        encoder = Encoder(prompt(row["prompt"]), row["variant"], tokenizer, internvl, layout, row["system"])
        return cls(folder, model.eval(), report, encoder)

    def pixels(self, media: Sequence[ImageRef | VideoRef]) -> torch.Tensor:
        layout = self.encoder.settings
        return normalised(
            torch.from_numpy(pixels_of(media, views_of(media, internvl, layout), internvl, layout)), layout
        )

    def inputs(self, turns: Sequence[Turn]) -> dict[str, torch.Tensor]:
        """What plain transformers is given: (1, tokens) ids and, where something is shown, its pixels."""
        ids = torch.tensor([self.encoder.question(turns, "vi").ids])
        media = [ref for turn in turns for ref in turn.media]
        shown = {"pixel_values": self.pixels(media)} if media else {}
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **shown}

    def generated(self, inputs: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
        """(rows, new tokens); everything that is not an option is as the folder says."""
        with torch.no_grad():
            return self.model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]

    def logits(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return self.model(**inputs).logits[0]  # (tokens, vocabulary)
