"""InternVL: the published tiling, transformers' own pixels, and parts that are kept when they are joined."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.core.store import write_json
from olhar.families import Budget, Checkpoint, Medium, Spoken, budget, internvl, normalised, write_tower
from olhar.families.internvl import END, IMAGE_TOKEN, START, Settings

TILING = json.loads((Path(__file__).parents[1] / "golden" / "internvl" / "tiling.json").read_text(encoding="utf-8"))
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PUBLISHED = Settings(448, 14, max_tiles=12, thumbnail=True, **IMAGENET)
SMALL = Settings(32, 8)
LAYOUTS = [
    SMALL,
    replace(SMALL, max_tiles=6, thumbnail=True),
    replace(SMALL, max_tiles=12, min_tiles=2, thumbnail=True),
]
SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))
COMPOSE = Callable[..., Any]


def pixels(image: Image.Image, layout: Settings) -> np.ndarray:
    """Of one image that is alone in its sample."""
    return internvl.pixels([image], internvl.views([Medium("image", (image.size,))], layout)[0], layout)


def embeddings(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return internvl.connected(model, internvl.patch_features(model, pixels))


@pytest.mark.parametrize(("width", "height", "least", "most", "columns", "rows"), TILING)
def test_the_tiling_is_the_published_one(
    width: int, height: int, least: int, most: int, columns: int, rows: int
) -> None:
    """Rows computed with the original code."""
    layout = replace(PUBLISHED, min_tiles=least, max_tiles=most)
    assert internvl.tile_grid(width, height, layout) == (columns, rows)


def test_the_tiling_is_that_of_transformers() -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

    draw, equal_shapes = random.Random(0), 0
    for least, most in [(1, most) for most in range(1, 13)] + [(2, 6), (3, 3), (4, 12), (5, 7)]:
        layout = replace(PUBLISHED, min_tiles=least, max_tiles=most)
        for _ in range(1300):
            # Every other image is a multiple of the tile, where ties between grids are found.
            scale = draw.choice((1, 112))
            width, height = (scale * draw.randint(1, 3000 // scale) for _ in range(2))
            expected = get_optimal_tiled_canvas((height, width), (448, 448), least, most)
            assert internvl.tile_grid(width, height, layout) == expected, (width, height, least, most)
            equal_shapes += width * expected[1] == height * expected[0]
    assert equal_shapes > 1000


def test_published_counts() -> None:
    assert PUBLISHED.tokens_per_tile == 256
    six = replace(PUBLISHED, max_tiles=6)
    assert budget(internvl, 1600, 1200, six) == Budget(7 * 256 + 2, 0, 7)
    assert budget(internvl, 448, 448, six) == Budget(258, 0, 1), "one tile has no thumbnail"
    assert budget(internvl, 1600, 1200, replace(six, thumbnail=False)).tiles == 6
    assert budget(internvl, 4000, 100, replace(PUBLISHED, max_tiles=1)).tiles == 1
    assert budget(internvl, 100, 100, replace(six, min_tiles=4)).tiles == 5


@pytest.mark.parametrize(("images", "most"), [(1, 6), (2, 3), (3, 2), (4, 1), (7, 1)])
def test_several_images_share_the_tiles_where_the_settings_say_so(images: int, most: int) -> None:
    """``max(1, max_dynamic_patch // images)`` each, as InternVL trains; 6 each, as it is asked."""
    six, media = replace(PUBLISHED, max_tiles=6), [Medium("image", ((4800, 800),))] * images
    assert [view.grids for view in internvl.views(media, six)] == [((6, 1),)] * images
    shared = internvl.views(media, replace(six, share_tiles=True))
    assert [view.grids for view in shared] == [((most, 1),)] * images
    assert [view.budget.tiles for view in shared] == [most + (most > 1)] * images, "each has a thumbnail of its own"


def test_videos_take_no_share_of_the_tiles() -> None:
    six = replace(PUBLISHED, max_tiles=6, share_tiles=True)
    media = [Medium("image", ((4800, 800),)), Medium("video", ((96, 64), (96, 64)))]
    assert [view.grids for view in internvl.views(media, six)] == [((6, 1),), ((1, 1), (1, 1))]


@settings(max_examples=25, deadline=None)
@given(SIZES, st.sampled_from(LAYOUTS))
def test_the_budget_is_what_is_spelled_and_what_the_tower_gives(
    tokenizer: Tokenizer, size: tuple[int, int], layout: Settings
) -> None:
    view = internvl.views([Medium("image", (size,))], layout)[0]
    spelled = tokenizer.encode(internvl.spell(view, layout)).tokens
    assert len(spelled) == view.budget.tokens and view.budget.memory == 0
    assert (spelled[0], spelled[-1]) == (START, END) and set(spelled[1:-1]) == {IMAGE_TOKEN}
    found = pixels(Image.new("RGB", size), layout)
    assert found.shape == (view.budget.tiles, 3, 32, 32) and found.dtype == np.uint8


def test_every_frame_of_a_video_is_one_tile_with_its_label() -> None:
    layout = replace(LAYOUTS[1], frame_label="Frame-{}: ")
    video = Medium("video", ((96, 64), (96, 64), (64, 96)))
    image = Medium("image", ((96, 64),))
    seen, shown = internvl.views([video, image], layout)
    picture = f"{START}{IMAGE_TOKEN * 4}{END}"
    assert internvl.spell(seen, layout) == f"Frame-1: {picture}\nFrame-2: {picture}\nFrame-3: {picture}"
    assert internvl.spell(seen, SMALL) == picture * 3
    assert (seen.budget.tiles, shown.budget.tiles) == (3, 7)
    frames = [Image.new("RGB", (96, 64), (shade, 0, 0)) for shade in (10, 20, 30)]
    assert internvl.pixels(frames, seen, layout)[:, 0, 16, 16].tolist() == [10, 20, 30]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_are_as_many_features_as_image_tokens(composed: COMPOSE, layout: Settings) -> None:
    model = composed()
    features = embeddings(model, normalised(torch.from_numpy(pixels(noise(90, 70), layout)), layout))
    cost = budget(internvl, 90, 70, layout)
    assert features.shape == (cost.tiles, layout.tokens_per_tile, 32)
    assert features.shape[0] * features.shape[1] + 2 == cost.tokens
    assert model.config.image_seq_length == layout.tokens_per_tile


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 60).convert("RGB")


