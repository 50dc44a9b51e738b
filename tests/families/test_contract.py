"""What every family must keep, asked of every file of the folder: a new family is tested by being there."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from olhar.core.choices import choose, names
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.families import Checkpoint, Encoder, Medium, Spoken, embedded, feature_ids, load, normalised, pixels_of
from olhar.families import views_of as views_of_media
from olhar.families._checkpoint import read_sidecar, sidecar
from olhar.families._writing import SIDECAR
from olhar.prompts import prompt, with_placeholder
from olhar.training.data.layout import Segments
from olhar.training.model import attention

FAMILIES = names("families")
SIDE, PATCH, HIDDEN = 56, 14, 32
WORDS = ("um", "dois", "três", "?", "Image-1", "Frame-1")


def parts(family: str) -> ModelParts:
    tower = TowerShape(image_size=SIDE, patch_size=PATCH, hidden_size=HIDDEN, layers=12, heads=2, intermediate_size=48)
    text = LanguageModelShape(hidden_size=HIDDEN, layers=2, heads=2, intermediate_size=48, max_tokens=4096)
    return ModelParts(family=family, tower=tower, language_model=text, tokenizer="unused")


def tokenizer_of(family: Any) -> Tokenizer:
    words = {
        word: number for number, word in enumerate(("<unk>", "<pad>", "</s>", "<|user|>", "<|assistant|>", *WORDS))
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = ("</s>", "<|user|>", "<|assistant|>", *family.SPECIAL_TOKENS)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    family, chosen = choose("families", request.param), parts(request.param)
    tokenizer, settings = tokenizer_of(family), family.settings(chosen)
    torch.manual_seed(0)
    model = family.compose(chosen, settings, tokenizer).eval()
    return Checkpoint(model, tokenizer, request.param, settings, Spoken("compact", None, "pt"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageRef | VideoRef]:
    """Pictures of several sizes, and a video of three frames."""
    folder, random = tmp_path_factory.mktemp("shown"), np.random.default_rng(0)

    def drawn(path: Path, width: int, height: int) -> str:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        return str(path)

    for number in range(3):
        drawn(folder / "frames" / f"{number}.png", 60, 40)
    sizes = {"square": (56, 56), "wide": (150, 60), "tall": (50, 130), "tiny": (3, 5)}
    found: dict[str, ImageRef | VideoRef] = {
        name: ImageRef(drawn(folder / f"{name}.png", *size)) for name, size in sizes.items()
    }
    return found | {"video": VideoRef(str(folder / "frames"))}


SAMPLES = [("square",), ("wide",), ("tall",), ("tiny",), ("wide", "tall"), ("video",), ("square", "video"), ()]
sampled = pytest.mark.parametrize("media", SAMPLES, ids="+".join)


def question(media: Sequence[str], shown: dict[str, Any]) -> list[Turn]:
    return [Turn("user", (*(shown[name] for name in media), "um dois ?"))]


def asked(checkpoint: Checkpoint, turns: list[Turn]) -> tuple[list[int], torch.Tensor]:
    """The ids of a question and (1, tokens, hidden) what the language model reads."""
    family, settings, model = checkpoint.family, checkpoint.settings, checkpoint.model
    encoder = Encoder(prompt("compact"), None, with_placeholder(checkpoint.tokenizer), family, settings)
    ids = encoder.question(turns, "pt").ids
    media = [ref for turn in turns for ref in turn.media]
    views = views_of_media(media, family, settings)
    features = None
    with torch.no_grad():
        if media:
            pixels = normalised(torch.from_numpy(pixels_of(media, views, family, settings)), settings)
            features = family.joined(model, family.connected(model, family.patch_features(model, pixels)), views)
        return ids, embedded(model, family, torch.tensor([ids]), features)


@sampled
def test_tokens_are_what_the_budget_says_and_features_fill_them(
    checkpoint: Checkpoint, shown: dict[str, Any], media: Sequence[str]
) -> None:
    family, settings = checkpoint.family, checkpoint.settings
    refs = [shown[name] for name in media]
    views = views_of_media(refs, family, settings)
    for ref, view in zip(refs, views, strict=True):
        spelled = checkpoint.tokenizer.encode(family.spell(view, settings), add_special_tokens=False).ids
        if isinstance(ref, ImageRef):
            assert len(spelled) == view.budget.tokens
        pixels = pixels_of([ref], [view], family, settings)
        assert pixels.shape == (view.budget.tiles, 3, SIDE, SIDE) and pixels.dtype == np.uint8
    ids, embeddings = asked(checkpoint, question(media, shown))  # raises where features and places differ
    assert embeddings.shape == (1, len(ids), HIDDEN)
    assert bool(set(feature_ids(checkpoint.model, family)) & set(ids)) == bool(media)


@pytest.mark.parametrize("media", [names for names in SAMPLES if len(names) > 1], ids="+".join)
def test_a_picture_changes_what_is_read_and_the_order_counts(
    checkpoint: Checkpoint, shown: dict[str, Any], media: Sequence[str]
) -> None:
    _, one = asked(checkpoint, question(media, shown))
    _, other = asked(checkpoint, question(tuple(reversed(media)), shown))
    assert one.shape == other.shape and not torch.allclose(one, other)


def test_views_are_told_apart_and_can_be_keys(checkpoint: Checkpoint) -> None:
    wide, tall = Medium("image", ((150, 60),)), Medium("image", ((50, 130),))
    views = checkpoint.family.views([wide, tall, wide], checkpoint.settings)
    assert views[0] == views[2] and len({*views}) <= 2


def test_roles_part_all_parameters(checkpoint: Checkpoint) -> None:
    roles = checkpoint.family.roles(checkpoint.model)
    named = [name for found in roles.values() for name in found]
    assert sorted(named) == sorted(name for name, _ in checkpoint.model.named_parameters())
    assert all(roles[role] for role in ("vision", "connector", "language"))


def test_settings_survive_json(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / SIDECAR).write_text(json.dumps(sidecar(checkpoint.family_name, checkpoint.settings, checkpoint.spoken)))
    said = read_sidecar(tmp_path)
    assert said and (said.settings, said.spoken) == (checkpoint.settings, checkpoint.spoken)


@pytest.fixture(scope="module")
def reloaded(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint]:
    folder = tmp_path_factory.mktemp("saved") / "model"
    checkpoint.save(folder)
    return folder, load(folder)


@sampled
def test_what_is_written_reads_back_as_the_same_model(
    checkpoint: Checkpoint, reloaded: tuple[Path, Checkpoint], shown: dict[str, Any], media: Sequence[str]
) -> None:
    _, same = reloaded
    assert (same.settings, same.spoken, same.family_name) == (
        checkpoint.settings,
        checkpoint.spoken,
        checkpoint.family_name,
    )
    turns = question(media, shown)
    (ids, one), (other_ids, other) = asked(checkpoint, turns), asked(same, turns)
    with torch.no_grad():
        logits = [c.model(inputs_embeds=e).logits for c, e in ((checkpoint, one), (same, other))]
    assert ids == other_ids and torch.allclose(*logits, atol=1e-5) and logits[0].std() > 0


def test_the_folder_has_the_names_that_engines_look_for(reloaded: tuple[Path, Checkpoint]) -> None:
    folder, same = reloaded
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [same.family.MODEL_CLASS] and config["model_type"] == same.family.MODEL_TYPE
    assert config["text_config"]["rope_theta"] > 0 and config["torch_dtype"] == config["dtype"] == "float32"
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["suppress_tokens"] == feature_ids(same.model, same.family)
    assert json.loads((folder / SIDECAR).read_text())["family"] == same.family_name
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in folder.iterdir()), "a server under another user reads"


def test_a_packed_question_is_the_question_alone(checkpoint: Checkpoint, shown: dict[str, Any]) -> None:
    """Two documents in one row, positions restarting, each hidden from the other (arXiv:2107.02027)."""
    embeddings = [asked(checkpoint, question(media, shown))[1] for media in (("wide",), ("video",))]
    lengths = [e.shape[1] for e in embeddings]
    bounds = np.cumsum([0, *lengths])
    segments = Segments(bounds, np.zeros((2, 2), dtype=np.int64), bounds[[0, -1]])
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    family, model = checkpoint.family, copy.deepcopy(checkpoint.model)
    attention.install(model)
    with torch.no_grad():
        packed = family.hidden_states(model, torch.cat(embeddings, 1), segments, positions)
        language = checkpoint.model.model.language_model
        alone = [language(inputs_embeds=e, use_cache=False).last_hidden_state for e in embeddings]
    assert torch.allclose(packed, torch.cat(alone, 1), atol=1e-5)
    with pytest.raises(RuntimeError):  # any other attention would mix the two up
        family.hidden_states(checkpoint.model, torch.cat(embeddings, 1), segments, positions)


def test_the_lines_for_a_card_ask_as_we_do(
    checkpoint: Checkpoint, reloaded: tuple[Path, Checkpoint], shown: dict[str, Any]
) -> None:
    """In plain transformers without torchvision: the inputs that its snippet makes, and logits that are ours."""
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    folder, same = reloaded
    name, lines = same.family.usage(same.settings)
    content = [{"type": "image"}, {"type": "text", "text": "um dois ?"}]
    made: dict[str, Any] = {
        "messages": [{"role": "user", "content": content}],
        "image": Image.open(shown["wide"].path).convert("RGB"),
        "model": AutoModelForImageTextToText.from_pretrained(folder),
        "tokenizer": AutoTokenizer.from_pretrained(folder),
        "processor": getattr(transformers, name).from_pretrained(folder),
    }
    exec(lines, made)
    ids, embeddings = asked(same, question(("wide",), shown))
    assert made["inputs"]["input_ids"][0].tolist() == ids
    with torch.no_grad():
        theirs, ours = made["model"](**made["inputs"]).logits, same.model(inputs_embeds=embeddings).logits
    assert torch.allclose(theirs, ours, atol=1e-5)
