"""Stand-ins for the models of ``labse`` and ``cometkiwi``: to both, a translation that says WRONG is wrong."""

import os
import stat
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

COMET = """
from types import SimpleNamespace

def download_model(name):
    print("fetching", name)
    return name

def load_from_checkpoint(path):
    assert path == "Unbabel/wmt22-cometkiwi-da"
    return SimpleNamespace(predict=predict)

def predict(rows, batch_size, gpus, progress_bar):
    print("predicting")
    assert all(row.keys() == {"src", "mt"} for row in rows)
    return SimpleNamespace(scores=[0.1 if "WRONG" in row["mt"] else 0.9 for row in rows])
"""


class SentenceTransformer:
    def __init__(self, name: str) -> None:
        assert name == "sentence-transformers/LaBSE"

    def encode(self, texts: list[str], normalize_embeddings: bool, show_progress_bar: bool) -> np.ndarray:
        assert normalize_embeddings
        return np.array([[0.0, 1.0] if "WRONG" in text else [1.0, 0.0] for text in texts])


@pytest.fixture(scope="session")
def environment_of_comet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds comet-score, and the modules that its interpreter finds."""
    folder = tmp_path_factory.mktemp("comet")
    (folder / "comet.py").write_text(COMET)
    (folder / "torch.py").write_text(
        "from types import SimpleNamespace\ncuda = SimpleNamespace(device_count=lambda: 0)\n"
    )
    script = folder / "comet-score"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture(autouse=True)
def stand_ins(environment_of_comet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(environment_of_comet), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(environment_of_comet))
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
