"""InternVL: the published tiling, transformers' own pixels, and token counts that are the features."""

import json
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
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.families import internvl
from olhar.families.internvl import IMAGE_TOKEN, SPECIAL_TOKENS, Settings

TILING = json.loads((Path(__file__).parents[1] / "golden" / "internvl" / "tiling.json").read_text(encoding="utf-8"))
PUBLISHED = Settings(448, 14, 12, True, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LAYOUTS = [Settings(32, 8), Settings(32, 8, 6, True), Settings(32, 8, 12, True)]
SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))
COMPOSE = Callable[..., Any]


@pytest.mark.parametrize(("width", "height", "least", "most", "columns", "rows"), TILING)
def test_the_tiling_is_the_published_one(
    width: int, height: int, least: int, most: int, columns: int, rows: int
) -> None:
    """Rows computed with the original code; ``least`` is 1 in every published recipe, and always 1 here."""
    found = internvl.tile_grid(width, height, replace(PUBLISHED, max_tiles=most))
    if least == 1 or found[0] * found[1] >= least:
        assert found == (columns, rows)
    else:
        assert found == (1, 1) and columns * rows >= least


def test_published_counts() -> None:
    assert PUBLISHED.tokens_per_tile == 256
    six = replace(PUBLISHED, max_tiles=6)
    assert internvl.budget(1600, 1200, six) == internvl.Budget(7 * 256 + 2, 0, 7)
    assert internvl.budget(448, 448, six) == internvl.Budget(258, 0, 1), "one tile has no thumbnail"
    assert internvl.budget(1600, 1200, replace(six, thumbnail=False)).tiles == 6
    assert internvl.budget(4000, 100, replace(PUBLISHED, max_tiles=1)).tiles == 1


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "um": 4}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


@settings(max_examples=25, deadline=None)
@given(SIZES, st.sampled_from(LAYOUTS))
def test_the_budget_is_what_is_spelled_and_what_the_tower_gives(size: tuple[int, int], layout: Settings) -> None:
    cost = internvl.budget(*size, layout)
    spelled = words().encode(internvl.spell(cost.tiles, layout)).tokens
    assert len(spelled) == cost.tokens and cost.memory == 0
    assert (spelled[0], spelled[-1]) == SPECIAL_TOKENS[:2] and set(spelled[1:-1]) == {IMAGE_TOKEN}
    pixels = internvl.pixels(Image.new("RGB", size), layout)
    assert pixels.shape == (cost.tiles, 3, 32, 32) and pixels.dtype == np.uint8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_are_as_many_features_as_image_tokens(composed: COMPOSE, layout: Settings) -> None:
    model = composed()
    pixels = torch.from_numpy(internvl.pixels(Image.effect_noise((90, 70), 60).convert("RGB"), layout))
    with torch.no_grad():
        features = internvl.image_embeddings(model, internvl.normalised(pixels, layout))
    cost = internvl.budget(90, 70, layout)
    assert features.shape == (cost.tiles, layout.tokens_per_tile, 32)
    assert features.shape[0] * features.shape[1] + 2 == cost.tokens
    assert model.config.image_seq_length == layout.tokens_per_tile


def test_embeddings_are_those_of_transformers(composed: COMPOSE) -> None:
    model = composed()
    pixels = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = model.model.get_image_features(
            pixel_values=pixels, vision_feature_layer=-1, vision_feature_select_strategy="default"
        ).pooler_output
        found = internvl.image_embeddings(model, pixels)
    assert torch.equal(found, expected) and found.std() > 0.05


@settings(max_examples=12, deadline=None)
@given(SIZES, st.sampled_from([Settings(32, 8), replace(PUBLISHED, side=32, patch=8, max_tiles=6)]))
def test_pixels_are_those_of_transformers(tmp_path_factory: Any, size: tuple[int, int], layout: Settings) -> None:
    from transformers import GotOcr2ImageProcessorPil

    folder = tmp_path_factory.mktemp("processor")
    internvl._export_processor(folder, layout)
    random = np.random.default_rng(size)
    image = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    processor = GotOcr2ImageProcessorPil.from_pretrained(folder)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    found = internvl.normalised(torch.from_numpy(internvl.pixels(image, layout)), layout)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-6


