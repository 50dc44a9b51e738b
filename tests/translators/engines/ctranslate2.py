"""Opens ``olhar.translators.ctranslate2`` on a small model of random weights."""

from pathlib import Path

import pytest

from olhar.translators import Translator, ctranslate2
from tests.translators import tiny_marian


def opened(folder: Path) -> Translator:
    pytest.importorskip("ctranslate2", reason="CTranslate2 is not installed (pip install 'olhar[translate]')")
    model = tiny_marian.converted(tiny_marian.made(folder / "marian"), folder / "converted")
    return ctranslate2.open(ctranslate2.Options(model=str(model), beam=1, max_tokens=24), "en", "pt")
