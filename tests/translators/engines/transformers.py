"""Opens ``olhar.translators.transformers`` on a small model of random weights."""

from pathlib import Path

from olhar.translators import Translator, transformers
from tests.translators import tiny_marian


def opened(folder: Path) -> Translator:
    options = transformers.Options(model=str(tiny_marian.made(folder / "marian")), beam=1, max_tokens=24)
    return transformers.open(options, "en", "pt")
