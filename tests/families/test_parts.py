"""Composing from parts: a fresh composition is its base language model on text, and its tower on pixels."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from olhar.core.choices import choose
from olhar.core.errors import UserError
from olhar.core.recipe import LanguageModelShape, ModelParts, TokenizerShape, TowerShape
from olhar.families import _parts, _towers, llava

WORDS = 40
TEXT = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
WORDS_OF_TOWER = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 20,
}


def base(folder: Path, kind: str = "llama", **changes: Any) -> Any:
    """A small language model saved in a folder, in evaluation mode."""
    torch.manual_seed(1)
    configs = {"llama": LlamaConfig, "qwen2": Qwen2Config, "phi": PhiConfig}
    classes = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM, "phi": PhiForCausalLM}
    model = classes[kind](configs[kind](**TEXT | changes, initializer_range=0.3))
    model.save_pretrained(folder)
    return model.eval()


def tower(folder: Path, kind: str) -> Any:
    """A small tower, alone or in a full model, saved in a folder; returns the tower."""
    torch.manual_seed(2)
    if kind == "clip":
        model: Any = CLIPVisionModel(CLIPVisionConfig(**VISION))
    elif kind == "siglip":
        model = SiglipVisionModel(SiglipVisionConfig(**VISION))
    elif kind == "full clip":
        model = CLIPModel(CLIPConfig(text_config=WORDS_OF_TOWER, vision_config=VISION))
    else:
        model = SiglipModel(SiglipConfig(text_config=WORDS_OF_TOWER, vision_config=VISION))
    model.save_pretrained(folder)
    return getattr(model, "vision_model", model).eval()


def tokenizer(words: int = WORDS, family: Any = llava) -> Tokenizer:
    made = Tokenizer(models.WordLevel({f"w{number}": number for number in range(words)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.SPECIAL_TOKENS])
    return made


def parts(family: str = "llava", **changes: Any) -> ModelParts:
    chosen: dict[str, Any] = {
        "tower": TowerShape(image_size=56, patch_size=14, hidden_size=32, layers=3, heads=2, intermediate_size=48),
        "language_model": LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48),
        "tokenizer": "unused",
    }
    return ModelParts(family=family, **chosen | changes)


def composed(chosen: ModelParts, words: int = WORDS, seed: int = 0) -> Any:
    family = choose("families", chosen.family)
    torch.manual_seed(seed)
    return family.compose(chosen, family.settings(chosen), tokenizer(words, family)).eval()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("family", ["llava", "internvl"])
def test_on_text_it_is_its_language_model(family: str, kind: str, tied: bool, tmp_path: Path) -> None:
    known = base(tmp_path, kind, tie_word_embeddings=tied)
    known.set_attn_implementation("eager")
    model = composed(parts(family, language_model=str(tmp_path)))
    ids = torch.randint(0, WORDS, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = model(input_ids=ids).logits, known(input_ids=ids).logits
    assert torch.equal(ours[..., :WORDS], theirs) and theirs.std() > 0.1
    words = model.get_input_embeddings().weight
    assert (model.get_output_embeddings().weight is words) == tied == model.config.tie_word_embeddings
    more = choose("families", family).SPECIAL_TOKENS
    assert len(words) == WORDS + len(more)
    assert torch.allclose(words[WORDS:], words[:WORDS].mean(dim=0).expand(len(more), -1))


def test_rows_that_a_base_has_to_spare_are_kept(tmp_path: Path) -> None:
    known = base(tmp_path, tie_word_embeddings=False)
    model = composed(parts(language_model=str(tmp_path)), words=WORDS - 5)
    assert model.config.image_token_index == WORDS - 5 and model.config.text_config.vocab_size == WORDS
    assert torch.equal(model.get_input_embeddings().weight, known.get_input_embeddings().weight)
    assert torch.equal(model.get_output_embeddings().weight, known.get_output_embeddings().weight)


def test_a_base_in_half_precision_is_composed_in_full(tmp_path: Path) -> None:
    known = base(tmp_path).bfloat16()
    known.save_pretrained(tmp_path)
    model = composed(parts(language_model=str(tmp_path)))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.lm_head.weight[:WORDS], known.lm_head.weight.float())


@pytest.mark.parametrize("kind", ["clip", "siglip", "full clip", "full siglip"])
def test_on_pixels_it_is_its_tower(kind: str, tmp_path: Path) -> None:
    known = tower(tmp_path, kind)
    known.set_attn_implementation("eager")
    model = composed(parts(tower=str(tmp_path)))
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = known(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        found = llava.patch_features(model, pixels)
    assert torch.equal(found, expected[:, 1:] if "clip" in kind and "siglip" not in kind else expected)


@pytest.mark.parametrize("family", ["llava", "vipllava", "internvl", "llava_onevision"])
def test_it_depends_on_the_seed_alone(family: str, tmp_path: Path) -> None:
    shape = TowerShape(image_size=56, patch_size=14, hidden_size=32, layers=10, heads=2, intermediate_size=48)
    base(tmp_path)
    for language_model in (parts().language_model, str(tmp_path)):
        chosen = parts(family, tower=shape, language_model=language_model)
        one, same, other = (composed(chosen, seed=seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(value, same[name]) for name, value in one.items())
        drawn = {name.split(".")[1] for name in one if not torch.equal(one[name], other[name])}
        assert {"vision_tower", "multi_modal_projector"} <= drawn
        assert ("language_model" in drawn) == (language_model != str(tmp_path))


def test_the_connector_starts_as_large_as_words() -> None:
    shape = LanguageModelShape(hidden_size=128, layers=1, heads=2, intermediate_size=48)
    projector = composed(parts(language_model=shape)).model.multi_modal_projector
    for layer in (projector.linear_1, projector.linear_2):
        assert float(layer.weight.detach().std()) == pytest.approx(layer.in_features**-0.5, rel=0.05)
        assert not layer.bias.any()


def text_config(folder: Path, **row: Any) -> str:
    (folder / "config.json").write_text(json.dumps(row))
    return str(folder)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"model_type": "clip_vision_model"}, "'clip_vision_model' is no language model"),
        ({"model_type": "llava"}, "'llava' is no language model"),
        ({"model_type": "of_tomorrow"}, "cannot be loaded"),
        ({"hidden_size": 32}, "cannot be loaded"),
        ({"model_type": "llama", **TEXT}, "cannot be loaded"),  # no weights
        ({"model_type": "their_own", "auto_map": {"AutoConfig": "theirs.Config"}}, "cannot be loaded"),
    ],
    ids=["tower", "composed", "unknown", "typeless", "empty", "own code"],
)
def test_a_folder_that_holds_no_language_model_is_told(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as caught:
        composed(parts(language_model=text_config(tmp_path, **row)))
    assert caught.value.where == str(tmp_path)


def test_nothing_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no language model here \(no config"):
        composed(parts(language_model=str(tmp_path)))


def test_a_language_model_with_a_tensor_missing_is_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base(tmp_path, tie_word_embeddings=False)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"missing keys.*layers\.1\.mlp\.up_proj\.weight"):
        composed(parts(language_model=str(tmp_path)))


def test_an_output_layer_without_a_place_is_told(tmp_path: Path) -> None:
    base(tmp_path, "phi")
    with pytest.raises(UserError, match="output layer"):
        composed(parts(language_model=str(tmp_path)))


def test_a_pretrained_model_and_a_tokenizer_to_learn_do_not_fit(tmp_path: Path) -> None:
    base(tmp_path)
    learned = TokenizerShape(vocabulary=300, mixture="all")
    with pytest.raises(UserError, match="still to be learned"):
        composed(parts(language_model=str(tmp_path), tokenizer=learned))


def test_a_tokenizer_without_the_image_token_is_told() -> None:
    bare = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(UserError, match="does not know <image>"):
        llava.compose(parts(), llava.settings(parts()), bare)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, r"no config\.json"),
        ("{", "not JSON"),
        ('{"model_type": "dinov2"}', "type 'dinov2' does not fit.*clip_vision_model or siglip_vision_model"),
        ('{"model_type": "siglip_vision_model", "image_size": [384, 378]}', "no square"),
        ('{"model_type": "siglip_vision_model", "image_size": 8}', "no patch of 16 pixels fits"),
    ],
)
def test_a_tower_that_does_not_fit_is_told(text: str | None, told: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"(?s){told}"):
        llava.settings(parts(tower=str(tmp_path)))


def test_a_tower_with_a_tensor_missing_is_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tower(tmp_path, "clip")
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "position_embedding" in name)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="missing keys"):
        composed(parts(tower=str(tmp_path)))


@pytest.mark.parametrize("name", _towers.KNOWN)
def test_known_towers_are_what_their_class_builds(name: str) -> None:
    """On the meta device: as many position embeddings as patches, and the published number of parameters."""
    from transformers import AutoConfig, AutoModel

    row = _towers.KNOWN[name]
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(**row))
    counts = {  # of the vision towers, by the arithmetic of their papers' shapes
        "openai/clip-vit-large-patch14-336": 303_507_456,
        "google/siglip-so400m-patch14-384": 428_225_600,
    }
    total = sum(parameter.numel() for parameter in model.parameters())
    assert counts.get(name, total) == total
    patches = (row["image_size"] // row["patch_size"]) ** 2
    embeddings = model.get_parameter("embeddings.position_embedding.weight")
    assert len(embeddings) == patches + _towers.KINDS[row["model_type"]].class_token


def test_rows_are_grown_by_their_mean() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert torch.equal(_parts.grown(table, 4), torch.tensor([[1.0, 2.0], [3.0, 6.0], [2.0, 4.0], [2.0, 4.0]]))
    assert torch.equal(_parts.grown(table, 2), table)
