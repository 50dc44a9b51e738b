"""A recipe changes how a family looks at pictures by the names of its settings, and nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TokenizerShape, TowerShape
from olhar.families import Medium, budget
from olhar.families._images import anyres, squares, tiles
from olhar.families._settings import changed, of_stage, settings_of

CLIP = squares.Settings(336, 14, "pad", "default", True, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ANYRES = anyres.Settings(384, 14, anyres.all_canvases(384))
FIVE = [[768, 384], [384, 768], [768, 768], [384, 1152], [1152, 384]]  # of LLaVA-NeXT's plain "anyres"


def parts(family: str, tower: str | TowerShape, **image: Any) -> ModelParts:
    shape, tokenizer = LanguageModelShape(), TokenizerShape(mixture="all")
    return ModelParts(family=family, tower=tower, language_model=shape, tokenizer=tokenizer, image=image)


@pytest.fixture
def siglip(tmp_path: Path) -> str:
    """The configuration of ViTucano's tower; of no other use."""
    config = {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, "num_hidden_layers": 27}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(tmp_path)


def test_a_vitucano_sees_728_tokens(siglip: str) -> None:
    """SigLIP has no class token, so ``default`` drops a patch: what ViTucano was trained with."""
    family = choose("families", "llava")
    assert budget(family, 640, 480, settings_of(family, parts("llava", siglip))).tokens == 729
    published = settings_of(family, parts("llava", siglip, strategy="default"))
    assert budget(family, 640, 480, published).tokens == 728
    assert published.fit == "squash"


def test_a_stage_differs_and_the_model_does_not() -> None:
    family = choose("families", "llava")
    made = parts("llava", TowerShape(), fit="pad")
    assert settings_of(family, made, {"fit": "crop"}).fit == "crop"
    assert settings_of(family, made, {}).fit == settings_of(family, made).fit == "pad"


def test_tiles_of_an_internvl() -> None:
    family = choose("families", "internvl")
    made = parts("internvl", TowerShape(image_size=448, patch_size=14), max_tiles=12, thumbnail=True)
    settings = settings_of(family, made)
    assert budget(family, 1600, 1200, settings).tiles == 13
    assert budget(family, 1600, 1200, settings_of(family, made, {"max_tiles": 6})).tiles == 7


def test_an_alignment_without_canvases_sees_one_tile() -> None:
    settings = changed(ANYRES, {"pinpoints": []}, "train.stages.0.image")
    (view,) = anyres.views([Medium("image", ((1000, 500),))], settings)
    assert (view.how, view.budget.tokens, view.budget.tiles) == ("whole", 730, 1)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 1000, 3), dtype=np.uint8))
    squashed = np.asarray(picture.resize((384, 384), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert (anyres.pixels([picture], view, settings)[0] == squashed).all()


def test_two_images_of_an_alignment_are_padded_as_ever() -> None:
    media = [Medium("image", ((1000, 500),))] * 2
    settings = changed(ANYRES, {"pinpoints": []}, "train.stages.0.image")
    assert anyres.views(media, settings) == anyres.views(media, ANYRES)


def test_lists_become_tuples() -> None:
    settings = changed(ANYRES, {"pinpoints": FIVE}, "train.stages.1.image")
    assert settings.pinpoints == tuple(map(tuple, FIVE))
    assert hash(settings)
    assert anyres.tile_grid(1000, 1000, settings) == (2, 2)
    assert anyres.tile_grid(1000, 1000, ANYRES) == (3, 3)


def test_a_canvas_of_a_stage_is_packed_as_transformers_packs_it_for_a_model_of_that_canvas() -> None:
    import torch

    from tests.families.test_llava_onevision import composed

    family: Any = choose("families", "llava_onevision")
    published = anyres.Settings(42, 14, anyres.all_canvases(42, 3), 4)
    stage = changed(published, {"pinpoints": [[84, 42], [42, 84]]}, "x")
    model = composed(published)  # whose configuration names other canvases than the stage
    size = (100, 61)
    (view,) = family.views([Medium("image", (size,))], stage)
    features = torch.randn(view.budget.tiles, 9, 32)
    found = family.joined(model, features, [view])
    reference = composed(stage).model
    reference.image_newline = model.model.image_newline
    sizes = [(size[1], size[0])]
    (expected,), _ = reference.pack_image_features([features], sizes, reference.image_newline, "anyres_max_4")
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("settings", "image", "what", "fix"),
    [
        (CLIP, {"fitt": "pad"}, "no image setting 'fitt'", "did you mean 'fit'? settings: fit, strategy"),
        (CLIP, {"max_tiles": 6}, "no image setting 'max_tiles'", "settings: fit"),
        (CLIP, {"fit": "stretch"}, "'squash', 'pad' or 'crop'", "value"),
        (CLIP, {"side": 448}, "side is the tower's", "name another tower"),
        (CLIP, {"std": [0.5, 0.5]}, "does not fit", "value"),
        (CLIP, {"std": [0.5, 0.5, 0.0]}, "not above 0", "tower's own"),
        (ANYRES, {"max_tiles": "9"}, "does not fit", "value"),
        (ANYRES, {"max_tiles": True}, "does not fit", "value"),
        (ANYRES, {"max_tiles": 0}, "at most 0 tiles", "1 or more"),
        (ANYRES, {"pinpoints": [[384, 500]]}, "384 x 500 pixels holds no whole tiles", "multiples of 384"),
        (tiles.Settings(448, 14), {"min_tiles": 3}, "at least 3 and at most 1", "max_tiles"),
        (tiles.Settings(448, 14), {"frame_label": "Frame: "}, "no place for a number", "{}"),
        (tiles.Settings(448, 14), {"frame_label": "{frame}"}, "no place for a number", "{}"),
    ],
)
def test_what_cannot_be_is_told(settings: Any, image: Mapping[str, Any], what: str, fix: str) -> None:
    with pytest.raises(UserError) as error:
        changed(settings, image, "train.stages.0.image")
    assert what in error.value.what and fix in error.value.fix
    assert error.value.where.startswith("train.stages.0.image")


def test_what_the_model_was_made_with_is_no_stages_choice() -> None:
    with pytest.raises(UserError, match="stage to stage"):
        of_stage(CLIP, {"strategy": "full"}, "train.stages.1.image")


@pytest.mark.parametrize(("family", "image"), [("llava_onevision", {"pinpoints": []}), ("internvl", {"max_tiles": 6})])
def test_a_model_that_transformers_could_not_be_told_of(family: str, image: dict[str, Any]) -> None:
    """One without canvases, one of several tiles without the thumbnail that it always adds."""
    with pytest.raises(UserError, match="transformers always"):
        settings_of(choose("families", family), parts(family, TowerShape(), **image))


def test_nothing_said_changes_nothing() -> None:
    assert changed(ANYRES, {}, "x") == ANYRES