def test_a_layout_that_transformers_cannot_repeat_is_not_exported(tmp_path: Path) -> None:
    """Its processor adds a thumbnail to several tiles, whatever its configuration says."""
    with pytest.raises(UserError, match="thumbnail"):
        internvl._export_processor(tmp_path, Settings(32, 8, max_tiles=6, thumbnail=False))


def test_tiles_are_cut_row_by_row_and_the_thumbnail_is_last() -> None:
    image = Image.new("RGB", (96, 64))
    for index, box in enumerate([(c * 32, r * 32) for r in range(2) for c in range(3)]):
        image.paste((index * 40, 0, 0), (*box, box[0] + 32, box[1] + 32))
    pixels = internvl.pixels(image, Settings(32, 8, 6, True))
    assert pixels[:6, 0, 16, 16].tolist() == [0, 40, 80, 120, 160, 200]
    assert len(pixels) == 7 and pixels[6, 0, 0, 0] == 0 and pixels[6, 0, -1, -1] == 200


def test_roles_part_all_parameters(composed: COMPOSE) -> None:
    model = composed()
    roles = internvl.roles(model)
    named = [name for names in roles.values() for name in names]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert set(roles) == {"vision", "connector", "language"} and all(roles.values())
    sizes = {
        role: sum(p.numel() for n, p in model.named_parameters() if n in set(names)) for role, names in roles.items()
    }
    assert sizes["vision"] == sum(p.numel() for p in model.model.vision_tower.parameters())
    assert sizes["connector"] == sum(p.numel() for p in model.model.multi_modal_projector.parameters())


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
    first = composed(seed=4)
    internvl.export_tower(first, tmp_path, internvl.settings(parts()))
    assert internvl.settings(parts(tower=str(tmp_path))) == internvl.settings(parts())
    second = composed(seed=5, tower=str(tmp_path))
    for name, value in first.model.vision_tower.state_dict().items():
        assert torch.equal(second.model.vision_tower.state_dict()[name], value), name
    pixels = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(internvl.patch_features(first, pixels), internvl.patch_features(second, pixels))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "no config.json"),
        ('{"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14}', "siglip_vision_model"),
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


def test_a_pretrained_language_model_is_refused_for_now(composed: COMPOSE) -> None:
    with pytest.raises(UserError, match="language model"):
        composed(language_model="somewhere")


def test_settings_survive_json() -> None:
    for layout in (*LAYOUTS, PUBLISHED):
        row = json.loads(json.dumps(internvl.settings_to_json(layout)))
        assert internvl.settings_from_json(row) == layout


def test_plain_transformers_computes_the_same(composed: COMPOSE, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForImageTextToText

    model, layout = composed(), Settings(32, 8)
    internvl.export(model, tmp_path, layout)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert type(loaded).__name__ == internvl.MODEL_CLASS
    image = Image.effect_noise((50, 40), 60).convert("RGB")
    ids = torch.tensor([[1, *[model.config.image_token_id] * layout.tokens_per_tile, 2, 7, 8, 9]])
    ours = internvl.normalised(torch.from_numpy(internvl.pixels(image, layout)), layout)
    theirs = AutoImageProcessor.from_pretrained(tmp_path)(image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        one, other = model(input_ids=ids, pixel_values=ours).logits, loaded(input_ids=ids, pixel_values=theirs).logits
    assert torch.allclose(one, other, atol=1e-5) and one.std() > 1e-3
    assert loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight


def test_packed_states_see_only_what_the_mask_shows(composed: COMPOSE) -> None:
    """Hidden states of the second half do not depend on a first half that is masked away."""
    model = composed()
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(1, 6, 32, generator=generator)
    mask = torch.full((1, 1, 6, 6), -1e9)
    for block in (slice(0, 3), slice(3, 6)):
        mask[0, 0, block, block] = torch.triu(torch.full((3, 3), -1e9), 1)
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]])
    alone = internvl.hidden_states(model, embeddings[:, 3:], mask[:, :, 3:, 3:], positions[:, 3:])
    packed = internvl.hidden_states(model, embeddings, mask, positions)
    assert torch.allclose(packed[:, 3:], alone, atol=1e-6)
