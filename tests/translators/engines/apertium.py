"""Opens ``olhar.translators.apertium`` where it is installed."""

from pathlib import Path

from olhar.translators import Translator, apertium


def opened(folder: Path) -> Translator:
    return apertium.open(apertium.Options(), "en", "pt")
