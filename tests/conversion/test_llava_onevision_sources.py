"""What LLaVA-OneVision's published layout may say and lack: what is read of it, and what is refused with a reason."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from olhar.conversion.convert import convert
from olhar.conversion.source import opened
from olhar.core.choices import choose, names
from olhar.core.errors import UserError
from olhar.families import llava_onevision as family
from olhar.families import load
from olhar.families._images.anyres import all_canvases
from tests.conversion.onevision_opened import GOLDEN, VOCABULARY, plain, swapped

INPUTS = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vision_tower_config.json")
TOWER = "model.vision_tower.vision_tower.vision_model."
TEXT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "max_position_embeddings", "rope_theta", "tie_word_embeddings"),
)
Folder = Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    """A copy of the original with another configuration, further tensors and without some."""

    def make(
        config: Mapping[str, Any] | None = None,
        tensors: Mapping[str, torch.Tensor] | None = None,
        without: tuple[str, ...] = (),
        files: tuple[str, ...] = INPUTS,
    ) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        for name in files:
            shutil.copy(GOLDEN / name, folder)
        row = json.loads((GOLDEN / "config.json").read_text(encoding="utf-8"))
        changed = {key: value for key, value in (row | dict(config or {})).items() if key not in without}
        (folder / "config.json").write_text(json.dumps(changed), encoding="utf-8")
        kept = {name: t for name, t in load_file(GOLDEN / "model.safetensors").items() if not name.startswith(without)}
        save_file(kept | dict(tensors or {}), folder / "model.safetensors")
        return folder

    return make


@pytest.mark.parametrize("config", [{}, {"model_type": "llava"}, {"model_type": "llava_qwen", "architectures": None}])
def test_exactly_one_family_recognises_it(source: Folder, config: dict[str, Any]) -> None:
    found = opened(source(config))
    assert [name for name in names("families") if choose("families", name).recognises(found)] == ["llava_onevision"]


def test_a_clip_tower_is_another_architecture(source: Folder) -> None:
    """LLaVA-1.6 has the same keys; its tower has a class token."""
    folder = source(tensors={f"{TOWER}embeddings.class_embedding": torch.zeros(32)})
    assert not family.recognises(opened(folder))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"mm_newline_position": "grid"}, "mm_newline_position is 'grid'"),
        ({"mm_newline_position": "frame"}, "mm_newline_position"),
        ({"mm_spatial_pool_mode": "average"}, "mm_spatial_pool_mode is 'average'"),
        ({"mm_patch_merge_type": "spatial"}, "mm_patch_merge_type is 'spatial'"),
        ({"mm_projector_type": "mlp3x_gelu"}, "mm_projector_type"),
        ({"mm_resampler_type": "perceiver"}, "mm_resampler_type"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end"),
        ({"image_aspect_ratio": "pad"}, "image_aspect_ratio is 'pad'"),
        ({"image_grid_pinpoints": [[384, 500]]}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": "all"}, "image_grid_pinpoints"),
        ({"architectures": ["LlavaGemmaForCausalLM"], "model_type": "llava_gemma"}, "language model"),
        ({"tie_word_embeddings": False}, "lm_head.weight"),
    ],
)
def test_what_the_class_cannot_carry_is_refused(
    source: Folder, tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        convert(source(config), tmp_path / "target")
    assert str(tmp_path / "source" / "config.json") in caught.value.where
    assert not (tmp_path / "target").exists()


def settings_of(folder: Path, **options: Any) -> Any:
    return family.conversion(opened(folder, **options)).settings


def test_a_list_of_canvases_is_read_as_width_and_height(source: Folder) -> None:
    """Its order too: a small square image takes the first of two canvases that fit it equally well."""
    pairs = [[384, 768], [768, 384], [768, 768], [1152, 384]]
    found = settings_of(source({"image_grid_pinpoints": pairs, "image_aspect_ratio": "anyres"}))
    assert found.pinpoints == ((768, 384), (384, 768), (768, 768), (384, 1152))
    assert found.max_tiles == 4, "plain anyres never shrinks a map: none of these canvases has more tiles"


def test_a_range_of_canvases_is_read(source: Folder) -> None:
    found = settings_of(source({"image_grid_pinpoints": "(1x1),...,(6x6)", "image_aspect_ratio": "anyres_max_4"}))
    assert found.pinpoints == swapped(all_canvases(384)) and found.max_tiles == 4


def test_an_untied_output_layer_is_kept(source: Folder, tmp_path: Path) -> None:
    head = torch.randn(VOCABULARY, 48)
    convert(source({"tie_word_embeddings": False}, {"lm_head.weight": head}), tmp_path / "target")
    model = plain(tmp_path / "target", "sdpa")
    assert torch.equal(model.lm_head.weight[:VOCABULARY], head)
    assert not torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)


def test_the_number_of_heads_comes_from_the_towers_own_files(source: Folder, tmp_path: Path) -> None:
    """The tower that a person names, a file beside the weights, or a known name whose numbers fit the weights."""
    row = json.loads((GOLDEN / "vision_tower_config.json").read_text(encoding="utf-8"))
    own = tmp_path / "tower.json"
    own.write_text(json.dumps(row | {"num_attention_heads": 8}), encoding="utf-8")
    folder = source(files=tuple(name for name in INPUTS if name != "vision_tower_config.json"))
    found = family.conversion(opened(folder, tower=own))
    assert found.config["vision_config"]["num_attention_heads"] == 8
    with pytest.raises(UserError, match="hidden_size 1152") as caught:
        convert(folder, tmp_path / "target")
    assert "--tower" in caught.value.fix
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"mm_vision_tower": "our/own"}), encoding="utf-8")
    with pytest.raises(UserError, match="heads of the tower 'our/own'"):
        convert(folder, tmp_path / "target")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tower and a language model in folders of their own, and a connector that was aligned between them."""
    from transformers import AutoConfig, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    row = json.loads((GOLDEN / "vision_tower_config.json").read_text(encoding="utf-8"))
    SiglipVisionModel(SiglipVisionConfig(**row)).save_pretrained(root / "tower")
    config = json.loads((GOLDEN / "config.json").read_text(encoding="utf-8"))
    flat = {key: value for key, value in config.items() if not key.startswith("mm_")}
    text = AutoConfig.for_model("qwen2", **{k: flat[k] for k in TEXT})
    base = Qwen2ForCausalLM(text)
    base.save_pretrained(root / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / name, root / "base")
    connector = root / "connector"
    connector.mkdir()
    aligned = config | {"image_aspect_ratio": "square", "mm_patch_merge_type": "flat", "mm_newline_position": "grid"}
    del aligned["image_grid_pinpoints"]
    (connector / "config.json").write_text(json.dumps(aligned), encoding="utf-8")
    weights = load_file(GOLDEN / "model.safetensors")
    trained = {name: tensor for name, tensor in weights.items() if "mm_projector" in name}
    torch.save(trained, connector / "mm_projector.bin")
    return {"tower": root / "tower", "base": root / "base", "connector": connector}


