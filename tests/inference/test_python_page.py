"""Every example of the page on the Python interface runs as it stands."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from olhar.families import Spoken, load
from olhar.inference.generation import Generation

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(saved: Path, picture: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the page names; the model reads so little that its answers stay short."""
    there = tmp_path_factory.mktemp("page")
    checkpoint = load(saved)
    checkpoint.model.config.text_config.max_position_embeddings = 1500
    replace(checkpoint, spoken=Spoken("vicuna", "v1", "pt")).save(there / "folder")
    for name, seed in (("photo.jpg", 1), ("second.jpg", 2)):
        Image.open(picture(seed)).save(there / name)
    (there / "clip").mkdir()
    shutil.copy(picture(3), there / "clip" / "0.png")
    return there


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_runs(
    place: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    exec(compile(BLOCKS[number], str(PAGE), "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_page_says_what_there_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(BLOCKS) >= 5
    for name in Generation.__dataclass_fields__:
        assert f"| `{name}`, `--{name.replace('_', '-')}` |" in text