@pytest.mark.parametrize("layer", [-1, -2, -4, 1, 3])
def test_embeddings_are_those_of_transformers(composed: COMPOSE, layer: int) -> None:
    model = composed(tower=tower(layers=3))
    model.config.vision_feature_layer = layer
    seen = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = model.model.get_image_features(pixel_values=seen).pooler_output
    found = embeddings(model, seen)
    assert torch.equal(found, expected) and found.std() > 0.01


def tower(**changes: int) -> TowerShape:
    shape = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "layers": 1, "heads": 2, "intermediate_size": 48}
    return TowerShape(**shape | changes)


@settings(max_examples=12, deadline=None)
@given(SIZES, st.sampled_from([replace(layout, **IMAGENET) for layout in LAYOUTS]))
def test_pixels_are_those_of_transformers(tmp_path_factory: Any, size: tuple[int, int], layout: Settings) -> None:
    from transformers import GotOcr2ImageProcessorPil

    folder = tmp_path_factory.mktemp("processor")
    for name, content in internvl.configs(layout).items():
        write_json(folder / name, content)
    generator = np.random.default_rng(size)
    image = Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    processor = GotOcr2ImageProcessorPil.from_pretrained(folder)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    found = normalised(torch.from_numpy(pixels(image, layout)), layout)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-6


def test_a_layout_that_transformers_cannot_repeat_is_not_exported() -> None:
    """Its processor adds a thumbnail to several tiles, whatever its configuration says."""
    with pytest.raises(UserError, match="thumbnail"):
        internvl.configs(replace(SMALL, max_tiles=6, thumbnail=False))


def test_only_several_tiles_need_the_processor_that_counts_tokens() -> None:
    assert internvl.configs(SMALL).keys() == {"preprocessor_config.json"}
    assert internvl.configs(PUBLISHED)["processor_config.json"] == {
        "processor_class": "InternVLProcessor",
        "image_seq_length": 256,
    }
    assert internvl.picture_text(SMALL) == f"{START}{IMAGE_TOKEN * 4}{END}"
    assert internvl.picture_text(PUBLISHED) == IMAGE_TOKEN


def test_tiles_are_cut_row_by_row_and_the_thumbnail_is_last() -> None:
    image = Image.new("RGB", (96, 64))
    for index, box in enumerate([(c * 32, r * 32) for r in range(2) for c in range(3)]):
        image.paste((index * 40, 0, 0), (*box, box[0] + 32, box[1] + 32))
    found = pixels(image, LAYOUTS[1])
    assert found[:6, 0, 16, 16].tolist() == [0, 40, 80, 120, 160, 200]
    assert len(found) == 7 and found[6, 0, 0, 0] == 0 and found[6, 0, -1, -1] == 200


