"""Checkpoints in transformers' own layout, whichever version wrote their names."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from olhar.families._layouts.standard import live_name
from tests.conversion.conftest import GOLDEN, Tensors, edit, rewrite

Rename = Callable[[str], str]
LAYOUTS: dict[str, Rename] = {
    "classic files": lambda name: name,
    "files of 5": lambda name: name.replace("vision_tower.vision_model.", "vision_tower."),
    "live models of 5": lambda name: live_name(name) or "",
    "live models of 4.52": lambda name: (live_name(name) or "").replace("vision_tower.", "vision_tower.vision_model."),
}


@pytest.fixture(scope="module")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classic") / "folder"
    convert(GOLDEN / "vitucano", folder)
    return folder


@pytest.fixture
def foreign(classic: Path, tmp_path: Path) -> Path:
    """The same as if others had written it: nothing says how olhar speaks to it."""
    folder = tmp_path / "foreign"
    shutil.copytree(classic, folder)
    (folder / "olhar.json").unlink()
    return folder


def renamed(folder: Path, rename: Rename) -> None:
    rewrite(folder, lambda tensors: {rename(name): tensor for name, tensor in tensors.items()})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_version_of_the_names_gives_the_same_bytes(
    classic: Path, foreign: Path, tmp_path: Path, layout: str
) -> None:
    renamed(foreign, LAYOUTS[layout])
    report = convert(foreign, tmp_path / "target")
    for name in ("model.safetensors", "tokenizer.json", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "target" / name).read_bytes() == (classic / name).read_bytes(), name
    assert not report.added and not report.left_out


def test_the_image_processor_may_be_a_part_of_the_processor(classic: Path, foreign: Path, tmp_path: Path) -> None:
    """As 5.x writes it."""
    inner = json.loads((foreign / "preprocessor_config.json").read_text())
    (foreign / "preprocessor_config.json").unlink()
    (foreign / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    convert(foreign, tmp_path / "target")
    name = "preprocessor_config.json"
    assert (tmp_path / "target" / name).read_bytes() == (classic / name).read_bytes()


def test_a_half_converted_checkpoint_is_refused(foreign: Path, tmp_path: Path) -> None:
    def half(tensors: Tensors) -> Tensors:
        names = {"multi_modal_projector.linear_1.": "mlp1.1."}
        return {next((v + n[len(k) :] for k, v in names.items() if n.startswith(k)), n): t for n, t in tensors.items()}

    rewrite(foreign, half)
    with pytest.raises(UserError, match="half") as caught:
        convert(foreign, tmp_path / "target")
    assert "mlp1.1." in caught.value.what and not (tmp_path / "target").exists()


def test_one_tensor_under_two_names_is_refused(foreign: Path, tmp_path: Path) -> None:
    name = "multi_modal_projector.linear_1.weight"
    rewrite(foreign, lambda tensors: tensors | {f"model.{name}": tensors[name].clone()})
    with pytest.raises(UserError, match="twice"):
        convert(foreign, tmp_path / "target")


def test_quantised_weights_are_refused(foreign: Path, tmp_path: Path) -> None:
    edit(foreign / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(UserError, match="quantised"):
        convert(foreign, tmp_path / "target")


TEMPLATES = {
    "as ours": None,
    "another": "USER: <image>\n{{ messages[0]['content'][1]['text'] }}",
    "text only": "{{ messages[0]['content'] + 'x' }}",
    "broken": "{% if %}",
}


@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_that_asks_otherwise_is_told(foreign: Path, tmp_path: Path, place: str, kind: str) -> None:
    text = TEMPLATES[kind] or (tmp_path / "foreign" / "chat_template.jinja").read_text(encoding="utf-8")
    (foreign / "chat_template.jinja").unlink()
    edit(foreign / "tokenizer_config.json", chat_template=None)
    if place.endswith("jinja"):
        (foreign / place).write_text(text, encoding="utf-8")
    else:
        content: Any = [{"name": "default", "template": text}] if place == "tokenizer_config.json" else text
        before = json.loads((foreign / place).read_text()) if (foreign / place).exists() else {}
        (foreign / place).write_text(json.dumps(before | {"chat_template": content}))
    options = {"prompt": "tucano/train", "language": "pt"} if kind == "as ours" else {}
    told = [note for note in convert(foreign, tmp_path / "target", **options).notes if "template" in note]
    assert len(told) == (kind != "as ours")
    assert all(("cannot" in note) == (kind in ("text only", "broken")) for note in told)


def test_the_weights_are_compared_with_the_class(foreign: Path, tmp_path: Path) -> None:
    before = load_file(foreign / "model.safetensors")
    rewrite(foreign, lambda tensors: {n: t for n, t in tensors.items() if "linear_2.bias" not in n})
    with pytest.raises(UserError, match=r"linear_2\.bias is missing"):
        convert(foreign, tmp_path / "target")
    rewrite(foreign, lambda _: before | {"multi_modal_projector.linear_2.bias": torch.zeros(5)})
    with pytest.raises(UserError, match=r"linear_2\.bias .*\(5,\)"):
        convert(foreign, tmp_path / "target")
