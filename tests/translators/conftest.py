"""Engines to test: Apertium where it is installed, and small models of random weights."""

from pathlib import Path

import pytest

from olhar.core.errors import UserError
from olhar.translators import apertium
from tests.translators import tiny_marian


@pytest.fixture(scope="session")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_marian.made(tmp_path_factory.mktemp("models") / "opus")


@pytest.fixture(scope="session")
def converted(marian: Path) -> Path:
    pytest.importorskip("ctranslate2", reason="CTranslate2 is not installed (pip install 'olhar[translate]')")
    return tiny_marian.converted(marian, marian.parent / "converted")


@pytest.fixture(scope="session", params=["pt", "pt-PT"])
def direction(request: pytest.FixtureRequest) -> str:
    """A direction from English that Apertium's installed pairs have."""
    try:
        apertium.open(apertium.Options(), "en", request.param).close()
    except UserError as error:
        pytest.skip(f"Apertium is not installed here: {error.what}")
    return str(request.param)