def test_composing_depends_on_the_seed_alone(composed: COMPOSE) -> None:
    one, same, other = (composed(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name in one if not torch.equal(one[name], other[name])]
    assert {"model.vision_tower.embeddings.position_embeddings", "lm_head.weight"} <= set(drawn)


def test_a_new_start_is_the_one_promised(composed: COMPOSE) -> None:
    model = composed(language_model=LanguageModelShape(hidden_size=96, layers=1, heads=2, initial_std=0.08))
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert float(model.get_input_embeddings().weight.detach().std()) == pytest.approx(0.08, rel=0.05)
    for layer in (model.model.multi_modal_projector.linear_1, model.model.multi_modal_projector.linear_2):
        assert float(layer.weight.detach().std()) == pytest.approx(layer.in_features**-0.5, rel=0.05)
    assert model.model.vision_tower.embeddings.position_embeddings.abs().max() > 0


def test_a_pretrained_tower_is_kept_as_it_is(
    composed: COMPOSE, parts: Callable[..., ModelParts], tmp_path: Path
) -> None:
    first, layout = composed(seed=4), replace(LAYOUTS[0], **IMAGENET)
    write_tower(first, layout, tmp_path)
    assert internvl.settings(parts(tower=str(tmp_path))) == layout, "how it saw its pictures is read with it"
    second = composed(seed=5, tower=str(tmp_path))
    for name, value in first.model.vision_tower.state_dict().items():
        assert torch.equal(second.model.vision_tower.state_dict()[name], value), name
    seen = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(internvl.patch_features(first, seen), internvl.patch_features(second, seen))


def test_a_tower_that_does_not_say_how_it_saw_pictures_saw_them_as_published(
    composed: COMPOSE, parts: Callable[..., ModelParts], tmp_path: Path
) -> None:
    composed().model.vision_tower.save_pretrained(tmp_path)
    assert internvl.settings(parts(tower=str(tmp_path))) == replace(SMALL, **IMAGENET)


def test_a_composition_with_a_pretrained_language_model_begins_as_that_model(
    parts: Callable[..., ModelParts], tokenizer: Tokenizer, tmp_path: Path, base: Any
) -> None:
    base.save_pretrained(tmp_path)
    chosen = parts(language_model=str(tmp_path))
    torch.manual_seed(3)
    model = internvl.compose(chosen, internvl.settings(chosen), tokenizer).eval()
    known = base.config.vocab_size
    ids = torch.arange(known)[None]
    with torch.no_grad():
        expected, found = base(ids).logits, model(input_ids=ids).logits
    assert model.config.text_config.vocab_size == tokenizer.get_vocab_size() == found.shape[-1] > known
    assert torch.allclose(found[..., :known], expected, atol=1e-6) and expected.std() > 0.01
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tied == base.config.tie_word_embeddings == model.config.tie_word_embeddings
    assert model.config.image_token_id == tokenizer.token_to_id(IMAGE_TOKEN)


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        tie_word_embeddings=request.param,
    )
    return Qwen2ForCausalLM._from_config(config, attn_implementation="eager").eval()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "no config.json"),
        ('{"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14}', "siglip_vision_model"),
        ('{"model_type": "intern_vit_6b", "image_size": 448}', "intern_vit_6b"),
        ('{"image_size": 384}', "does not fit"),
        ("{", "not JSON|cannot be read"),
    ],
)
def test_a_tower_that_does_not_fit_is_told(
    parts: Callable[..., ModelParts], tmp_path: Path, config: str | None, told: str
) -> None:
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match=told) as caught:
        internvl.settings(parts(tower=str(tmp_path)))
    assert str(tmp_path) in caught.value.where


@pytest.mark.parametrize(
    "shape",
    [{"image_size": 24, "patch_size": 8}, {"image_size": 8, "patch_size": 16}],
    ids=["odd grid", "no patch"],
)
def test_a_tower_whose_patches_cannot_be_shuffled_is_told(
    parts: Callable[..., ModelParts], shape: dict[str, int]
) -> None:
    """Two by two patches become one token, so there must be an even number of whole ones."""
    with pytest.raises(UserError):
        internvl.settings(parts(tower=TowerShape(**shape)))


@pytest.mark.parametrize("layout", [SMALL, replace(LAYOUTS[1], **IMAGENET)])
def test_plain_transformers_computes_the_same(
    composed: COMPOSE, tokenizer: Tokenizer, tmp_path: Path, layout: Settings
) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText

    model, folder = composed(), tmp_path / "model"
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.add_special_tokens(["</s>"])
    model.resize_token_embeddings(tokenizer.get_vocab_size())
    Checkpoint(model, tokenizer, "internvl", layout, Spoken("compact", None, "pt")).save(folder)
    loaded = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    assert type(loaded).__name__ == internvl.MODEL_CLASS
    image = noise(50, 40)
    view = internvl.views([Medium("image", (image.size,))], layout)[0]
    ids = torch.tensor([tokenizer.encode(internvl.spell(view, layout) + " w7 w8 w9").ids])
    ours = normalised(torch.from_numpy(pixels(image, layout)), layout)
    theirs = AutoImageProcessor.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        one, other = model(input_ids=ids, pixel_values=ours).logits, loaded(input_ids=ids, pixel_values=theirs).logits
    assert torch.allclose(one, other, atol=1e-5) and one.std() > 1e-3
    assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
