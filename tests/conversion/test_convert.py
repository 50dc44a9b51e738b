"""What every conversion promises, whatever the layout: whole or not at all, the same bytes each time, all told."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from olhar.conversion.convert import convert
from olhar.conversion.report import table
from olhar.core.errors import UserError
from olhar.families import load
from tests.conversion.conftest import GOLDEN, Tensors, edit, rewrite, sharded, split

COPIED = Callable[..., Path]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights(folder: Path) -> Tensors:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ViTucano's golden checkpoint, converted straight from where it lies."""
    folder = tmp_path_factory.mktemp("converted") / "vitucano"
    convert(GOLDEN / "vitucano", folder)
    return folder


def test_converting_twice_gives_the_same_bytes(converted: Path, tmp_path: Path) -> None:
    convert(GOLDEN / "vitucano", tmp_path / "again")
    assert files(tmp_path / "again") == files(converted)


@pytest.mark.parametrize("layout", ["shards", "pickles", "parts"])
def test_every_file_layout_gives_the_same_bytes(converted: Path, copied: COPIED, tmp_path: Path, layout: str) -> None:
    folder = copied("vitucano")
    split(folder) if layout == "parts" else sharded(folder, layout == "pickles")
    convert(folder, tmp_path / "target")
    assert files(tmp_path / "target")["model.safetensors"] == files(converted)["model.safetensors"]


def test_a_converted_folder_converts_to_itself(converted: Path, tmp_path: Path) -> None:
    """Weights, tokenizer, settings, prompt and origin: all stay."""
    report = convert(converted, tmp_path / "target")
    assert files(tmp_path / "target") == files(converted)
    assert not report.added and not report.left_out and report.layout == "transformers' own"


