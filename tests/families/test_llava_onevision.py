"""LLaVA-OneVision: the published layout, transformers' own counts and pixels, and features as its class packs them."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import Checkpoint, Medium, Spoken, budget, embedded, load, normalised
from olhar.families import llava_onevision as family
from olhar.families._images.anyres import all_canvases
from olhar.families.llava_onevision import IMAGE_TOKEN, SPECIAL_TOKENS, VIDEO_TOKEN, Settings

TABLE = json.loads((Path(__file__).parents[1] / "golden" / "llava_onevision_tokens.json").read_text(encoding="utf-8"))
PUBLISHED = Settings(384, 14, all_canvases(384))
TINY = Settings(42, 14, all_canvases(42, 3), 4)  # 3 x 3 patches: an odd side, like the published 27 x 27
COUNTS = [  # width, height, columns, rows, features
    (384, 384, 1, 1, 1485),
    (640, 480, 2, 2, 2929),
    (1024, 768, 3, 2, 4725),
    (1416, 946, 4, 3, 8686),
    (1920, 1080, 5, 3, 7269),
    (2304, 2304, 6, 6, 7371),
    (4000, 3000, 6, 5, 7309),
    (1002, 1200, 3, 4, 8765),
]
ROUNDED = [  # sizes at which the published code, which does not round, cuts two rows or columns more
    (47, 423, 1161),
    (94, 423, 1485),
    (188, 423, 2133),
    (369, 820, 2437),
    (423, 47, 1114),
    (423, 94, 1444),
    (738, 820, 4084),
    (820, 369, 2403),
    (820, 738, 4077),
    (1107, 820, 5731),
]
SIZE = st.tuples(st.integers(1, 700), st.integers(1, 700))


def image(size: tuple[int, int], seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def alone(size: tuple[int, int]) -> Medium:
    return Medium("image", (size,))


def processor_of(layout: Settings, folder: Path) -> Any:
    """transformers' image processor, read from what the family writes."""
    from transformers import LlavaOnevisionImageProcessorPil

    (folder / "preprocessor_config.json").write_text(json.dumps(family.configs(layout)["preprocessor_config.json"]))
    return LlavaOnevisionImageProcessorPil.from_pretrained(folder)


def counter(layout: Settings, folder: Path) -> Any:
    """transformers' processor of text and pictures, without the video part, which needs torchvision."""
    from transformers import LlavaOnevisionProcessor, PreTrainedTokenizerFast

    class WithoutVideos(LlavaOnevisionProcessor):  # type: ignore[misc]
        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            return None if name == "video_processor" else super().check_argument_for_proper_class(name, argument)

    options = dict(family.configs(layout)["processor_config.json"])
    del options["processor_class"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words())
    return WithoutVideos(processor_of(layout, folder), tokenizer, None, **options)


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "um": 1, "dois": 2, "</s>": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    specials = ("</s>", *SPECIAL_TOKENS)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


@pytest.mark.parametrize(("width", "height", "columns", "rows", "tokens"), [*TABLE, *COUNTS])
def test_the_layout_is_the_published_one(width: int, height: int, columns: int, rows: int, tokens: int) -> None:
    (view,) = family.views([alone((width, height))], PUBLISHED)
    assert view.grid == (columns, rows) and view.budget.tokens == tokens
    assert view.budget.tiles == 1 + columns * rows and view.budget.memory == 0
    assert family.spell(view, PUBLISHED) == IMAGE_TOKEN * tokens


@pytest.mark.parametrize(("width", "height", "tokens"), ROUNDED)
def test_rounding_is_that_of_transformers(width: int, height: int, tokens: int) -> None:
    assert budget(family, width, height, PUBLISHED).tokens == tokens


def test_twenty_thousand_sizes_count_as_in_transformers(tmp_path: Path) -> None:
    """Against its processor's arithmetic; every fifth size has no more than 1,200 pixels on a side."""
    theirs, drawn, most = counter(PUBLISHED, tmp_path), random.Random(5), 0
    sizes = [(w, h) for w, h, *_ in ROUNDED + COUNTS]
    sizes += [(drawn.randint(1, side), drawn.randint(1, side)) for side in (5000, 5000, 3000, 3000, 1200) * 4000]
    for width, height in sizes:
        found = budget(family, width, height, PUBLISHED).tokens
        assert found == theirs._get_number_of_features(height, width, 384, 384), (width, height)
        most = max(most, found)
    assert most == 8765 and len(sizes) > 20_000


def test_tiles_count_as_in_transformers() -> None:
    from transformers.models.llava_onevision.modeling_llava_onevision import image_size_to_num_patches

    pinpoints = [list(pair) for pair in PUBLISHED.pinpoints]
    drawn = random.Random(6)
    for width, height in [(drawn.randint(1, 4000), drawn.randint(1, 4000)) for _ in range(1500)]:
        theirs = image_size_to_num_patches((height, width), pinpoints, 384)
        assert budget(family, width, height, PUBLISHED).tiles == theirs, (width, height)


