"""The files of a checkpoint folder: whole, deterministic, and of the kind that older readers understand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from olhar.core.errors import UserError
from olhar.families import _writing
from olhar.families._made import Made, in_memory


def tensors(*names: str) -> dict[str, Made]:
    return {name: in_memory(torch.full((4, 8), float(number))) for number, name in enumerate(names)}  # 128 bytes each


def test_weights_are_what_the_format_s_own_reader_reads(tmp_path: Path) -> None:
    made = {
        "b": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3).T,  # not contiguous
        "a": torch.tensor(3.5, dtype=torch.float16),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor([1, 2], dtype=torch.int64),
    }
    _writing.write_weights(tmp_path, {name: in_memory(value) for name, value in made.items()})
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == made.keys() and [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    for name, value in made.items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype


def test_many_weights_go_into_shards_with_an_index(tmp_path: Path) -> None:
    made = tensors("a", "b", "c", "d", "e")
    _writing.write_weights(tmp_path, made, shard=300)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 5 * 128}
    assert sorted(set(index["weight_map"].values())) == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], made[name].load())


def test_a_tensor_larger_than_a_shard_has_one_of_its_own(tmp_path: Path) -> None:
    _writing.write_weights(tmp_path, tensors("a", "b"), shard=100)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors", ".safetensors"]


def test_a_tensor_that_is_not_what_was_planned_is_a_defect(tmp_path: Path) -> None:
    wrong = Made((4, 8), "float32", lambda: torch.zeros(4, 7))
    with pytest.raises(RuntimeError, match="x became"):
        _writing.write_weights(tmp_path, {"x": wrong})
    assert not any(tmp_path.iterdir())


def test_one_tensor_is_in_memory_at_a_time(tmp_path: Path) -> None:
    alive: list[Any] = []

    def made() -> torch.Tensor:
        import weakref

        assert not [reference for reference in alive if reference() is not None]
        tensor = torch.zeros(4, 8)
        alive.append(weakref.ref(tensor))
        return tensor

    _writing.write_weights(tmp_path, {name: Made((4, 8), "float32", made) for name in "abc"})
    assert len(alive) == 3


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    stale = target.with_name("target.partial")
    stale.mkdir(parents=True)
    (stale / "old").touch()
    with _writing.writing_folder(target) as folder:
        assert folder == stale and not any(folder.iterdir()) and not target.exists()
        (folder / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"] and not stale.exists()


def test_a_folder_that_fails_never_appears(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no"), _writing.writing_folder(tmp_path / "target") as folder:
        (folder / "half").touch()
        raise UserError("no", "here", "")
    assert not any(tmp_path.iterdir())


def test_a_folder_never_takes_the_place_of_another(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(UserError, match="cannot write"), _writing.writing_folder(target):
        target.mkdir()
        (target / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "mine"]


def test_the_type_of_a_folder_is_that_of_most_weights() -> None:
    made = tensors("a", "b") | {"c": in_memory(torch.zeros(9, 9, dtype=torch.bfloat16))}
    assert _writing._common_type(made) == "bfloat16"


def bpe(*merges: tuple[str, str]) -> Tokenizer:
    letters = sorted({letter for pair in merges for part in pair for letter in part})
    pieces = [*letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({piece: id for id, piece in enumerate(dict.fromkeys(pieces))}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


@pytest.mark.parametrize("spaced", [False, True])
def test_merges_are_written_as_older_libraries_read_them(tmp_path: Path, spaced: bool) -> None:
    """As "a b", unless a piece holds a blank itself: then only the newer form is unambiguous."""
    tokenizer = bpe(("a", "b"), (" ", "a")) if spaced else bpe(("a", "b"), ("ab", "a"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"backend": "tokenizers", "tokenizer_class": "TokenizersBackend"}')
    _writing._for_older_readers(tmp_path, "{{ messages }}", {"video_token": "<v>"})
    merges = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["merges"]
    assert merges == ([["a", "b"], [" ", "a"]] if spaced else ["a b", "ab a"])
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("aba").ids == tokenizer.encode("aba").ids
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "extra_special_tokens": {"video_token": "<v>"},
        "chat_template": "{{ messages }}",
    }
