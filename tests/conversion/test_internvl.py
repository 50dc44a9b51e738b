"""InternVL as its authors publish it: converted, it computes and answers what the original code did."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoTokenizer, InternVLProcessor, RepetitionPenaltyLogitsProcessor

from olhar.conversion.convert import convert
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.families import Spoken, internvl, views_of
from olhar.families._checkpoint import SIDECAR
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.languages import language
from olhar.prompts import PLACEHOLDER
from tests.conversion.internvl_opened import BASE, GOLDEN, HERMES, LAYOUT, Converted

CASES = [
    (BASE, "single_greedy"),
    (BASE, "single_beam3_rep3.5"),
    (BASE, "turn2_greedy"),
    (BASE, "text_only_rep1.5"),
    (BASE, "multi_image"),
    (BASE, "video_3frames"),
    (HERMES, "single_greedy"),
]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Converted]:
    found: dict[str, Converted] = {}
    for name in (BASE, HERMES):
        target = tmp_path_factory.mktemp("converted") / name
        convert(GOLDEN / name, target)
        found[name] = Converted.open(target)
    return found


def case(folder: str, name: str) -> dict[str, Any]:
    rows = json.loads((GOLDEN / folder / "cases.json").read_text(encoding="utf-8"))
    return next(row for row in rows if row["name"] == name)


def asked(folder: str, name: str, tmp_path: Path) -> list[Turn]:
    """The turns of a case: what was shown, where it was shown, what was said before."""
    row = case(folder, name)
    images = [ImageRef(str(GOLDEN / folder / file)) for file in row["images"]]
    question = row["question"].split(PLACEHOLDER)
    if name == "video_3frames":
        for file in row["images"]:
            shutil.copy(GOLDEN / folder / file, tmp_path / file)
        return [Turn("user", (VideoRef(str(tmp_path)), question[-1].removeprefix("\n")))]
    if name == "multi_image":
        return [Turn("user", (question[0], images[0], question[1], images[1], question[2]))]
    if row["history_in"]:
        first, answer = row["history_in"][0]
        before = [Turn("user", (images[0], first.removeprefix(f"{PLACEHOLDER}\n"))), Turn("assistant", (answer,))]
        return [*before, Turn("user", (row["question"],))]
    return [Turn("user", (*images, row["question"]))]


def test_the_target_says_how_it_is_spoken_to_and_how_it_sees(converted: dict[str, Converted]) -> None:
    for name, variant, system in ((BASE, "internvl2_5", "internvl2_5"), (HERMES, "hermes", "internvl_hermes")):
        row = json.loads((converted[name].folder / SIDECAR).read_text(encoding="utf-8"))
        spoken = Spoken(row["prompt"], row["variant"], row["language"], row["system"])
        assert spoken == Spoken("chatml", variant, "en", language("zh").system[system])
        assert converted[name].encoder.settings == LAYOUT
        config = converted[name].model.config
        assert (config.image_token_id, config.text_config.vocab_size, config.image_seq_length) == (405, 412, 4)
        assert not config.tie_word_embeddings and config.text_config.rope_parameters["rope_theta"] == 1e6
        assert config.vision_config.attention_bias and not config.vision_config.use_qk_norm


def test_every_weight_has_its_place(converted: dict[str, Converted]) -> None:
    stored = load_file(GOLDEN / BASE / "model.safetensors")
    base = converted[BASE]
    assert not any(base.report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state = base.model.state_dict()
    assert sum(value.numel() for value in state.values()) == sum(value.numel() for value in stored.values())
    third = stored["vision_model.encoder.layers.1.attn.qkv.weight"][32:64]
    assert torch.equal(state["model.vision_tower.encoder.layer.1.attention.k_proj.weight"], third)
    assert torch.equal(state["lm_head.weight"], stored["language_model.lm_head.weight"])
    assert not torch.equal(state["lm_head.weight"], state["model.language_model.embed_tokens.weight"])


@pytest.mark.parametrize(("folder", "name"), CASES)
class TestCases:
    def test_prompt_and_ids(self, converted: dict[str, Converted], tmp_path: Path, folder: str, name: str) -> None:
        encoder, row = converted[folder].encoder, case(folder, name)
        turns = asked(folder, name, tmp_path)
        stored = load_file(GOLDEN / folder / f"{name}.safetensors")
        assert encoder.question(turns, "vi").ids == stored["input_ids"][0].tolist()
        rendered = encoder.prompt.render(
            turns, language("en"), variant=encoder.variant, system=encoder.system, open=True
        )
        text = rendered.text
        for view in views_of(rendered.media, internvl, encoder.settings):
            text = text.replace(PLACEHOLDER, internvl.spell(view, encoder.settings), 1)
        assert text == row["prompt"]

    def test_pixels(self, converted: dict[str, Converted], tmp_path: Path, folder: str, name: str) -> None:
        stored = load_file(GOLDEN / folder / f"{name}.safetensors").get("pixel_values")
        media = [ref for turn in asked(folder, name, tmp_path) for ref in turn.media]
        if stored is None:
            assert not media
            return
        found = converted[folder].pixels(media)
        assert found.shape == stored.shape and (found - stored).abs().max() <= 1e-6

    def test_logits(self, converted: dict[str, Converted], tmp_path: Path, folder: str, name: str) -> None:
        stored = load_file(GOLDEN / folder / f"{name}.safetensors")
        logits = converted[folder].logits(converted[folder].inputs(asked(folder, name, tmp_path)))
        assert (logits[-24:] - stored["logits_last"]).abs().max() <= 5e-5
        assert (logits.double().sum(-1) - stored["logits_sum"]).abs().max() <= 1e-3
        assert torch.equal(logits.argmax(-1), stored["logits_argmax"].long())

    def test_answer(self, converted: dict[str, Converted], tmp_path: Path, folder: str, name: str) -> None:
        """The original penalises repetition of what it said itself, never of the prompt."""
        expected = load_file(GOLDEN / folder / f"{name}.safetensors")["generated_ids"].flatten().tolist()
        inputs, said = converted[folder].inputs(asked(folder, name, tmp_path)), case(folder, name)["generation_config"]
        options = {"max_new_tokens": said["max_new_tokens"], "num_beams": said["num_beams"]}
        if (penalty := said.get("repetition_penalty")) is None:
            assert converted[folder].generated(inputs, **options)[0].tolist() == expected
            return
        length = inputs["input_ids"].shape[1]
        own = RepetitionPenaltyLogitsProcessor(penalty=penalty, prompt_ignore_length=length)
        assert converted[folder].generated(inputs, logits_processor=[own], **options)[0].tolist() == expected
        naive = converted[folder].generated(inputs, repetition_penalty=penalty, **options)[0].tolist()
        assert naive != expected, "here the prompt counts as said"


def test_several_questions_at_once(converted: dict[str, Converted]) -> None:
    base, row = converted[BASE], case(BASE, "batch_chat")
    stored = load_file(GOLDEN / BASE / "batch_chat.safetensors")
    shown = [ImageRef(str(GOLDEN / BASE / file)) for file in row["images"]]
    alone = [base.inputs([Turn("user", (ref, q))]) for ref, q in zip(shown, row["questions"], strict=True)]
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    rows = tokenizer.pad({"input_ids": [one["input_ids"][0].tolist() for one in alone]}, return_tensors="pt")
    assert torch.equal(rows["input_ids"], stored["input_ids"].long())
    assert torch.equal(rows["attention_mask"], stored["attention_mask"].long())
    pixels = torch.cat([one["pixel_values"] for one in alone])
    assert [len(one["pixel_values"]) for one in alone] == row["num_patches_list"]
    generated = base.generated({**rows, "pixel_values": pixels}, max_new_tokens=24)
    assert [text.strip() for text in tokenizer.batch_decode(generated, skip_special_tokens=True)] == row["responses"]


@pytest.mark.parametrize("name", [name for folder, name in CASES if folder == BASE and not name.startswith("turn2")])
def test_asked_through_olhar_it_answers_the_same(converted: dict[str, Converted], tmp_path: Path, name: str) -> None:
    """The question alone: labels of images and frames, tiles, and what a penalty counts are known from the folder."""
    row, question = case(BASE, name), asked(BASE, name, tmp_path)[0].parts[-1]
    said = row["generation_config"]
    generation = Generation(
        said["max_new_tokens"], beams=said["num_beams"], repetition_penalty=said.get("repetition_penalty", 1.0)
    )
    video = tmp_path if name == "video_3frames" else None
    images = [] if video else [GOLDEN / BASE / file for file in row["images"]]
    assistant = Assistant.load(converted[BASE].folder)
    text = str(question).removeprefix("\n") if len(images) > 1 else str(question)
    assert assistant.ask(text, images, video, generation=generation) == row["response"]


def test_eager_attention_computes_the_same(converted: dict[str, Converted], tmp_path: Path) -> None:
    eager = Converted.open(converted[BASE].folder, "eager")
    stored = load_file(GOLDEN / BASE / "multi_image.safetensors")
    logits = eager.logits(eager.inputs(asked(BASE, "multi_image", tmp_path)))
    assert (logits[-24:] - stored["logits_last"]).abs().max() <= 5e-5


@pytest.mark.parametrize("wrong", ["vision_feature_layer", "rows", "norm"])
def test_these_tests_can_fail(converted: dict[str, Converted], tmp_path: Path, wrong: str) -> None:
    """Another hidden state, tokens in another order, pixels of another tower: all are far from the golden logits."""
    base = Converted.open(converted[BASE].folder)
    inputs = base.inputs(asked(BASE, "single_greedy", tmp_path))
    if wrong == "vision_feature_layer":
        base.model.config.vision_feature_layer = -2
    elif wrong == "rows":  # what ps_version v1 would be
        inputs["pixel_values"] = inputs["pixel_values"].transpose(2, 3)
    else:
        inputs["pixel_values"] = inputs["pixel_values"] * 0.5
    stored = load_file(GOLDEN / BASE / "single_greedy.safetensors")
    assert (base.logits(inputs)[-24:] - stored["logits_last"]).abs().max() > 1e-2


LABELS = [("internvl2_5", BASE), ("hermes", HERMES), ("internvl2_5_text_system", BASE)]
SYSTEM = language("zh").system["internvl2_5"]
SPEAKERS = {"human": "user", "gpt": "assistant", "system": "system"}


@pytest.mark.parametrize(("key", "folder"), LABELS)
def test_labels_are_those_of_the_original(converted: dict[str, Converted], key: str, folder: str) -> None:
    stored = json.loads((GOLDEN / "label_masks" / "label_masks.json").read_text(encoding="utf-8"))[key]
    image = ImageRef(str(GOLDEN / folder / "a.png"))
    turns = []
    for said in stored["conversations"]:
        text = said["value"].removeprefix(f"{PLACEHOLDER}\n")
        shown = () if text == said["value"] else (image,)
        turns.append(Turn(SPEAKERS[said["from"]], (*shown, text)))
    two_tiles = replace(LAYOUT, min_tiles=2, max_tiles=2, thumbnail=False)  # eight tokens, as there
    encoder = replace(converted[folder].encoder, settings=two_tiles)
    rendered = encoder.prompt.render(turns, language("en"), variant=encoder.variant, system=encoder.system)
    encoded = encoder.rendered(rendered)
    assert encoded.ids == stored["input_ids"]
    labels = [id if trained else -100 for id, trained in zip(encoded.ids, encoded.trained, strict=True)]
    assert labels == stored["labels"]


class WithoutVideos(InternVLProcessor):
    """The processor as it is where videos cannot be decoded, which here needs a package that we do without."""

    def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
        if name != "video_processor":
            return super().check_argument_for_proper_class(name, argument)
        return None


def test_the_processor_of_transformers_writes_our_ids(converted: dict[str, Converted]) -> None:
    base = converted[BASE]
    row = json.loads((base.folder / "processor_config.json").read_text(encoding="utf-8"))
    tokenizer, images = AutoTokenizer.from_pretrained(base.folder), AutoImageProcessor.from_pretrained(base.folder)
    assert row["processor_class"] == "InternVLProcessor"
    processor = WithoutVideos(images, tokenizer, None, row["image_seq_length"])
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Mô tả hình ảnh."}]}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    path = GOLDEN / BASE / "a.png"
    found = processor(images=[Image.open(path).convert("RGB")], text=[text], return_tensors="pt")
    ours = base.inputs([Turn("user", (ImageRef(str(path)), "Mô tả hình ảnh."))])
    assert torch.equal(found["input_ids"], ours["input_ids"])
    assert (found["pixel_values"] - ours["pixel_values"]).abs().max() <= 1e-6


def test_a_converted_folder_converts_to_itself(converted: dict[str, Converted], tmp_path: Path) -> None:
    once, twice = converted[BASE].folder, tmp_path / "twice"
    convert(once, twice)
    assert (once / "model.safetensors").read_bytes() == (twice / "model.safetensors").read_bytes()
    first, second = (json.loads((folder / SIDECAR).read_text(encoding="utf-8")) for folder in (once, twice))
    assert all(first[key] == second[key] for key in first if key != "origin")


def test_a_folder_of_transformers_keeps_its_weights_and_its_tiles(
    converted: dict[str, Converted], tmp_path: Path
) -> None:
    """As transformers wrote it, without anything of ours: processors say how pictures are cut."""
    folder, target = tmp_path / "plain", tmp_path / "converted"
    shutil.copytree(converted[BASE].folder, folder)
    (folder / SIDECAR).unlink()
    (folder / "model.safetensors").unlink()
    converted[BASE].model.save_pretrained(folder)
    convert(folder, target)
    row = json.loads((target / SIDECAR).read_text(encoding="utf-8"))
    assert Converted.open(target).encoder.settings == LAYOUT
    assert (row["prompt"], row["variant"], row["system"]) == ("chatml", "internvl2_5", SYSTEM)
    expected, found = converted[BASE].folder / "model.safetensors", target / "model.safetensors"
    assert expected.read_bytes() == found.read_bytes()


@pytest.mark.parametrize("cut", [True, False], ids=["by the processor", "by no one"])
def test_the_processor_of_transformers_cuts_whatever_its_image_processor_says(
    converted: dict[str, Converted], tmp_path: Path, cut: bool
) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(converted[BASE].folder, folder)
    for name in (SIDECAR, *(() if cut else ("processor_config.json",))):
        (folder / name).unlink()
    path = folder / "preprocessor_config.json"
    row = json.loads(path.read_text(encoding="utf-8")) | {"crop_to_patches": False}
    path.write_text(json.dumps(row), encoding="utf-8")
    convert(folder, tmp_path / "converted")
    found = Converted.open(tmp_path / "converted").encoder.settings
    assert found == (LAYOUT if cut else replace(LAYOUT, max_tiles=1, thumbnail=False))