def test_an_image_is_looked_at_closely_only_where_it_is_the_only_one() -> None:
    one, other, video = alone((900, 350)), alone((40, 50)), Medium("video", ((96, 64),) * 4)
    closely, padded, pooled = 2619, 730, 785
    for media, tokens in [
        ([one], [closely]),
        ([one, other], [padded, padded]),
        ([video], [pooled]),
        ([video, one], [pooled, closely]),
        ([one, video, other, video], [padded, pooled, padded, pooled]),
    ]:
        views = family.views(media, PUBLISHED)
        assert [view.budget.tokens for view in views] == tokens
        for medium, view in zip(media, views, strict=True):
            token = VIDEO_TOKEN if medium.kind == "video" else IMAGE_TOKEN
            assert family.spell(view, PUBLISHED) == token * view.budget.tokens


@settings(max_examples=25, deadline=None)
@given(SIZE, st.sampled_from([replace(PUBLISHED, pinpoints=all_canvases(384, 2)), TINY]))
@example((1, 700), TINY)
@example((700, 1), TINY)
def test_pixels_are_those_of_transformers(tmp_path_factory: Any, size: tuple[int, int], layout: Settings) -> None:
    """Of an image alone, and of the same image beside another."""
    theirs, picture = processor_of(layout, tmp_path_factory.mktemp("processor")), image(size)
    for media in ([alone(size)], [alone(size)] * 2):
        expected = theirs([[picture] * len(media)], return_tensors="pt")["pixel_values"][0]
        view = family.views(media, layout)[0]
        found = family.pixels([picture], view, layout)
        assert found.dtype == np.uint8 and found.shape == (view.budget.tiles, 3, layout.side, layout.side)
        assert (normalised(torch.from_numpy(found), layout) - expected).abs().max() <= 1e-6


@settings(max_examples=10, deadline=None)
@given(SIZE, st.integers(1, 3))
def test_frames_are_those_of_transformers(size: tuple[int, int], frames: int) -> None:
    from transformers import SiglipImageProcessorPil

    side = {"height": 384, "width": 384}
    theirs = SiglipImageProcessorPil(size=side, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    pictures = [image(size, seed) for seed in range(frames)]
    (view,) = family.views([Medium("video", (size,) * frames)], PUBLISHED)
    found = normalised(torch.from_numpy(family.pixels(pictures, view, PUBLISHED)), PUBLISHED)
    assert (found - theirs(pictures, return_tensors="pt")["pixel_values"]).abs().max() <= 1e-6


def test_a_processor_of_transformers_writes_the_same_tokens(tmp_path: Path) -> None:
    theirs = counter(TINY, tmp_path)
    for sizes in ([(100, 40)], [(100, 40), (30, 90)]):
        views = family.views([alone(size) for size in sizes], TINY)
        text = " um ".join(family.spell(view, TINY) for view in views)
        pictures = [image(size) for size in sizes]
        found = theirs(text=" um ".join([IMAGE_TOKEN] * len(sizes)), images=[pictures], return_tensors="pt")
        assert found["input_ids"][0].tolist() == words().encode(text).ids


PARTS = ModelParts(
    family="llava_onevision",
    tower=TowerShape(image_size=42, patch_size=14, hidden_size=32, layers=2, heads=2, intermediate_size=48),
    language_model=LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48, max_tokens=2048),
    tokenizer="unused",
)


def composed(layout: Settings = TINY, seed: int = 0, **parts: Any) -> Any:
    torch.manual_seed(seed)
    return family.compose(PARTS.model_copy(update=parts), layout, words()).eval()


def looked(media: Sequence[Medium], layout: Settings) -> tuple[list[Any], list[torch.Tensor]]:
    """Views and normalised pixels of noise."""
    views, pixels = family.views(media, layout), []
    for medium, view in zip(media, views, strict=True):
        pictures = [image(size, seed) for seed, size in enumerate(medium.sizes)]
        pixels.append(normalised(torch.from_numpy(family.pixels(pictures, view, layout)), layout))
    return views, pixels


