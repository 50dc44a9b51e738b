"""The blocks of the cookbook, and of what the README shows of it, run as they stand on small checkpoints.

The checkpoints lie in a working directory under the names that the pages use: no snippet is changed to be run.
"""

import ast
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from olhar.cli import app
from tests.conversion.llava_goldens import GOLDEN, TOWER, Weights, source

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cookbook.md"
PARTS = re.compile(
    r"^## (?P<section>[^\n]*)$|^```(?P<kind>sh|python)(?: needs=(?P<needs>\w+))?\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
NEVER_RUN = {"flash_attn": "a GPU", "vllm": "a server in an environment of its own"}
TOKENS = 4  # an answer of weights that were never trained is cut here

HUB_TOWER = "openai/clip-vit-large-patch14-336"
ORIGINALS = {  # which golden lies under which name, by section
    "ViTucano-1b5": {"TucanoBR/ViTucano-1b5-v1": "vitucano"},
    "LLaVA-1.5": {"liuhaotian/llava-v1.5-7b": "llava15", "llava-pt-lora": "llava15_lora"},
    "ViP-LLaVA-7b": {"mucai/vip-llava-7b": "vipllava"},
    "Vintern-3B-beta": {"5CD-AI/Vintern-3B-beta": "internvl_base"},
    "LLaVA-OneVision-0.5b": {"lmms-lab/llava-onevision-qwen2-0.5b-si": "llava_onevision"},
}
IN_TRANSFORMERS_LAYOUT = {  # made of the original by converting it
    "ViP-LLaVA-7b": ("mucai/vip-llava-7b", "llava-hf/vip-llava-7b-hf", "--tower", HUB_TOWER),
    "LLaVA-OneVision-0.5b": (
        "lmms-lab/llava-onevision-qwen2-0.5b-si",
        "llava-hf/llava-onevision-qwen2-0.5b-si-hf",
    ),
}


@dataclass(frozen=True)
class Block:
    section: str
    line: int
    kind: str
    needs: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.section}, line {self.line}"


def read(path: Path) -> list[Block]:
    page = path.read_text(encoding="utf-8")
    section, found = "", []
    for part in PARTS.finditer(page):
        section = part["section"] or section
        if part["kind"]:
            line = page.count("\n", 0, part.start()) + 2
            found.append(Block(section, line, part["kind"], part["needs"], part["text"]))
    return found


BLOCKS = read(PAGE)
SECTIONS = list(dict.fromkeys(block.section for block in BLOCKS))
SHOWN = [block for block in read(ROOT / "README.md") if block.section == "Published models run here"]


def commands(block: Block) -> list[list[str]]:
    return [words for line in block.text.splitlines() if (words := shlex.split(line, comments=True))]


class Kitchen:
    """A working directory in which sections find what they name; each is prepared when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ready: set[str] = set()

    def prepare(self, section: str) -> None:
        """Lay out a section's originals and run its ``olhar convert`` lines; for a section of no model, all of them."""
        for name in SECTIONS if section not in ORIGINALS else [section]:
            if name in ORIGINALS and name not in self._ready:
                self._ready.add(name)
                self._lay_out(name)
                for block in (block for block in BLOCKS if block.section == name and block.kind == "sh"):
                    for words in commands(block):
                        if words[:2] == ["olhar", "convert"]:
                            olhar(*words[1:])

    def _lay_out(self, section: str) -> None:
        for name, golden in ORIGINALS[section].items():
            if golden in ("llava15", "vipllava"):
                source(golden, self.folder / name, without_tower)
                shutil.rmtree(self.folder / HUB_TOWER, ignore_errors=True)
                shutil.copytree(self.folder / name / "vision_tower", self.folder / HUB_TOWER)
                shutil.rmtree(self.folder / name / "vision_tower")
            else:
                shutil.copytree(GOLDEN / golden, self.folder / name)
        if section in IN_TRANSFORMERS_LAYOUT:
            original, target, *options = IN_TRANSFORMERS_LAYOUT[section]
            olhar("convert", original, target, *options)
            (self.folder / target / "olhar.json").unlink()


def without_tower(weights: Weights) -> Weights:
    """As the published files are: they name the tower and do not hold it."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(TOWER)}


def olhar(*words: str) -> str:
    """Run a command in this process; what a conversation is told comes from its standard input."""
    result = CliRunner().invoke(app, list(words), input="O que é isto?\n", catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kitchen]:
    folder = tmp_path_factory.mktemp("cookbook")
    noise = np.random.default_rng(0)
    for name, (width, height) in {"photo.jpg": (120, 80), "second.jpg": (70, 90)}.items():
        Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    film(folder / "clip.mp4")
    siglip = folder / "google" / "siglip-so400m-patch14-384"
    siglip.mkdir(parents=True)
    shutil.copy(GOLDEN / "llava_onevision" / "vision_tower_config.json", siglip / "config.json")
    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(folder)
    torch.set_num_threads(1)
    yield Kitchen(folder)
    torch.set_num_threads(threads)
    os.chdir(before)


def film(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(0, 240, 24):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GenerationMixin

    whole = GenerationMixin.generate

    def generate(self: Any, *args: Any, **options: Any) -> Any:
        return whole(self, *args, **{**options, "max_new_tokens": TOKENS})

    monkeypatch.setattr(GenerationMixin, "generate", generate)


@pytest.fixture(autouse=True)
def packable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """bitsandbytes' way for the newest processors packs 64 columns and 32 rows at once; these layers have fewer."""
    block = request.node.callspec.params.get("block") if hasattr(request.node, "callspec") else None
    if block is None or "4bit" in block.text:
        monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)