@pytest.mark.parametrize(
    ("names", "golden"), [("vitucano", "vitucano"), ("llava", "llava15"), ("vipllava", "vipllava")]
)
def test_names_on_disk_are_those_of_transformers_4(copied: COPIED, tmp_path: Path, names: str, golden: str) -> None:
    """Lists taken from ``state_dict()`` of transformers 4.44.2, which loads these folders with the same logits."""
    folder = copied(golden)
    if golden == "vipllava":  # its tokenizer is LLaVA's, and its name of a tower is no folder's
        shutil.copytree(GOLDEN / "llava15" / "tokenizer", folder / "tokenizer")
    convert(folder, tmp_path / "target", tower=folder / "vision_tower" if golden == "vipllava" else None)
    listed = (GOLDEN / "classic_names" / f"{names}.txt").read_text().split()
    assert sorted(weights(tmp_path / "target")) == listed
    with safe_open(tmp_path / "target" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_report_tells_all(tmp_path: Path) -> None:
    report = convert(GOLDEN / "llava15_lora", tmp_path / "target")
    assert report.family == "llava" and report.spoken.prompt == "vicuna"
    assert sum(row.tensors for row in report.rows) == len(weights(tmp_path / "target"))
    assert sum(row.parameters for row in report.rows) == sum(t.numel() for t in weights(tmp_path / "target").values())
    merged = next(row for row in report.rows if "LoRA" in row.how and row.part == "language")
    assert (merged.tensors, merged.before, merged.after) == (14, "model.layers", "model.language_model.layers")
    assert any("<image>" in line for line in report.added) and any("a row" in line for line in report.added)
    assert json.loads(json.dumps(report.to_json()))["rows"][0]["part"] == "vision"
    screen = StringIO()
    Console(file=screen, width=100).print(table(report))
    shown = " ".join(screen.getvalue().split())
    assert all(word in shown for word in ("merged with a LoRA", "vicuna/v1", "--prompt", "<image>", "1 more row"))


def test_new_rows_are_the_mean_of_the_others(converted: Path) -> None:
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        before, after = load_file(GOLDEN / "vitucano" / "model.safetensors")[name], weights(converted)[name]
        assert torch.equal(after[:-1], before) and torch.equal(after[-1], before.mean(dim=0))
    config = json.loads((converted / "config.json").read_text())
    assert config["image_token_index"] == 503 and config["text_config"]["vocab_size"] == 504
    generation = json.loads((converted / "generation_config.json").read_text())
    assert generation["suppress_tokens"] == [503]


def test_room_that_is_there_is_used(copied: COPIED, tmp_path: Path) -> None:
    """A table with spare rows stays as long as it is."""
    folder = copied("vitucano")
    edit(folder / "config.json", text_config=config(folder)["text_config"] | {"vocab_size": 512})

    def longer(tensors: Tensors) -> Tensors:
        for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
            tensors[name] = torch.cat((tensors[name], torch.ones(9, 64)))
        return tensors

    rewrite(folder, longer)
    report = convert(folder, tmp_path / "target")
    assert len(weights(tmp_path / "target")["language_model.lm_head.weight"]) == 512 and len(report.added) == 1
    assert config(tmp_path / "target")["image_token_index"] == 503


def test_tokens_beyond_the_table_get_rows_of_their_own(copied: COPIED, tmp_path: Path) -> None:
    """As where a padding token was added to the tokenizer and never to the model."""
    folder = copied("vitucano")
    edit(folder / "config.json", text_config=config(folder)["text_config"] | {"vocab_size": 500})
    tables = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")
    rewrite(folder, lambda tensors: tensors | {name: tensors[name][:500].clone() for name in tables})
    report = convert(folder, tmp_path / "target")
    assert weights(tmp_path / "target")["language_model.lm_head.weight"].shape == (504, 64)
    told = next(line for line in report.added if "embeddings" in line)
    assert told.startswith("4 rows") and all(token in told for token in ("<pad>", "<system>", "<image>"))


def config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


def test_mixed_types_stay_as_they_are_stored(copied: COPIED, tmp_path: Path) -> None:
    folder = copied("vitucano")
    rewrite(
        folder, lambda tensors: {k: v.bfloat16() if k.startswith("language_model") else v for k, v in tensors.items()}
    )
    report = convert(folder, tmp_path / "target")
    found, before = weights(tmp_path / "target"), load_file(folder / "model.safetensors")
    assert {row.dtype for row in report.rows if row.part.startswith("language")} == {"bfloat16"}
    name = "language_model.model.layers.0.mlp.up_proj.weight"
    assert found[name].dtype == torch.bfloat16 and torch.equal(found[name], before[name])
    assert found["multi_modal_projector.linear_1.weight"].dtype == torch.float32
    assert config(tmp_path / "target")["torch_dtype"] == config(tmp_path / "target")["dtype"] == "bfloat16"


def test_tables_that_classes_compute_are_left_out(copied: COPIED, tmp_path: Path) -> None:
    folder = copied("vitucano")
    tables = {
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "vision_tower._vision_tower.vision_model.embeddings.position_ids": torch.arange(16)[None],
    }
    rewrite(folder, lambda tensors: tensors | tables)
    report = convert(folder, tmp_path / "target")
    assert len(report.left_out) == 2 and len(weights(tmp_path / "target")) == 89


@pytest.mark.parametrize("equal", [True, False])
def test_a_head_that_is_tied_is_written_once(copied: COPIED, tmp_path: Path, equal: bool) -> None:
    folder = copied("vitucano", tie_word_embeddings=True)
    edit(folder / "config.json", text_config=config(folder)["text_config"] | {"tie_word_embeddings": True})
    if equal:
        name = "language_model.lm_head.weight"
        rewrite(folder, lambda tensors: tensors | {name: tensors["language_model.model.embed_tokens.weight"].clone()})
        report = convert(folder, tmp_path / "target")
        assert "lm_head.weight" in report.left_out and len(weights(tmp_path / "target")) == 88
        assert load(tmp_path / "target").model.config.tie_word_embeddings
    else:
        with pytest.raises(UserError, match="differs from the input embeddings"):
            convert(folder, tmp_path / "target")


def test_where_it_lay_is_not_written_down(converted: Path) -> None:
    assert json.loads((converted / "olhar.json").read_text())["origin"] == {
        "source": "vitucano",
        "layout": "TinyLLaVA",
        "vocabulary": 503,
    }
    assert not any(str(GOLDEN.parent).encode() in content for content in files(converted).values())


def test_another_prompt_may_be_asked_for(tmp_path: Path) -> None:
    report = convert(GOLDEN / "vitucano", tmp_path / "a", prompt="vicuna/v1")
    assert (report.spoken.prompt, report.spoken.variant, report.spoken.language) == ("vicuna", "v1", "pt")
    report = convert(GOLDEN / "llava15", tmp_path / "b", language="vi")
    assert (report.spoken.prompt, report.spoken.language, report.spoken.system) == ("vicuna", "vi", None)
    assert load(tmp_path / "b").spoken == report.spoken


@pytest.mark.parametrize(
    ("options", "told"),
    [({"prompt": "vicunha"}, "vicuna"), ({"prompt": "vicuna/v9"}, "v9"), ({"language": "xx"}, "xx")],
)
def test_a_prompt_that_does_not_exist_is_told(tmp_path: Path, options: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        convert(GOLDEN / "vitucano", tmp_path / "target", **options)
    assert not any(tmp_path.iterdir())


def test_a_target_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    for target in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="already"):
            convert(GOLDEN / "vitucano", target)
    assert files(tmp_path) == {"mine.txt": b"kept"}
    (tmp_path / "empty").mkdir()
    convert(GOLDEN / "vitucano", tmp_path / "empty")
    assert (tmp_path / "empty" / "olhar.json").is_file()


def until(count: int, end: Callable[[], None]) -> Callable[..., Iterable[Any]]:
    """A ``track`` that ends everything after some tensors."""

    def track(items: Iterable[Any], *_: Any) -> Iterator[Any]:
        for number, item in enumerate(items):
            if number == count:
                end()
            yield item

    return track


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        convert(GOLDEN / "vitucano", tmp_path / "target", track=until(9, fail))
    assert not any(tmp_path.iterdir())


def test_a_kill_leaves_only_what_the_next_call_starts_anew(converted: Path, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            convert(GOLDEN / "vitucano", tmp_path / "target", track=until(9, lambda: os._exit(9)))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["target.partial"]
    convert(GOLDEN / "vitucano", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"] and files(tmp_path / "target") == files(converted)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("olhar.families._writing.write_weights", full)
    with pytest.raises(UserError, match="No space left"):
        convert(GOLDEN / "vitucano", tmp_path / "target")
    assert not any(tmp_path.iterdir())


def test_an_adapter_over_a_converted_folder_keeps_its_prompt(converted: Path, tmp_path: Path) -> None:
    """What was trained further by other tools comes back with everything that olhar knew of its base."""
    base, folder = tmp_path / "base", tmp_path / "adapter"
    shutil.copytree(converted, base)
    edit(base / "olhar.json", variant="chat", pen={"width": 5, "alpha": None})
    folder.mkdir()
    name = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    save_file(
        {f"{name}.lora_{s}.weight": torch.ones(*d) for s, d in (("A", (2, 64)), ("B", (64, 2)))},
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 1, "base_model_name_or_path": "../base"})
    )
    report = convert(folder, tmp_path / "target")
    assert (report.spoken.prompt, report.spoken.variant) == ("tucano", "chat")
    said = json.loads((tmp_path / "target" / "olhar.json").read_text())
    assert said["pen"] == {"width": 5, "alpha": None} and said["origin"]["layout"] == "TinyLLaVA"
    name = "language_model.model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(weights(tmp_path / "target")[name], weights(converted)[name] + 1.0)
