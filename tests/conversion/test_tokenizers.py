"""A tokenizer is carried over id by id, or refused."""

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.conversion import tokenizers as carried
from olhar.conversion.tokenizers import SHAPES, check_rows, probes, source_tokenizer, verify
from olhar.core.errors import UserError
from olhar.families._tokens import add_tokens
from tests.conversion.conftest import GOLDEN, edit

VITUCANO, LLAVA, QWEN = GOLDEN / "vitucano" / "tokenizer", GOLDEN / "llava15" / "tokenizer", GOLDEN / "internvl_base"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of ViTucano's tokenizer files."""
    shutil.copytree(VITUCANO, tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def words(**vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, **vocabulary}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_the_raw_file_is_the_truth() -> None:
    """Where transformers' class would rebuild it otherwise."""
    from transformers import AutoTokenizer

    found, raw = source_tokenizer(VITUCANO), Tokenizer.from_file(str(VITUCANO / "tokenizer.json"))
    assert all(found.encode(probe).ids == raw.encode(probe).ids for probe in probes())
    rebuilt = AutoTokenizer.from_pretrained(VITUCANO)
    assert any(rebuilt(probe).input_ids != raw.encode(probe).ids for probe in probes()), "or this proves nothing"


def test_probes_hold_every_language_and_every_shape() -> None:
    texts = list(probes())
    assert set(SHAPES) <= set(texts) and len(texts) == len(set(texts)) > 30
    assert all(any(letter in text for text in texts) for letter in "çđ你🙂")


def test_sentencepiece_gives_the_same_ids() -> None:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(LLAVA / "tokenizer.model"))
    found = source_tokenizer(LLAVA)
    for probe in (*probes(), " one blank", "   three", "a", ""):
        assert found.encode(probe, add_special_tokens=False).ids == pieces.encode(probe)
        assert found.encode(probe).ids == [pieces.bos_id(), *pieces.encode(probe)]
        assert found.decode(found.encode(probe).ids) == probe


def test_the_later_kind_puts_no_blank_after_a_special_token(tmp_path: Path) -> None:
    """``legacy`` decides what the original did there."""
    shutil.copytree(LLAVA, tmp_path / "later")
    edit(tmp_path / "later" / "tokenizer_config.json", legacy=False)
    earlier, later = source_tokenizer(LLAVA), source_tokenizer(tmp_path / "later")
    assert all(earlier.encode(probe).ids == later.encode(probe).ids for probe in probes())
    assert earlier.encode("a</s>a").tokens[-2:] == ["</s>", "▁a"] and later.encode("a</s>a").tokens[-2:] == [
        "</s>",
        "a",
    ]


def test_a_sentencepiece_model_that_rewrites_text_is_refused(tmp_path: Path) -> None:
    """Its rules of rewriting would be lost: here it joins blanks, as trainers do unless told otherwise."""
    from sentencepiece import sentencepiece_model_pb2

    shutil.copytree(LLAVA, tmp_path / "joined")
    path = tmp_path / "joined" / "tokenizer.model"
    model = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    model.normalizer_spec.remove_extra_whitespaces = True
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="SentencePiece itself gives other ids") as caught:
        source_tokenizer(tmp_path / "joined")
    assert "one  two" in caught.value.where


