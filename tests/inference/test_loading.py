"""Where a model runs, how exact, under which prompt; and what is said where that is impossible."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Turn
from olhar.families import Loading, _loading
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation

PICTURE = Callable[[int], str]
SHORT = Generation(max_new_tokens=9)


def logits(assistant: Assistant, path: str) -> torch.Tensor:
    """(vocabulary,) of the first token of an answer about a picture."""
    read = assistant._read([Turn("user", (ImageRef(path), "Que coisa é esta?"))])
    with torch.inference_mode():
        inputs = assistant._inputs([read], assistant._features.of(read.seen))
        found: torch.Tensor = assistant.checkpoint.model(**inputs).logits[0, -1].float()
    return found


def held(assistant: Assistant, part: str) -> int:
    """Bytes of the weights of the linear layers in a part of the model."""
    modules = assistant.checkpoint.model.get_submodule(part).modules()
    layers = [module for module in modules if isinstance(module, torch.nn.Linear)]
    assert layers
    return sum(layer.weight.nbytes for layer in layers)


@pytest.fixture(scope="module")
def wide(made: Callable[..., Path]) -> Path:
    """Layers as wide as bitsandbytes packs together on a CPU."""
    return made(hidden_size=64, intermediate_size=128)


@pytest.fixture(scope="module")
def exact(saved: Path) -> Assistant:
    return Assistant.load(saved)


def test_number_types(saved: Path, exact: Assistant, picture: PICTURE) -> None:
    assert {tensor.dtype for tensor in exact.checkpoint.model.parameters()} == {torch.float32}
    bounds: dict[Any, float] = {"float32": 1e-6, "bfloat16": 0.1, "float16": 0.02}
    for name, bound in bounds.items():
        assistant = Assistant.load(saved, Loading(dtype=name))
        assert {tensor.dtype for tensor in assistant.checkpoint.model.parameters()} == {getattr(torch, name)}
        one, other = logits(exact, picture(1)), logits(assistant, picture(1))
        difference = ((one - other).norm() / one.norm()).item()
        assert difference <= bound and (difference > 0) == (name != "float32"), (name, difference)
        assert assistant.ask("Há?", picture(1), generation=SHORT)
        assert assistant.chat(picture(1), generation=SHORT).say("Há?")


def test_attention_implementations_agree(saved: Path, exact: Assistant, picture: PICTURE) -> None:
    pair = [Assistant.load(saved, Loading(attention=name)) for name in ("eager", "sdpa")]
    names = [one.checkpoint.model.config.get_text_config()._attn_implementation for one in pair]
    assert names == ["eager", "sdpa"]
    assert (logits(pair[0], picture(1)) - logits(pair[1], picture(1))).abs().max() < 1e-5
    eager, sdpa = (one.answers([[Turn("user", (ImageRef(picture(2)), "Há?"))]] * 2, generation=SHORT) for one in pair)
    assert eager == sdpa == [exact.ask("Há?", picture(2), generation=SHORT)] * 2


@pytest.mark.parametrize(
    ("loading", "said"),
    [
        ({"device": "cuda:7"}, "--device"),
        ({"device": "toaster"}, "--device"),
        ({"dtype": "float8"}, "--dtype"),
        ({"quantize": "3bit"}, "--quantize"),
        ({"attention": "telepathy"}, "telepathy"),
    ],
)
def test_what_this_machine_cannot_do_is_told(saved: Path, loading: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Assistant.load(saved, Loading(**loading))
    assert said in str(caught.value)


@pytest.mark.parametrize(("quantize", "share"), [("4bit", 0.16), ("8bit", 0.27)])
def test_quantizing_shrinks_the_language_model_only(wide: Path, picture: PICTURE, quantize: Any, share: float) -> None:
    exact, assistant = Assistant.load(wide), Assistant.load(wide, Loading(quantize=quantize))
    language, vision = "model.language_model", "model.vision_tower"
    layer = f"{language}.layers.1.mlp.down_proj"
    assert held(assistant, language) <= share * held(exact, language)
    assert held(assistant, vision) == held(exact, vision)
    for part in (vision, "model.multi_modal_projector"):
        one, other = (each.checkpoint.model.get_submodule(part).state_dict() for each in (exact, assistant))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    states = torch.randn(5, 128)
    with torch.inference_mode():
        one, other = (each.checkpoint.model.get_submodule(layer)(states) for each in (exact, assistant))
    difference = ((one - other).norm() / one.norm()).item()
    assert 0 < difference < 0.15, "near the exact layer, and not it"
    assert assistant.ask("Há?", picture(1), generation=SHORT)
    chat = assistant.chat(picture(1), generation=SHORT)
    assert chat.say("Há?") == assistant.ask("Há?", picture(1), generation=SHORT)


@pytest.mark.parametrize("package", ["bitsandbytes", "accelerate"])
def test_a_missing_package_is_named_with_its_remedy(saved: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = _loading.find_spec
    monkeypatch.setattr(_loading, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(UserError) as caught:
        Assistant.load(saved, Loading(quantize="4bit"))
    assert package in caught.value.what and "pip install" in caught.value.fix and "[quantize]" in caught.value.fix


def test_another_prompt_or_language_is_taken_by_name(saved: Path) -> None:
    turn = [Turn("user", ("Que é?",))]

    def text(**chosen: str) -> str:
        encoder = Assistant.load(saved, **chosen).encoder
        spoken = Assistant.load(saved, **chosen).checkpoint.spoken
        ids = encoder.question(turn, spoken.language).ids
        return str(encoder.tokenizer.decode(ids, skip_special_tokens=False))

    assert text() == "<|user|> Que é?<|assistant|>"
    assert text(prompt="chatml/hermes").endswith("<|im_end|><|im_start|>user\nQue é?<|im_end|><|im_start|>assistant\n")
    assert text(prompt="vicuna").endswith(": Que é? ASSISTANT:") != text(prompt="vicuna/human")
    assert text(prompt="tucano", language="en") != text(prompt="tucano")
    for bad in ({"prompt": "nobody"}, {"prompt": "vicuna/v9"}, {"language": "tlh"}):
        with pytest.raises(UserError):
            Assistant.load(saved, **bad)


def test_a_system_text_of_its_own_stays_with_its_prompt(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved, folder)
    row = json.loads((folder / "olhar.json").read_text())
    (folder / "olhar.json").write_text(json.dumps(row | {"prompt": "chatml", "system": "Fale."}))
    assert Assistant.load(folder).encoder.system == "Fale."
    assert Assistant.load(folder, prompt="chatml").encoder.system is None
    assert Assistant.load(folder, language="vi").encoder.system is None


def test_a_run_holds_its_published_checkpoint(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "publish").mkdir()
    (tmp_path / "publish" / "model").symlink_to(saved)
    assert Assistant.load(tmp_path).checkpoint.spoken.prompt == "compact"
    with pytest.raises(UserError, match="not a checkpoint"):
        Assistant.load(tmp_path / "publish")
