"""Prompt strings, token ids and label masks equal those that the published training code computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from tokenizers import Tokenizer

from olhar.core.types import ImageRef, Part, Rendered, Role, Turn
from olhar.languages import language
from olhar.prompts import PLACEHOLDER, encode, prompt

Golden = Callable[[str], Any]
Published = Callable[[str], Tokenizer]

IMAGE_POSITION = -200  # one id per image in the published data
IGNORED = -100
ROLES: Mapping[str, Role] = {"human": "user", "gpt": "assistant", "system": "system"}
FAMILIES = ("llava15", "vipllava")


def parts(value: str) -> tuple[Part, ...]:
    """The text cut at the image marks, each with the line break that belongs to it."""
    found: list[Part] = []
    for index, piece in enumerate(value.split(PLACEHOLDER)):
        if index:
            found.append(ImageRef(f"{index}.png"))
            piece = piece.removeprefix("\n")
        if piece.rstrip("\n"):
            found.append(piece)
    return tuple(found)


def turns(conversation: Sequence[Mapping[str, str]]) -> list[Turn]:
    return [Turn(ROLES[message["from"]], parts(message["value"])) for message in conversation]


def ids_and_labels(
    rendered: Rendered, tokenizer: Tokenizer, image: Sequence[int] = (IMAGE_POSITION,)
) -> tuple[list[int], list[int]]:
    """As a training loop sees them: the placeholder replaced by the ids of an image, -100 where not trained."""
    encoded = encode(rendered, tokenizer)
    placeholder = tokenizer.token_to_id(PLACEHOLDER)
    ids: list[int] = []
    labels: list[int] = []
    for id, trained in zip(encoded.ids, encoded.trained, strict=True):
        ids += image if id == placeholder else [id]
        labels += [IGNORED] * len(image) if id == placeholder else [id if trained else IGNORED]
    return ids, labels


def unpadded(row: Sequence[int], pad: int) -> list[int]:
    kept = list(row)
    while kept[-1] == pad:
        kept.pop()
    return kept


def ask(text: str, *images: ImageRef) -> list[Turn]:
    return [Turn("user", (*images, text))]


@pytest.mark.parametrize(
    ("variant", "stored_prompt", "stored_ids"),
    [("train", "prompt_train_template", "input_ids"), ("chat", "prompt_chat", "chat_input_ids")],
)
def test_vitucano_generation(
    golden: Golden, published: Published, variant: str, stored_prompt: str, stored_ids: str
) -> None:
    facts, stored = golden("vitucano/golden.json"), golden("vitucano/ids.json")
    rendered = prompt("tucano").render(
        ask(facts["question"], ImageRef("a.png")), language("pt"), variant=variant, open=True
    )
    assert rendered.text == facts[stored_prompt]
    assert ids_and_labels(rendered, published("metaspace"))[0] == stored[stored_ids][0]


@pytest.mark.parametrize("index", range(3))
def test_vitucano_training(golden: Golden, published: Published, index: int) -> None:
    facts, stored = golden("vitucano/golden.json"), golden("vitucano/ids.json")
    rendered = prompt("tucano").render(turns(facts["sft_samples"][index]["conversations"]), language("pt"))
    ids, labels = ids_and_labels(rendered, published("metaspace"))
    assert ids == unpadded(stored["sft_input_ids"][index], facts["pad_token_id"])
    assert labels == stored["sft_labels"][index][: len(ids)]


def test_vitucano_alignment(golden: Golden, published: Published) -> None:
    stored = golden("vitucano/ids.json")
    conversation = [Turn("user", ("Descreva.", ImageRef("a.png"))), Turn("assistant", ("O trem azul",))]
    ids, labels = ids_and_labels(prompt("plain").render(conversation, language("pt")), published("metaspace"))
    assert (ids, labels) == (stored["pretrain_input_ids"][0], stored["pretrain_labels"][0])


@pytest.mark.parametrize(("family", "variant"), [("llava15", "v1"), ("vipllava", "human")])
class TestLlava:
    def test_generation(self, golden: Golden, published: Published, family: str, variant: str) -> None:
        facts, stored = golden(f"{family}/golden.json"), golden(f"{family}/ids.json")
        conversation = ask("Descreva a imagem.", ImageRef("a.png"))
        rendered = prompt("vicuna").render(conversation, language("en"), variant=variant, open=True)
        assert rendered.text == facts["prompt"]
        assert ids_and_labels(rendered, published("metaspace-legacy"))[0] == stored["input_ids"][0]

    @pytest.mark.parametrize("index", range(3))
    def test_training(self, golden: Golden, published: Published, family: str, variant: str, index: int) -> None:
        facts, stored = golden(f"{family}/golden.json"), golden(f"{family}/ids.json")
        conversation = turns(facts["sft_samples"][index]["conversations"])
        rendered = prompt("vicuna").render(conversation, language("en"), variant=variant)
        ids, labels = ids_and_labels(rendered, published("metaspace-legacy"))
        assert ids == unpadded(stored["sft_input_ids"][index], 0)
        assert labels == stored["sft_labels"][index][: len(ids)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "variant", "key"),
    [
        ("vicuna", "v1", "v1"),
        ("vicuna", "human", "llava_v1"),
        ("llama2", "llava", "llava_llama_2"),
        ("plain", "caption", "plain"),
    ],
)
def test_label_masks(golden: Golden, published: Published, family: str, name: str, variant: str, key: str) -> None:
    facts = golden(f"{family}/label_masking.json")
    conversation = turns(facts["_conversation"])[: 2 if name == "plain" else None]
    rendered = prompt(name).render(conversation, language("en"), variant=variant)
    ids, labels = ids_and_labels(rendered, published("metaspace-legacy"))
    stored = facts[f"tok_vicuna_legacy/{key}"]
    assert (ids, labels) == (stored["input_ids"], stored["labels"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("key", "name", "variant"),
    [
        ("v1", "vicuna", "v1"),
        ("vicuna_v1", "vicuna", "v1"),
        ("llava_v1", "vicuna", "human"),
        ("llava_v0", "vicuna", "v0"),
        ("llava_llama_2", "llama2", "llava"),
        ("mistral_instruct", "llama2", "mistral"),
        ("mpt", "chatml", "mpt"),
        ("chatml_direct", "chatml", "direct"),
        ("mistral_direct", "chatml", "direct"),
    ],
)
def test_templates(golden: Golden, family: str, key: str, name: str, variant: str) -> None:
    conversation = [
        Turn("user", (ImageRef("a.png"), "Qual é a cor do objeto?")),
        Turn("assistant", ("azul",)),
        Turn("user", ("Descreva a imagem.",)),
    ]
    rendered = prompt(name).render(conversation, language("en"), variant=variant, open=True)
    assert rendered.text == golden(f"{family}/templates.json")[key]["prompt"]


def test_llama_2_with_the_long_system_text(golden: Golden) -> None:
    stored = golden("llava15/templates.json")["llama_2"]["prompt"]
    system = stored.split("<<SYS>>\n")[1].split("\n<</SYS>>")[0]
    conversation = [
        Turn("user", (ImageRef("a.png"), "Qual é a cor do objeto?")),
        Turn("assistant", ("azul",)),
        Turn("user", ("Descreva a imagem.",)),
    ]
    assert prompt("llama2").render(conversation, language("en"), system=system, open=True).text == stored


def image_ids(tiles_times_tokens: int) -> list[int]:
    """``<img>``, the context tokens, ``</img>`` in the small InternVL vocabulary."""
    return [403, *[405] * tiles_times_tokens, 404]


def system_of(stored_prompt: str) -> str:
    return stored_prompt.split("<|im_start|>system\n")[1].split("<|im_end|>")[0]


@pytest.mark.parametrize(
    ("key", "variant", "cases"),
    [
        ("internvl2_5", "internvl2_5", "internvl_base"),
        ("hermes", "hermes", "internvl_hermes"),
        ("internvl2_5_text_system", "internvl2_5", "internvl_base"),
    ],
)
def test_internvl_masks(golden: Golden, published: Published, key: str, variant: str, cases: str) -> None:
    stored = golden("label_masks/label_masks.json")[key]
    system = system_of(golden(f"{cases}/cases.json")[0]["prompt"])
    rendered = prompt("chatml").render(turns(stored["conversations"]), language("vi"), variant=variant, system=system)
    images = stored.get("num_image_token_list", [0])
    ids, labels = ids_and_labels(rendered, published("bytes"), image_ids(images[0]))
    assert (ids, labels) == (stored["input_ids"], stored["labels"])


def test_onevision_original_mask(golden: Golden, published: Published) -> None:
    stored = golden("label_masks/label_masks.json")["llava_next_qwen_1_5"]
    rendered = prompt("chatml").render(turns(stored["conversations"]), language("en"), variant="qwen_original")
    ids, labels = ids_and_labels(rendered, published("bytes-onevision"))
    assert (ids, labels) == (stored["input_ids"], stored["labels"])


def test_onevision_clean_mask_is_part_of_the_original_one(golden: Golden, published: Published) -> None:
    conversation = turns(golden("label_masks/label_masks.json")["llava_next_qwen_1_5"]["conversations"])
    clean, original = (
        encode(prompt("chatml").render(conversation, language("en"), variant=variant), published("bytes-onevision"))
        for variant in ("qwen", "qwen_original")
    )
    assert clean.ids == original.ids
    assert all(first <= second for first, second in zip(clean.trained, original.trained, strict=True))
    assert sum(clean.trained) < sum(original.trained)


ONEVISION_CASES = ("si_small", "multi_image_pad", "video_4frames", "text_only")


@pytest.mark.parametrize("name", ONEVISION_CASES)
def test_onevision_generation(golden: Golden, published: Published, name: str) -> None:
    case = next(case for case in golden("llava_onevision/cases.json") if case["name"] == name)
    conversation = [Turn("user", parts(case["question"]))]
    rendered = prompt("chatml").render(conversation, language("en"), variant="qwen", open=True)
    assert rendered.text == case["prompt"]
    ids = ids_and_labels(rendered, published("bytes-onevision"))[0]
    assert ids == golden("llava_onevision/ids.json")[name]


def internvl_turns(case: Mapping[str, Any]) -> list[Turn]:
    """The history, then the question; the published chat function puts one image before the first text."""
    conversation: list[Turn] = []
    for question, answer in case["history_in"] or ():
        conversation += [Turn("user", parts(question)), Turn("assistant", (answer,))]
    question = case["question"]
    alone = case["images"] and not conversation and PLACEHOLDER not in question
    asked = (ImageRef("a.png"), question) if alone else parts(question)
    return [*conversation, Turn("user", asked)]


@pytest.mark.parametrize(
    ("folder", "variant", "name"),
    [
        ("internvl_base", "internvl2_5", "single_greedy"),
        ("internvl_base", "internvl2_5", "turn2_greedy"),
        ("internvl_base", "internvl2_5", "text_only_rep1.5"),
        ("internvl_base", "internvl2_5", "multi_image"),
        ("internvl_base", "internvl2_5", "video_3frames"),
        ("internvl_hermes", "hermes", "single_greedy"),
    ],
)
def test_internvl_generation(golden: Golden, published: Published, folder: str, variant: str, name: str) -> None:
    case = next(case for case in golden(f"{folder}/cases.json") if case["name"] == name)
    system = system_of(case["prompt"])
    rendered = prompt("chatml").render(internvl_turns(case), language("vi"), variant=variant, system=system, open=True)
    text = rendered.text
    for tiles in case["num_patches_list"] or [case["n_tiles"] or 0]:
        text = text.replace(PLACEHOLDER, f"<img>{'<IMG_CONTEXT>' * 4 * tiles}</img>", 1)
    assert text == case["prompt"]
    if name != "turn2_greedy":  # its history holds characters that were lost when it was stored
        assert published("bytes").encode(text).ids == golden(f"{folder}/ids.json")[name]