def run(block: Block) -> dict[str, Any]:
    """Run a block; of a Python one, the names it leaves."""
    if block.kind == "python":
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
        return names
    for words in commands(block):
        assert words[0] == "olhar", words
        if words[1] != "convert":
            olhar(*words[1:])
    return {}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.needs not in NEVER_RUN], ids=str)
def test_a_block_runs_as_it_stands(block: Block, kitchen: Kitchen) -> None:
    if block.needs and find_spec(block.needs) is None:
        pytest.skip(f"needs {block.needs}")
    kitchen.prepare(block.section)
    run(block)


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_the_readme_runs_as_it_stands(block: Block, kitchen: Kitchen) -> None:
    kitchen.prepare("ViTucano-1b5")
    run(block)


def test_plain_transformers_answers_as_olhar_does(kitchen: Kitchen) -> None:
    kitchen.prepare("ViTucano-1b5")
    ours, theirs = (block for block in BLOCKS if block.section == "ViTucano-1b5" and block.kind == "python")
    answer = run(ours)["assistant"].ask("Descreva a imagem.", "photo.jpg")
    names = run(theirs)
    new = names["output"][0, names["inputs"]["input_ids"].shape[1] :]
    assert len(new) == TOKENS and names["processor"].decode(new, skip_special_tokens=True).strip() == answer.strip()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.needs], ids=str)
def test_what_is_not_run_can_be_read(block: Block) -> None:
    """Python compiles, and what it imports from packages that are here is there; command lines are split."""
    if block.kind == "sh":
        assert all(words[0] in ("olhar", block.needs) for words in commands(block))
        return
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and find_spec(node.module.partition(".")[0]):
            module = import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]


def test_the_page_says_what_is_not_run() -> None:
    needs = {block.needs for block in BLOCKS if block.needs}
    assert needs == {"torchvision", *NEVER_RUN}
    last = PAGE.read_text(encoding="utf-8").partition("## What is tested")[2]
    assert not [name for name in needs if name not in last]


def test_every_section_converts_and_asks() -> None:
    for section in ORIGINALS:
        texts = "\n".join(block.text for block in BLOCKS if block.section == section)
        assert "olhar convert" in texts and "olhar chat" in texts and "olhar.load" in texts, section


def test_the_cards_fail_as_the_table_says(kitchen: Kitchen, caplog: pytest.LogCaptureFixture) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, pipeline

    caplog.set_level("ERROR", "transformers")  # a warning about the old task is itself malformed
    kitchen.prepare("LLaVA-1.5")
    with pytest.raises(ValueError, match="llava_llama"):
        AutoConfig.from_pretrained("liuhaotian/llava-v1.5-7b")
    for option in ("load_in_4bit", "use_flash_attention_2"):
        with pytest.raises(TypeError, match=option):
            AutoModelForImageTextToText.from_pretrained("llava-1.5", **{option: True})
    pipe = pipeline("image-to-text", model="llava-1.5")
    with pytest.raises(ValueError, match="You must provide text for this pipeline"):
        pipe(Image.open("photo.jpg"), prompt="USER: <image>\n?", generate_kwargs={"max_new_tokens": 8})
    for section, folder in (("LLaVA-OneVision-0.5b", "onevision"), ("Vintern-3B-beta", "vintern")):
        kitchen.prepare(section)
        if find_spec("torchvision") is None:
            with pytest.raises((ImportError, ValueError), match=r"(?i)torchvision"):
                AutoProcessor.from_pretrained(folder)


def test_four_bits_leave_out_what_the_page_says(kitchen: Kitchen) -> None:
    kitchen.prepare("LLaVA-1.5")
    for block in (block for block in BLOCKS if block.kind == "python" and "4bit" in block.text):
        names = run(block)
        model = (
            names["model"] if "model" in names else names["olhar"].load("llava-1.5", quantize="4bit").checkpoint.model
        )
        packed = {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
        assert packed and all(name.startswith("model.language_model.") for name in packed)


def test_the_classes_of_the_table_are_those_of_the_folders(kitchen: Kitchen) -> None:
    rows = re.findall(r"^\| (`.*?`) \| `(\w+)` \| (?:yes|no)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 4
    kitchen.prepare(SECTIONS[-1])
    for folders, name in rows:
        for folder in re.findall(r"`([\w.-]+)`", folders):
            config = json.loads((kitchen.folder / folder / "config.json").read_text(encoding="utf-8"))
            assert config["architectures"] == [name]
