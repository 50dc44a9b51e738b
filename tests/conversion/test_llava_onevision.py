"""LLaVA-OneVision as the LLaVA-NeXT repository writes it: converted, it computes and answers what the original did."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from olhar.conversion.convert import convert
from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Part, Turn, VideoRef
from olhar.families import Checkpoint, Encoder, embedded, load, normalised, pixels_of, views_of
from olhar.families import llava_onevision as family
from olhar.families._images.anyres import all_canvases
from olhar.languages import language
from olhar.prompts import PLACEHOLDER, encode, prompt, with_placeholder
from tests.conversion.onevision_opened import GOLDEN, IMAGE, VIDEO, VOCABULARY, Converted, plain, swapped

CASES = {case["name"]: case for case in json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))}
COMPARED = ("si_small", "si_wide", "si_tall", "si_square", "multi_image_pad", "video_4frames", "text_only")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    folder = tmp_path_factory.mktemp("converted") / "onevision"
    convert(GOLDEN, folder)
    return Converted(folder, plain(folder, "eager"), load(folder))


def media_of(case: Mapping[str, Any], folder: Path) -> list[ImageRef | VideoRef]:
    """The pictures of a golden case; those of a video as a folder of its frames."""
    if case["modalities"] != ["video"]:
        return [ImageRef(str(GOLDEN / name)) for name in case["images"]]
    for name in case["images"]:
        shutil.copy(GOLDEN / name, folder)
    return [VideoRef(str(folder))]


def question(case: Mapping[str, Any], media: list[ImageRef | VideoRef]) -> list[Turn]:
    """The question with its media in the places of the marks; a line break after a leading one is the prompt's."""
    first, *pieces = case["question"].split("<image>")
    parts: list[Part] = [first]
    for ref, piece in zip(media, pieces, strict=True):
        parts += [ref, piece]
    if len(media) == 1:
        parts[-1] = pieces[0].removeprefix("\n")
    return [Turn("user", tuple(part for part in parts if part != ""))]


def encoder(checkpoint: Checkpoint, variant: str = "qwen") -> Encoder:
    tokenizer = with_placeholder(checkpoint.tokenizer)
    return Encoder(prompt("chatml"), variant, tokenizer, family, checkpoint.settings)


def looked(case: Mapping[str, Any], checkpoint: Checkpoint, folder: Path) -> tuple[list[int], list[Any], torch.Tensor]:
    """Expanded ids, views, and normalised pixels (tiles, 3, 384, 384) of a golden case."""
    media = media_of(case, folder)
    views = views_of(media, family, checkpoint.settings)
    pixels = torch.from_numpy(pixels_of(media, views, family, checkpoint.settings))
    ids = encoder(checkpoint).question(question(case, media), "en").ids
    return ids, views, normalised(pixels, checkpoint.settings)


def inputs_of(case: Mapping[str, Any], ids: list[int], views: list[Any], pixels: torch.Tensor) -> dict[str, Any]:
    """What plain transformers is given; nothing but ids where there is nothing to see."""
    inputs: dict[str, Any] = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids)).long()}
    if case["modalities"] == ["video"]:
        return inputs | {"pixel_values_videos": pixels[None]}
    if not views:
        return inputs
    return inputs | {
        "pixel_values": torch.stack(pixels.split([view.budget.tiles for view in views])),
        "image_sizes": torch.tensor([(view.size[1], view.size[0]) for view in views]),
        "batch_num_images": torch.tensor([len(views)]),
    }


@torch.no_grad()
def compare(name: str, converted: Converted, model: Any, folder: Path, limit: float) -> None:
    """Pixels, ids, logits and greedy answer of a golden case against what the original computed."""
    case, stored = CASES[name], load_file(GOLDEN / f"{name}.safetensors")
    ids, views, pixels = looked(case, converted.checkpoint, folder)
    token = VIDEO if case["modalities"] == ["video"] else IMAGE
    expanded = iter([view.budget.tokens for view in views])
    expected = [[token] * next(expanded) if id < 0 else [id] for id in stored["input_ids"].tolist()]
    assert ids == [id for group in expected for id in group] and len(ids) == case["seq_len"]
    if views:
        assert sum(view.budget.tokens for view in views) == case["visual_tokens"]
        assert (pixels[:, :, ::37, ::41].flatten() - stored["pixel_probe"]).abs().max() <= 1e-6
        assert (pixels.double().sum((1, 2, 3)) - stored["pixel_tile_sums"]).abs().max() <= 1e-3
    inputs = inputs_of(case, ids, views, pixels)
    logits = model(**inputs).logits[0][:, :VOCABULARY]  # (tokens, vocabulary)
    assert (logits[-24:] - stored["logits_last"]).abs().max() <= limit
    assert (logits.argmax(-1) == stored["logits_argmax"]).float().mean() >= 0.995
    assert (logits.double().sum(-1) - stored["logits_sum"]).abs().max() <= 0.02
    answer = model.generate(**inputs, max_new_tokens=12)[0, len(ids) :].tolist()
    assert answer == stored["generated_ids"].tolist()


@pytest.mark.parametrize("name", COMPARED)
def test_it_computes_what_the_original_did(name: str, converted: Converted, tmp_path: Path) -> None:
    compare(name, converted, converted.model, tmp_path, 2e-4)


@pytest.mark.parametrize("name", ["si_large_interp", "video_4frames"])
def test_so_it_does_with_another_attention(name: str, converted: Converted, tmp_path: Path) -> None:
    """``sdpa``; the large image's map is shrunk and takes 7,239 tokens."""
    compare(name, converted, plain(converted.folder, "sdpa"), tmp_path, 5e-4)