@pytest.mark.parametrize(("package", "named"), [("sentencepiece", "sentencepiece"), ("google.protobuf", "protobuf")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, named: str) -> None:
    find = carried.find_spec
    monkeypatch.setattr(carried, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(UserError, match=f"needs {named}") as caught:
        source_tokenizer(LLAVA)
    assert "pip install" in caught.value.fix


def from_parts(folder: Path, **config: Any) -> Path:
    """The byte-level tokenizer as a slow one saves it: vocabulary, merges and added tokens in files of their own."""
    whole = json.loads((QWEN / "tokenizer.json").read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in whole["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *pairs)), encoding="utf-8")
    added = {str(row["id"]): {key: row[key] for key in row if key != "id"} for row in whole["added_tokens"]}
    row = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(row))
    return folder


def test_a_tokenizer_without_its_one_file_is_built_from_its_parts(tmp_path: Path) -> None:
    found, whole = source_tokenizer(from_parts(tmp_path / "parts")), source_tokenizer(QWEN)
    special = "<|im_start|>user\n<img><IMG_CONTEXT></img>\nOi?<|im_end|>\n"
    for probe in (*probes(), special):
        assert found.encode(probe).ids == whole.encode(probe).ids, probe
    assert found.get_vocab() == whole.get_vocab()


def test_a_class_that_cannot_be_built_is_refused_without_running_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = from_parts(
        tmp_path / "parts", tokenizer_class="InternLM2Tokenizer", auto_map={"AutoTokenizer": ["x.X", None]}
    )
    (folder / "x.py").write_text("raise SystemExit")
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asked whether to run code"))
    with pytest.raises(UserError, match="InternLM2Tokenizer"):
        source_tokenizer(folder)


def test_tokens_that_other_files_record_are_known(folder: Path) -> None:
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    raw["added_tokens"] = [row for row in raw["added_tokens"] if row["id"] < 500]
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    found = source_tokenizer(folder)
    assert [found.token_to_id(token) for token in ("<pad>", "<system>", "</system>")] == [500, 501, 502]
    edit(folder / "tokenizer_config.json", added_tokens_decoder=None)
    (folder / "added_tokens.json").write_text('{"</system>": 502, "<pad>": 500, "<system>": 501}')
    assert source_tokenizer(folder).get_vocab() == found.get_vocab()


@pytest.mark.parametrize("recorded", ['{"<pad>": 7}', '{"<new>": 600}'])
def test_files_that_contradict_each_other_are_refused(folder: Path, recorded: str) -> None:
    edit(folder / "tokenizer_config.json", added_tokens_decoder=None)
    (folder / "added_tokens.json").write_text(recorded)
    with pytest.raises(UserError, match="contradict"):
        source_tokenizer(folder)


def test_a_vocabulary_that_its_class_reads_otherwise_is_refused(tmp_path: Path) -> None:
    folder = from_parts(tmp_path / "parts")
    vocabulary = json.loads((folder / "vocab.json").read_text())
    edit(folder / "vocab.json", **{"<|im_end|>": vocabulary.pop("a")})
    with pytest.raises(UserError):
        source_tokenizer(folder)


def test_a_damaged_file_is_told(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="tokenizer"):
        source_tokenizer(folder)


def test_settings_of_training_batches_are_dropped(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert len(source_tokenizer(folder).encode("uma frase mais longa do que cinco")) > 9
    assert len(source_tokenizer(folder).encode("a")) < 9


def test_special_tokens_are_one_id_wherever_they_stand() -> None:
    tokenizer = words(a=1, b=2)
    tokenizer.add_tokens(["<old>"])
    tokenizer.add_special_tokens([AddedToken("<kept>", special=True, normalized=False)])
    assert add_tokens(tokenizer, ("<new>", "<old>", "<kept>")) == ["<new>"]
    assert tokenizer.encode("a<new>b<old><kept>a").ids == [1, 5, 2, 3, 4, 1]


def test_a_word_of_the_vocabulary_becomes_special_with_its_id() -> None:
    tokenizer = words(a=1, b=2, **{"<image>": 3})
    assert tokenizer.encode("a<image>b").ids != [1, 3, 2], "or this proves nothing"
    assert add_tokens(tokenizer, ("<image>",)) == []
    assert tokenizer.encode("a<image>b").ids == [1, 3, 2]


def test_more_tokens_than_embeddings(tmp_path: Path) -> None:
    tokenizer = words(a=1, b=2)
    tokenizer.add_special_tokens(["<x>"])
    assert check_rows(tokenizer, 3, tmp_path) == 4 and check_rows(tokenizer, 9, tmp_path) == 9
    with pytest.raises(UserError, match="ids up to 2, and there are 2 embeddings"):
        check_rows(tokenizer, 2, tmp_path)


@pytest.mark.parametrize("fault", ["other ids", "no special"])
def test_a_folder_that_transformers_reads_otherwise_is_refused(folder: Path, fault: str) -> None:
    """Here: the class name that makes it rebuild the tokenizer, and a token that it splits."""
    tokenizer = source_tokenizer(folder)
    if fault == "no special":
        edit(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
        tokenizer.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    with pytest.raises(UserError, match="cannot be carried over exactly"):
        verify(folder, tokenizer, ("<image>",) if fault == "no special" else ())