def inputs_of(media: Sequence[Medium], pixels: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """One sample's media as transformers' class takes them."""
    images = [(m.sizes[0], p) for m, p in zip(media, pixels, strict=True) if m.kind == "image"]
    videos = [p for m, p in zip(media, pixels, strict=True) if m.kind == "video"]
    inputs: dict[str, torch.Tensor] = {}
    if images:
        inputs["pixel_values"] = torch.stack([p for _, p in images])
        inputs["image_sizes"] = torch.tensor([(height, width) for (width, height), _ in images])
        inputs["batch_num_images"] = torch.tensor([len(images)])
    if videos:
        inputs["pixel_values_videos"] = torch.stack(videos)
    return inputs


VIDEO = Medium("video", ((20, 30),) * 3)
SAMPLES = [
    [alone((90, 70))],
    [alone((130, 110))],  # large enough to be shrunk
    [alone((500, 9))],
    [alone((90, 70)), alone((20, 60)), alone((5, 5))],
    [VIDEO],
    [VIDEO, alone((90, 70))],
    [alone((90, 70)), VIDEO, alone((30, 40)), VIDEO],
]


@pytest.mark.parametrize("media", SAMPLES)
@torch.no_grad()
def test_features_are_those_that_transformers_packs(media: list[Medium]) -> None:
    """Logits of its own forward pass, which finds the features' places by itself, equal those of our embeddings."""
    model = composed()
    views, pixels = looked(media, TINY)
    text = "um " + " dois ".join(family.spell(view, TINY) for view in views) + " um"
    ids = torch.tensor([words().encode(text).ids])
    features = family.connected(model, family.patch_features(model, torch.cat(pixels)))
    joined = family.joined(model, features, views)
    assert len(joined) == sum(view.budget.tokens for view in views)
    found = model(inputs_embeds=embedded(model, family, ids, joined)).logits
    expected = model(input_ids=ids, **inputs_of(media, pixels)).logits
    assert (found - expected).abs().max() <= 1e-6 and expected.std() > 1e-3


@torch.no_grad()
def test_features_are_packed_at_the_published_size() -> None:
    """A tower of one narrow layer at 384 pixels; also a map that is shrunk, and sizes that round differently."""
    tower = TowerShape(image_size=384, patch_size=14, hidden_size=8, layers=1, heads=1, intermediate_size=8)
    model = composed(PUBLISHED, tower=tower)
    for size in [(1300, 1000), *((width, height) for width, height, _ in ROUNDED)]:
        (view,) = family.views([alone(size)], PUBLISHED)
        connected = torch.randn(1, 729, 32).expand(view.budget.tiles, -1, -1)  # as a blank picture's are
        assert len(family.joined(model, connected, [view])) == view.budget.tokens


def test_layer_and_strategy_are_those_of_the_recipe(tmp_path: Path) -> None:
    """The last norm is left out; of a tower that has a pooling head, the last layer too."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    model, pixels = composed(), torch.rand(2, 3, 42, 42)
    tower = model.model.vision_tower
    with torch.no_grad():
        last = tower.encoder(tower.embeddings(pixels)).last_hidden_state
        assert torch.equal(family.patch_features(model, pixels), last)
    assert model.config.vision_feature_select_strategy == "full" and "head" not in dict(tower.named_children())
    shape = tower.config.to_dict() | {"vision_use_head": True}
    published = SiglipVisionModel(SiglipVisionConfig.from_dict(shape))
    published.save_pretrained(tmp_path)
    kept = composed(tower=str(tmp_path))
    assert kept.config.vision_feature_layer == -2
    with torch.no_grad():
        found = family.patch_features(kept, pixels)
        expected = published(pixels, output_hidden_states=True).hidden_states[-2]
        assert torch.allclose(found, expected, atol=1e-5)
    assert family.settings(PARTS.model_copy(update={"tower": str(tmp_path)})) == family.settings(PARTS)


def test_composing_depends_on_the_seed_alone() -> None:
    one, same, other = (composed(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = {name for name in one if not torch.equal(one[name], other[name])}
    assert {"model.image_newline", "lm_head.weight", "model.multi_modal_projector.linear_2.weight"} <= drawn
    model = composed()
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert [model.config.image_token_index, model.config.video_token_index] == [4, 5]
    roles = family.roles(model)
    named = sorted(name for names in roles.values() for name in names)
    assert named == sorted(name for name, _ in model.named_parameters()) and "model.image_newline" in roles["language"]


@torch.no_grad()
def test_a_saved_checkpoint_is_what_it_was(tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText

    model, folder = composed(), tmp_path / "model"
    Checkpoint(model, words(), "llava_onevision", TINY, Spoken("tucano", "train", "pt")).save(folder)
    again = load(folder)
    assert again.settings == TINY
    plain = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    media = [alone((90, 70))]
    (view,), (pixels,) = looked(media, TINY)
    read = AutoImageProcessor.from_pretrained(folder)([[image((90, 70))]], return_tensors="pt")
    assert torch.allclose(read["pixel_values"][0], pixels, atol=1e-6)
    ids = torch.tensor([words().encode("um" + family.spell(view, TINY) + "dois").ids])
    expected = model(input_ids=ids, **inputs_of(media, [pixels])).logits
    for loaded in (again.model, plain):
        assert (loaded(input_ids=ids, **read).logits - expected).abs().max() <= 1e-6


def test_a_tower_that_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no patch"):
        family.settings(PARTS.model_copy(update={"tower": TowerShape(image_size=8, patch_size=16)}))
    (tmp_path / "config.json").write_text('{"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14}')
    with pytest.raises(UserError, match="clip_vision_model"):
        family.settings(PARTS.model_copy(update={"tower": str(tmp_path)}))