@pytest.mark.parametrize("name", ["si_wide", "multi_image_pad", "video_4frames"])
@torch.no_grad()
def test_our_own_way_through_it_is_the_same(name: str, converted: Converted, tmp_path: Path) -> None:
    """Features joined outside the class, then embeddings: how training and asking run it."""
    ids, views, pixels = looked(CASES[name], converted.checkpoint, tmp_path)
    model = converted.model
    features = family.joined(model, family.connected(model, family.patch_features(model, pixels)), views)
    found = model(inputs_embeds=embedded(model, family, torch.tensor([ids]), features)).logits[0]
    stored = load_file(GOLDEN / f"{name}.safetensors")
    assert (found[-24:, :VOCABULARY] - stored["logits_last"]).abs().max() <= 2e-4


@torch.no_grad()
def test_the_comparison_can_fail(converted: Converted, tmp_path: Path) -> None:
    """One layer too early, another line break, CLIP's statistics: each moves the logits far beyond the limit."""
    case, stored = CASES["si_small"], load_file(GOLDEN / "si_small.safetensors")
    ids, views, pixels = looked(case, converted.checkpoint, tmp_path)
    inputs, model = inputs_of(case, ids, views, pixels), converted.model

    def moved(**changes: Any) -> float:
        found = model(**inputs | changes).logits[0][-24:, :VOCABULARY]
        return float((found - stored["logits_last"]).abs().max())

    assert moved(vision_feature_layer=-2) > 0.5
    assert moved(pixel_values=inputs["pixel_values"] * 1.9 + 0.1) > 0.05
    newline = model.model.image_newline
    kept = newline.clone()
    newline.neg_()
    assert moved() > 0.05
    newline.copy_(kept)
    assert moved() <= 2e-4


def test_labels_are_the_published_ones(converted: Converted) -> None:
    """With the converted tokenizer; the original's mask also trains the marks of every turn."""
    path = GOLDEN.parent / "label_masks" / "label_masks.json"
    stored = json.loads(path.read_text(encoding="utf-8"))["llava_next_qwen_1_5"]
    turns = []
    for row in stored["conversations"]:
        text, image = row["value"].removeprefix("<image>\n"), "<image>" in row["value"]
        role = "user" if row["from"] == "human" else "assistant"
        turns.append(Turn(role, (ImageRef("a.png"), text) if image else (text,)))
    rendered = prompt("chatml").render(turns, language("en"), variant="qwen_original")
    tokenizer = with_placeholder(converted.checkpoint.tokenizer)
    encoded = encode(rendered, tokenizer)
    place = tokenizer.token_to_id(PLACEHOLDER)
    assert [-200 if id == place else id for id in encoded.ids] == stored["input_ids"]
    labels = [id if trained else -100 for id, trained in zip(encoded.ids, encoded.trained, strict=True)]
    assert labels == stored["labels"]


def test_what_is_written(converted: Converted) -> None:
    config = json.loads((converted.folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [family.MODEL_CLASS] and config["tie_word_embeddings"]
    assert (config["image_token_index"], config["video_token_index"]) == (IMAGE, VIDEO)
    assert config["vision_aspect_ratio"] == "anyres_max_9" and config["vision_feature_layer"] == -1
    vision, text = config["vision_config"], config["text_config"]
    assert (vision["num_hidden_layers"], vision["num_attention_heads"], vision["vision_use_head"]) == (2, 4, False)
    assert (text["vocab_size"], text["rope_theta"]) == (405, 1000000.0)
    spoken = converted.checkpoint.spoken
    assert (spoken.prompt, spoken.variant, spoken.language) == ("chatml", "qwen", "en")
    assert converted.checkpoint.settings == family.Settings(384, 14, swapped(all_canvases(384)))
    original = load_file(GOLDEN / "model.safetensors")
    written = load_file(converted.folder / "model.safetensors")
    assert torch.equal(written["image_newline"], original["model.image_newline"])
    rows = written["language_model.model.embed_tokens.weight"]
    assert torch.equal(rows[:VOCABULARY], original["model.embed_tokens.weight"]) and len(rows) == 405


def test_the_chat_template_writes_the_original_prompt(converted: Converted) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(converted.folder)
    text = CASES["si_small"]["question"].removeprefix("<image>\n")
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
    written = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    assert written == CASES["si_small"]["prompt"]


def test_converting_what_was_converted_changes_nothing(converted: Converted, tmp_path: Path) -> None:
    convert(converted.folder, tmp_path / "again")
    for name in ("model.safetensors", "config.json", "olhar.json", "preprocessor_config.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (converted.folder / name).read_bytes(), name
    again = load(tmp_path / "again")
    assert (again.settings, again.spoken) == (converted.checkpoint.settings, converted.checkpoint.spoken)


def test_what_transformers_itself_saves_is_taken(converted: Converted, tmp_path: Path) -> None:
    """Its names on disk and its processor file; statistics that the file leaves out are CLIP's, as there."""
    folder = tmp_path / "saved"
    converted.model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(converted.folder / name, folder)
    row = json.loads((converted.folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    for key in ("image_mean", "image_std"):
        del row[key]
    (folder / "preprocessor_config.json").write_text(json.dumps(row), encoding="utf-8")
    convert(folder, tmp_path / "again")
    one, other = (load_file(path / "model.safetensors") for path in (converted.folder, tmp_path / "again"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert load(tmp_path / "again").settings.mean == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)
    row["image_grid_pinpoints"] = [[384, 384]]
    (folder / "preprocessor_config.json").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match="other tiles or canvases"):
        convert(folder, tmp_path / "never")
    assert not (tmp_path / "never").exists()
