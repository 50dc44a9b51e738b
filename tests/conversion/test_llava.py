"""ViTucano and LLaVA-1.5 as they were published: converted, plain transformers computes what the original did."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoProcessor

from olhar.conversion.convert import convert
from olhar.families import Spoken
from tests.conversion.llava_goldens import (
    PICTURES,
    Converted,
    converted,
    facts,
    sft_loss,
    source,
    stored,
    whole,
    with_strategy,
)

CLOSE = {"vitucano": 1e-5, "llava15": 1e-4}
RENAMED = {
    "vitucano": (
        ("language_model.lm_head.", "lm_head."),
        ("language_model.model.", "model.language_model."),
        ("vision_tower._vision_tower.vision_model.", "model.vision_tower."),
        ("connector._connector.0.", "model.multi_modal_projector.linear_1."),
        ("connector._connector.2.", "model.multi_modal_projector.linear_2."),
    ),
    "llava15": (
        ("model.vision_tower.vision_tower.vision_model.", "model.vision_tower."),
        ("model.mm_projector.0.", "model.multi_modal_projector.linear_1."),
        ("model.mm_projector.2.", "model.multi_modal_projector.linear_2."),
        ("model.", "model.language_model."),
        ("", ""),
    ),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Converted]:
    folder = tmp_path_factory.mktemp("llava")
    return {name: converted(source(name, folder / name), folder / f"{name}-converted") for name in CLOSE}


@pytest.fixture(params=CLOSE)
def one(request: pytest.FixtureRequest, both: dict[str, Converted]) -> tuple[str, Converted]:
    return request.param, both[request.param]


def test_every_weight_is_there_unchanged(one: tuple[str, Converted]) -> None:
    name, got = one
    assert whole(got.loading)
    state, weights = got.model.state_dict(), stored(name, "model.safetensors")
    assert len(state) == len(weights)
    for old, value in weights.items():
        before, after = next(rule for rule in RENAMED[name] if old.startswith(rule[0]))
        found = state[after + old[len(before) :]]
        assert torch.equal(found[: len(value)], value), old
        assert all(torch.allclose(row, value.mean(dim=0), atol=1e-7) for row in found[len(value) :])
    disk = load_file(got.folder / "model.safetensors")
    assert {key.split(".")[0] for key in disk} == {"language_model", "vision_tower", "multi_modal_projector"}
    assert "vision_tower.vision_model.embeddings.patch_embedding.weight" in disk, "older readers look for this name"


def test_it_says_how_it_is_spoken_to_and_how_it_sees(both: dict[str, Converted]) -> None:
    vitucano, llava15 = both["vitucano"], both["llava15"]
    assert vitucano.checkpoint.spoken == Spoken("tucano", "train", "pt")
    assert llava15.checkpoint.spoken == Spoken("vicuna", "v1", "en")
    assert (vitucano.settings.fit, vitucano.settings.strategy, vitucano.settings.tokens) == ("squash", "default", 15)
    assert (llava15.settings.fit, llava15.settings.strategy, llava15.settings.tokens) == ("pad", "default", 16)
    assert vitucano.model.config.text_config.num_key_value_heads == 2
    for got in both.values():
        assert got.model.config.vision_feature_layer == -2 and got.model.generation_config.suppress_tokens
        assert got.model.config.image_seq_length == got.settings.tokens


def test_pictures_are_prepared_as_the_original_does(both: dict[str, Converted]) -> None:
    vitucano, llava15 = both["vitucano"], both["llava15"]
    assert torch.equal(vitucano.pixels("wide"), stored("vitucano")["pixel_values"])
    assert torch.equal(llava15.pixels("wide"), stored("llava15")["pixel_values_pad"])
    for name, got in both.items():
        assert (got.pixels("wide", "tall") - stored(name)["sft_pixel_values"][:2]).abs().max() <= 1e-6


def test_a_checkpoint_of_the_alignment_stage_crops(tmp_path: Path) -> None:
    """LLaVA's first stage sets no aspect ratio: the processor cuts the sides off."""
    got = converted(source("llava15", tmp_path / "s", image_aspect_ratio="square"), tmp_path / "t")
    assert got.settings.fit == "crop"
    assert torch.equal(got.pixels("wide"), stored("llava15")["pixel_values_square"])


