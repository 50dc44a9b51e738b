"""What training starts from: brought to this disk, converted once, refused where it does not fit together."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from olhar.conversion import _hub
from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, StartingPoint, TokenizerShape, TowerShape
from olhar.families import load, read_tokenizer
from olhar.stages._start import adapter_at_hand, at_hand, digests
from tests.conversion.llava_goldens import source
from tests.flow.miniature import language_model

TOWER, TEXT = TowerShape(), LanguageModelShape()


def start(checkpoint: Path | str, family: str = "llava", **more: Any) -> StartingPoint:
    return StartingPoint(family=family, checkpoint=str(checkpoint), **more)


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.iterdir()}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    found = at_hand(start(source("vitucano", tmp_path / "foreign")), tmp_path / "ours")
    assert isinstance(found, Path)
    return found


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_foreign_checkpoint_is_converted_once(tmp_path: Path) -> None:
    foreign, folder = source("vitucano", tmp_path / "foreign"), tmp_path / "train" / "start"
    assert at_hand(start(foreign), folder) == folder
    before = state_of(folder)
    assert load(folder).family_name == "llava" and not folder.with_name("start.partial").exists()
    assert at_hand(start(foreign), folder) == folder
    assert state_of(folder) == before, "a finished conversion is used as it is"


def test_a_folder_of_ours_is_used_where_it_lies(ours: Path, tmp_path: Path) -> None:
    assert at_hand(start(ours), tmp_path / "start") == ours
    assert not (tmp_path / "start").exists()
    with pytest.raises(UserError, match="takes no base"):
        at_hand(start(ours, base="somewhere"), tmp_path / "start")


def test_a_checkpoint_of_another_family_is_refused_before_anything_is_written(ours: Path, tmp_path: Path) -> None:
    for checkpoint in (ours, tmp_path / "foreign"):
        with pytest.raises(UserError, match="family llava, and the recipe says internvl"):
            at_hand(start(checkpoint, "internvl"), tmp_path / "start")
    assert not (tmp_path / "start").exists()
    (tmp_path / "start").mkdir()
    shutil.copytree(ours, tmp_path / "start", dirs_exist_ok=True)
    with pytest.raises(UserError, match="recipe says internvl"):
        at_hand(start(tmp_path / "foreign", "internvl"), tmp_path / "start")


def test_an_adapters_base_is_passed_on(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden"
    adapter = tmp_path / "adapter"
    shutil.copytree(golden / "llava15_lora", adapter)
    base = source("llava15", tmp_path / "base")
    found = at_hand(start(adapter, base=str(base)), tmp_path / "start")
    alone = at_hand(start(base), tmp_path / "alone")
    assert isinstance(found, Path) and isinstance(alone, Path)
    one, other = (load_file(folder / "model.safetensors") for folder in (found, alone))
    name = "language_model.model.layers.0.self_attn.q_proj.weight"
    assert one.keys() == other.keys() and not torch.equal(one[name], other[name])


def test_parts_become_folders_and_shapes_stay(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = ours.with_name("snapshots") / "0123abc"
    shutil.copytree(ours, snapshot)
    monkeypatch.setattr(_hub, "_fetched", lambda name: snapshot)
    parts = ModelParts(family="llava", tower=TOWER, language_model=TEXT, tokenizer="organisation/name")
    found = at_hand(parts, ours.with_name("start"))
    assert isinstance(found, ModelParts) and (found.tower, found.language_model) == (TOWER, TEXT)
    assert found.tokenizer == str(snapshot)
    assert digests(parts) == {"tokenizer": "0123abc"}, "of the hub's folders the commit"
    assert digests(parts.model_copy(update={"tokenizer": TokenizerShape(mixture="m")})) == {}
    assert digests(parts.model_copy(update={"tokenizer": str(snapshot)})) != {"tokenizer": "0123abc"}


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    parts = ModelParts(family="llava", tower="nowhere", language_model=TEXT, tokenizer=TokenizerShape(mixture="m"))
    with pytest.raises(UserError, match="no such file or folder"):
        at_hand(parts, tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        digests(start("nowhere"))


def test_an_adapter_to_go_on_with_is_found(ours: Path, tmp_path: Path) -> None:
    assert adapter_at_hand(start(ours)) is None
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        adapter_at_hand(start(ours, adapter=str(tmp_path / "a")))
    (tmp_path / "a" / "adapter_config.json").write_text("{}")
    assert adapter_at_hand(start(ours, adapter=str(tmp_path / "a"))) == tmp_path / "a"


def without_token(folder: Path) -> None:
    row = json.loads((folder / "tokenizer.json").read_text())
    row["added_tokens"] = [token for token in row["added_tokens"] if token["content"] != "<image>"]
    row["model"]["vocab"].pop("<image>", None)
    (folder / "tokenizer.json").write_text(json.dumps(row))


def text_config(folder: Path, **changes: Any) -> None:
    row = json.loads((folder / "config.json").read_text())
    edit(folder / "config.json", text_config=row["text_config"] | changes)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (without_token, "does not know <image>"),
        (lambda folder: edit(folder / "config.json", image_token_index=7), r"<image> is \d+, and config.json says 7"),
        (lambda folder: text_config(folder, vocab_size=300), "ids up to 503, and there are 300 embeddings"),
        (lambda folder: text_config(folder, eos_token_id=50000), "eos_token_id is 50000, and it has 504 tokens"),
    ],
)
def test_a_tokenizer_that_is_not_the_checkpoints_is_refused(ours: Path, harm: Any, told: str, tmp_path: Path) -> None:
    harm(ours)
    with pytest.raises(UserError, match=told):
        at_hand(start(ours), tmp_path / "start")


def test_a_tokenizer_that_is_not_the_language_models_is_refused(ours: Path, tmp_path: Path) -> None:
    parts = ModelParts(family="llava", tower=TOWER, language_model=str(tmp_path), tokenizer=str(ours))
    for config, told in (
        ({"vocab_size": 100}, "has 100 embeddings"),
        ({"eos_token_id": [2, 900]}, "eos_token_id is 900"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 600} | config))
        with pytest.raises(UserError, match=told):
            at_hand(parts, tmp_path / "start")
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 600, "eos_token_id": 2, "pad_token_id": -1}))
    assert isinstance(at_hand(parts, tmp_path / "start"), ModelParts)


def test_a_digest_tells_content_not_place_or_time(ours: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(ours, copy, copy_function=shutil.copyfile)
    assert digests(start(ours)) == digests(start(copy)) and digests(start(ours)).keys() == {"checkpoint"}


@pytest.mark.parametrize("name", ["multi_modal_projector.linear_2.bias", "language_model.lm_head.weight"])
def test_a_digest_tells_two_checkpoints_of_one_shape_apart(ours: Path, name: str) -> None:
    """Sizes and headers are the same; one went on learning, be it only a row that was added to its vocabulary."""
    before, path = digests(start(ours)), ours / "model.safetensors"
    content = bytearray(path.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    last = 8 + length + json.loads(content[8 : 8 + length])[name]["data_offsets"][1] - 1
    content[last] ^= 1
    path.write_bytes(bytes(content))
    assert digests(start(ours)) != before


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "olhar.json", "more.bin"])
def test_a_digest_follows_every_file(ours: Path, file: str) -> None:
    (ours / "more.bin").write_bytes(bytes(50_000))
    before, path = digests(start(ours)), ours / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))
    assert digests(start(ours)) != before


def test_a_damaged_weight_file_has_a_digest_too(ours: Path) -> None:
    """Loading tells what is wrong with it."""
    for content in (b"", b"\xff" * 9, b"\x02" + bytes(7) + b"[]"):
        (ours / "model.safetensors").write_bytes(content)
        assert digests(start(ours))


def test_a_tokenizer_of_sentencepiece_alone_is_read(tmp_path: Path) -> None:
    """Vicuna's folder holds no tokenizer.json."""
    words = language_model(tmp_path / "words", "vicuna")
    parts = ModelParts(family="llava", tower=TOWER, language_model=str(words), tokenizer=str(words))
    found = at_hand(parts, tmp_path / "start")
    assert isinstance(found, ModelParts) and found.tokenizer == str(tmp_path / "start")
    made = read_tokenizer(tmp_path / "start")
    assert made.token_to_id("</s>") == 2 and made.get_vocab_size() == 500
    before = (tmp_path / "start" / "tokenizer.json").stat().st_mtime_ns
    assert at_hand(parts, tmp_path / "start") == found
    assert (tmp_path / "start" / "tokenizer.json").stat().st_mtime_ns == before


def test_words_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    words, other = (language_model(tmp_path / kind, kind) for kind in ("tucano", "qwen"))
    parts = ModelParts(family="llava", tower=TOWER, language_model=str(words), tokenizer=str(other))
    with pytest.raises(UserError, match="'<unk>' is 0 in the model's own, and None in this one"):
        at_hand(parts, tmp_path / "start")
    added = shutil.copytree(words, tmp_path / "added")
    tokenizer = read_tokenizer(added)
    tokenizer.add_special_tokens(["<new>"])
    tokenizer.save(str(added / "tokenizer.json"))
    assert at_hand(parts.model_copy(update={"tokenizer": str(added)}), tmp_path / "start")
