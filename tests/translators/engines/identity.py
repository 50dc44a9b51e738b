"""Opens ``olhar.translators.identity``."""

from pathlib import Path

from olhar.translators import Translator, identity


def opened(folder: Path) -> Translator:
    return identity.open(identity.Options(), "en", "pt")