def test_a_connector_alone_becomes_a_start(parts: dict[str, Path], tmp_path: Path) -> None:
    """Language model, connector and tower as they were, the tower without its last layer; a line break is drawn."""
    from transformers import Qwen2ForCausalLM, SiglipVisionModel

    for name in ("one", "two"):
        convert(parts["connector"], tmp_path / name, tower=parts["tower"], base=parts["base"])
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    model = plain(tmp_path / "one", "sdpa")
    newline = model.model.image_newline.detach()
    assert float(newline.std()) == pytest.approx(48**-0.5, rel=0.3)
    ids, pixels = torch.tensor([[5, 9, 200, 31]]), torch.rand(1, 3, 384, 384)
    base, tower = Qwen2ForCausalLM.from_pretrained(parts["base"]), SiglipVisionModel.from_pretrained(parts["tower"])
    with torch.no_grad():
        assert (model(input_ids=ids).logits[..., :VOCABULARY] - base(input_ids=ids).logits).abs().max() <= 1e-5
        seen = tower.eval()(pixels, output_hidden_states=True).hidden_states
        assert len(seen) == 4 and (family.patch_features(model, pixels) - seen[2]).abs().max() <= 1e-5
    assert load(tmp_path / "one").settings == family.Settings(384, 14, all_canvases(384))


def test_a_connector_without_its_tower_is_told(parts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no vision tower") as caught:
        convert(parts["connector"], tmp_path / "target", base=parts["base"])
    assert "--tower" in caught.value.fix


def test_a_damaged_tower_is_told(source: Folder, tmp_path: Path) -> None:
    folder = source(without=(f"{TOWER}embeddings.position_embedding",))
    with pytest.raises(UserError, match="position_embedding"):
        convert(folder, tmp_path / "target")


def test_an_unknown_tensor_is_told(source: Folder, tmp_path: Path) -> None:
    folder = source(tensors={"model.vision_resampler.weight": torch.zeros(3)})
    with pytest.raises(UserError, match="no part") as caught:
        convert(folder, tmp_path / "target")
    assert "model.vision_resampler.weight" in caught.value.where
