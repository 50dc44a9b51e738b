"""What is learned of a conversation is what the published recipes learned: ids and labels, with converted tokenizers.

The originals stand one id (-200) in for a picture; ours are as many as it has features, and none is learned.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from olhar.conversion.convert import convert
from olhar.core.types import ImageRef, Turn
from olhar.families import Checkpoint, Encoder, feature_ids, load
from olhar.languages import language
from olhar.prompts import prompt, with_placeholder
from tests.conversion.llava_goldens import source

GOLDEN = Path(__file__).parents[1] / "golden"
PICTURE, IGNORED = -200, -100
LLAVA, ONEVISION = ("vitucano", "llava15", "vipllava"), "llava_onevision"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("labels")
    for name in LLAVA:
        convert(source(name, folder / f"{name}-original"), folder / name)
    convert(GOLDEN / ONEVISION, folder / ONEVISION)
    return {name: load(folder / name) for name in (*LLAVA, ONEVISION)}


def turns(conversation: list[dict[str, str]], image: Path) -> list[Turn]:
    """A picture stands where its mark stood; a line break beside a mark at the end is the prompt's."""
    made = []
    for row in conversation:
        text = row["value"].replace("<image>", "").strip()
        shown = (ImageRef(str(image)),) * row["value"].count("<image>")
        made.append(Turn("user" if row["from"] == "human" else "assistant", (*shown, text)))
    return made


def learned(
    checkpoint: Checkpoint, said: list[Turn], name: str, variant: str | None, code: str
) -> tuple[list[int], list[int]]:
    """Ids and labels by our encoder, every picture's run of features drawn together to one ``PICTURE``."""
    tokenizer = with_placeholder(checkpoint.tokenizer)
    encoder = Encoder(prompt(name), variant, tokenizer, checkpoint.family, checkpoint.settings)
    encoded = encoder.rendered(prompt(name).render(said, language(code), variant=variant))
    features, ids, labels = set(feature_ids(checkpoint.model, checkpoint.family)), list[int](), list[int]()
    for id, learns in zip(encoded.ids, encoded.trained, strict=True):
        assert not (learns and id in features)
        if id in features and ids and ids[-1] == PICTURE:
            continue
        ids.append(PICTURE if id in features else id)
        labels.append(id if learns else IGNORED)
    assert len(encoded.ids) > len(ids) or PICTURE not in ids
    return ids, labels


def stored(path: str) -> Any:
    return json.loads((GOLDEN / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("name", LLAVA)
def test_a_fine_tuning_batch(checkpoints: dict[str, Checkpoint], name: str, row: int) -> None:
    golden, image = load_file(GOLDEN / name / "golden.safetensors"), GOLDEN / "llava15" / "image_wide.png"
    known = golden["sft_attention_mask"][row].bool()
    said = turns(stored(f"{name}/golden.json")["sft_samples"][row]["conversations"], image)
    spoken = checkpoints[name].spoken
    found = learned(checkpoints[name], said, spoken.prompt, spoken.variant, spoken.language)
    assert found == (golden["sft_input_ids"][row][known].tolist(), golden["sft_labels"][row][known].tolist())


def test_an_alignment_batch(checkpoints: dict[str, Checkpoint]) -> None:
    golden = load_file(GOLDEN / "vitucano" / "golden.safetensors")
    said = [
        Turn("user", ("?", ImageRef(str(GOLDEN / "llava15" / "image_wide.png")))),
        Turn("assistant", ("O trem azul",)),
    ]
    found = learned(checkpoints["vitucano"], said, "plain", None, "pt")
    assert found == (golden["pretrain_input_ids"][0].tolist(), golden["pretrain_labels"][0].tolist())


MASKS = {
    "v1": ("vicuna", "v1"),
    "llava_v1": ("vicuna", "human"),
    "llava_llama_2": ("llama2", "llava"),
    "plain": ("plain", "caption"),
}


@pytest.mark.parametrize("key", MASKS)
@pytest.mark.parametrize("name", ["llava15", "vipllava"])
def test_every_published_mask(checkpoints: dict[str, Checkpoint], name: str, key: str) -> None:
    facts = stored(f"{name}/label_masking.json")
    conversation = facts["_conversation"][: 2 if key == "plain" else None]
    found = learned(checkpoints[name], turns(conversation, GOLDEN / "llava15" / "image_wide.png"), *MASKS[key], "en")
    mask = facts[f"tok_vicuna_legacy/{key}"]
    assert found == (mask["input_ids"], mask["labels"])
    assert IGNORED in found[1] and any(label != IGNORED for label in found[1])


def test_the_mask_of_llava_next(checkpoints: dict[str, Checkpoint]) -> None:
    mask = stored("label_masks/label_masks.json")["llava_next_qwen_1_5"]
    said = turns(mask["conversations"], GOLDEN / ONEVISION / "s_200x200.png")
    assert learned(checkpoints[ONEVISION], said, "chatml", "qwen_original", "en") == (mask["input_ids"], mask["labels"])
