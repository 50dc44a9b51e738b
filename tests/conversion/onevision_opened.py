"""LLaVA-OneVision's golden checkpoint, and how plain transformers opens what was converted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from olhar.families import Checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "llava_onevision"
VOCABULARY, IMAGE, VIDEO = 403, 403, 404  # of the original; ids of the two tokens that follow it
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Converted:
    folder: Path
    model: Any  # with eager attention, as the original was run
    checkpoint: Checkpoint


def plain(folder: Path, attention: str) -> Any:
    """The model as transformers alone loads it, every weight there and nothing besides."""
    from transformers import AutoModelForImageTextToText

    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


def swapped(pairs: Pairs) -> Pairs:
    """Heights and widths, where the original has widths and heights."""
    return tuple((second, first) for first, second in pairs)