def test_a_question_has_the_originals_ids(both: dict[str, Converted]) -> None:
    vitucano, asked = both["vitucano"], facts("vitucano")["question"]
    for variant, ids in (("train", "input_ids"), ("chat", "chat_input_ids")):
        assert vitucano.question(asked, variant) == vitucano.expanded(stored("vitucano")[ids][0].tolist())
    llava15 = both["llava15"]
    assert llava15.question("Descreva a imagem.") == llava15.expanded(stored("llava15")["input_ids"][0].tolist())


def test_transformers_own_processor_gives_the_same(one: tuple[str, Converted]) -> None:
    _, got = one
    processor = AutoProcessor.from_pretrained(got.folder)
    content = [{"type": "image"}, {"type": "text", "text": "Descreva a imagem."}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    found = processor(images=[Image.open(PICTURES["wide"].path)], text=text, return_tensors="pt")
    assert found["input_ids"][0].tolist() == got.question("Descreva a imagem.")
    assert (found["pixel_values"] - got.pixels("wide")).abs().max() <= 1e-6


def test_features_logits_and_answers_are_the_originals(one: tuple[str, Converted]) -> None:
    name, got = one
    golden, pixels = stored(name), got.pixels("wide")
    with torch.no_grad():
        features = got.checkpoint.family.patch_features(got.model, pixels)
    assert (features - golden["vision_features"]).abs().max() <= CLOSE[name]
    assert (got.projected(pixels) - golden["projected"]).abs().max() <= CLOSE[name]
    for kind in ("", "chat_")[: 2 if name == "vitucano" else 1]:
        ids = got.expanded(golden[f"{kind}input_ids"][0].tolist())
        assert (got.logits(ids, pixels) - golden[f"{kind}logits"][0]).abs().max() <= CLOSE[name]
        answer = golden[f"{kind}generated_ids"][0].tolist()[1 if name == "llava15" else 0 :]  # there a BOS leads
        assert got.generated(ids, pixels, len(answer)) == answer


def test_a_training_batch_has_the_originals_labels_logits_and_loss(one: tuple[str, Converted]) -> None:
    name, got = one
    loss, differences = sft_loss(got, name)
    assert max(differences) <= CLOSE[name]
    assert loss == pytest.approx(facts(name)["sft_loss"], abs=1e-5)


def test_what_is_wrong_would_be_seen(one: tuple[str, Converted]) -> None:
    """Another strategy, another layer or another fit is far from the original, and a place too many is an error."""
    name, got = one
    golden, pixels = stored(name), got.pixels("wide")
    ids = golden["input_ids"][0].tolist()
    last = golden["logits"][0, -1]
    wrong = with_strategy(got, "full")
    full = got.expanded(ids)
    full.insert(full.index(got.image_id), got.image_id)
    assert wrong.tokens == got.settings.tokens + 1
    moved = got.logits(full, pixels, vision_feature_select_strategy="full")[-1] - last
    assert moved.abs().max() > 0.5
    deeper = got.logits(got.expanded(ids), pixels, vision_feature_layer=-1)[-1] - last
    assert deeper.abs().max() > 0.05
    with pytest.raises(ValueError, match="do not match"):
        got.logits(full, pixels)


def test_converting_again_changes_no_byte(one: tuple[str, Converted], tmp_path: Path) -> None:
    _, got = one
    convert(got.folder, tmp_path / "again")
    for file in ("model.safetensors", "olhar.json", "preprocessor_config.json", "processor_config.json", "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (got.folder / file).read_bytes(), file


def test_what_transformers_saved_converts_back(one: tuple[str, Converted], tmp_path: Path) -> None:
    """Neither olhar's file nor its names: the layout that transformers itself writes."""
    _, got = one
    got.model.save_pretrained(tmp_path / "saved")
    AutoProcessor.from_pretrained(got.folder).save_pretrained(tmp_path / "saved")
    again = converted(tmp_path / "saved", tmp_path / "again", prompt=got.checkpoint.spoken.prompt)
    assert again.settings == got.settings
    state = got.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())
