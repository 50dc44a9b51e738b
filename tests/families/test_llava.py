"""LLaVA: published token counts, transformers' own pixels and features, in every fit and strategy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models
from transformers import (
    AutoProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaImageProcessorPil,
    SiglipImageProcessorPil,
)

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import Checkpoint, Medium, Spoken, _towers, budget, llava, normalised
from olhar.families._images import squares
from olhar.families._images.squares import IMAGE_TOKEN, Settings

CLIP = Settings(336, 14, "pad", "default", True, _towers.CLIP_MEAN, _towers.CLIP_STD)
SIGLIP = Settings(384, 14, "squash", "full", False, _towers.HALF, _towers.HALF)
PROCESSORS = {"squash": SiglipImageProcessorPil, "crop": CLIPImageProcessorPil, "pad": LlavaImageProcessorPil}
SIDES = st.integers(1, 130)


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng((width, height))
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., Any]:
    """A model on a tower made anew (SigLIP's kind) or on one of CLIP's, and its settings."""

    def make(kind: str = "siglip") -> tuple[Any, Settings, Tokenizer]:
        torch.manual_seed(0)
        shape = TowerShape(image_size=32, patch_size=8, hidden_size=32, layers=3, heads=2, intermediate_size=48)
        if kind == "clip":
            row = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 48}
            config = CLIPVisionConfig(**row, num_hidden_layers=3, num_attention_heads=2)
            CLIPVisionModel(config).save_pretrained(tmp_path / "clip")
        text = LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48)
        tower = str(tmp_path / "clip") if kind == "clip" else shape
        parts = ModelParts(family="llava", tower=tower, language_model=text, tokenizer="unused")
        words = Tokenizer(models.WordLevel({"?": 0, "</s>": 1, "<pad>": 2}, unk_token="?"))
        words.add_special_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)])
        chosen = llava.settings(parts)
        return llava.compose(parts, chosen, words).eval(), chosen, words

    return make


def test_published_counts() -> None:
    assert budget(llava, 640, 480, CLIP) == squares.Budget(576, 0, 1), "LLaVA-1.5"
    assert budget(llava, 640, 480, replace(SIGLIP, strategy="default")).tokens == 728, "ViTucano"
    assert budget(llava, 20, 2000, SIGLIP).tokens == 729
    assert replace(CLIP, strategy="full").tokens == 577


def test_the_towers_kind_decides_how_pictures_are_seen(composed: Callable[..., Any]) -> None:
    _, made, _ = composed("siglip")
    assert made == Settings(32, 8, "squash", "full", False, _towers.HALF, _towers.HALF)
    model, clip, _ = composed("clip")
    assert clip == Settings(32, 8, "pad", "default", True, _towers.CLIP_MEAN, _towers.CLIP_STD)
    assert (model.config.vision_feature_layer, model.config.vision_feature_select_strategy) == (-2, "default")


def test_all_media_of_a_sample_are_squares_in_order() -> None:
    media = [Medium("image", ((50, 20),)), Medium("video", ((30, 30),) * 3), Medium("image", ((9, 9),))]
    views = llava.views(media, SIGLIP)
    assert [view.budget.tiles for view in views] == [1, 3, 1]
    assert [llava.spell(view, SIGLIP).count(IMAGE_TOKEN) for view in views] == [729, 3 * 729, 729]
    small = replace(SIGLIP, side=28)
    frames = [noise(30, 30), noise(20, 40), noise(7, 7)]
    together = llava.pixels(frames, views[1], small)
    assert together.shape == (3, 3, 28, 28)
    for frame, pixels in zip(frames, together, strict=True):
        assert np.array_equal(llava.pixels([frame], views[0], small)[0], pixels)


@pytest.mark.parametrize("fit", PROCESSORS)
@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.sampled_from([CLIP, SIGLIP]))
@example(56, 57, CLIP)
@example(57, 56, CLIP)
@example(1, 1, CLIP)
@example(130, 3, SIGLIP)
@example(33, 100, SIGLIP)
def test_pixels_are_those_of_transformers(fit: Any, width: int, height: int, published: Settings) -> None:
    chosen = replace(published, side=33, fit=fit)
    row = llava.configs(chosen)["preprocessor_config.json"]
    assert PROCESSORS[fit].__name__ == f"{row['image_processor_type']}Pil"
    image = noise(width, height)
    expected = PROCESSORS[fit].from_dict(row)(image, return_tensors="pt")["pixel_values"]
    view = llava.views([Medium("image", (image.size,))], chosen)[0]
    found = normalised(torch.from_numpy(llava.pixels([image], view, chosen)), chosen)
    assert found.shape == expected.shape == (1, 3, 33, 33)
    assert (found - expected).abs().max() <= 1e-6


def test_the_three_fits_differ() -> None:
    view = llava.views([Medium("image", ((90, 40),))], SIGLIP)[0]
    seen = [llava.pixels([noise(90, 40)], view, replace(CLIP, side=32, fit=fit)) for fit in ("squash", "pad", "crop")]
    assert all(not np.array_equal(one, other) for one, other in zip(seen, (*seen[1:], seen[0]), strict=True))
    mean = [int(value * 255) for value in _towers.CLIP_MEAN]
    assert seen[1][0, :, 0, 0].tolist() == mean, "the border has the mean colour"


@pytest.mark.parametrize("fit", PROCESSORS)
def test_what_a_processor_file_says_is_read_back(fit: Any) -> None:
    row = llava.configs(replace(CLIP, fit=fit))["preprocessor_config.json"]
    assert _towers.read_processor(row, "a file") == (336, fit, _towers.CLIP_MEAN, _towers.CLIP_STD)


def test_processor_files_of_other_versions_are_read() -> None:
    statistics = {"image_mean": list(_towers.CLIP_MEAN), "image_std": list(_towers.CLIP_STD)}
    old = {"size": 336, "crop_size": 336, "do_center_crop": True, "do_resize": True, "resample": 3} | statistics
    assert _towers.read_processor(old, "a file")[:2] == (336, "crop")
    saved = SiglipImageProcessorPil(size={"height": 384, "width": 384}).to_dict()
    assert _towers.read_processor(saved, "a file") == (384, "squash", _towers.HALF, _towers.HALF)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"shortest_edge": 300}},
        {"size": {"height": 336, "width": 300}},
        {"size": {"longest_edge": 336}},
        {"size": None},
        {"resample": 2},
        {"rescale_factor": 1 / 127.5},
        {"do_rescale": False},
        {"do_center_crop": False},
    ],
)
def test_other_preparations_are_refused(changes: dict[str, Any]) -> None:
    row = llava.configs(replace(CLIP, fit="crop"))["preprocessor_config.json"] | changes
    with pytest.raises(UserError, match="not known here") as told:
        _towers.read_processor(row, "a file")
    assert told.value.where == "a file"


@pytest.mark.parametrize("kind", ["siglip", "clip"])
@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("layer", [-1, -2, 1, -4])
def test_features_are_those_of_transformers(composed: Callable[..., Any], kind: str, strategy: str, layer: int) -> None:
    model, chosen, _ = composed(kind)
    model.config.vision_feature_select_strategy, model.config.vision_feature_layer = strategy, layer
    pixels = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = torch.stack(list(model.model.get_image_features(pixel_values=pixels).pooler_output))
        found = llava.connected(model, llava.patch_features(model, pixels))
    assert torch.equal(found, expected)
    assert found.shape == (3, replace(chosen, strategy=strategy).tokens, 32)


def test_several_layers_lie_side_by_side(composed: Callable[..., Any]) -> None:
    model, _, _ = composed("clip")
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        model.config.vision_feature_layer = [-2, 1]
        both = llava.patch_features(model, pixels)
        model.config.vision_feature_layer = 1
        assert torch.equal(both[..., 32:], llava.patch_features(model, pixels)) and both.shape == (2, 16, 64)


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_transformers_processor_writes_as_many_tokens(composed: Callable[..., Any], kind: str, tmp_path: Path) -> None:
    model, chosen, words = composed(kind)
    Checkpoint(model, words, "llava", chosen, Spoken("vicuna", "v1", "en")).save(tmp_path / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    text = f"{IMAGE_TOKEN} ? {IMAGE_TOKEN}"
    found = processor(images=[noise(40, 50), noise(20, 10)], text=text, return_tensors="pt")
    assert int((found["input_ids"] == model.config.image_token_index).sum()) == 2 * chosen.tokens
    assert found["pixel_values"].shape == (2, 3, 32, 32)
    with torch.no_grad():
        assert model(**found).logits.isfinite().all()
