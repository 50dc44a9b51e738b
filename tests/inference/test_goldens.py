"""A published checkpoint, converted: conversations and batches are answered as its original code answered them."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from olhar.conversion.convert import convert
from olhar.core.types import ImageRef, Turn
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.prompts import PLACEHOLDER

GOLDEN = Path(__file__).parents[1] / "golden" / "internvl_base"


def case(name: str) -> dict[str, Any]:
    rows = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
    return next(row for row in rows if row["name"] == name)


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    folder = tmp_path_factory.mktemp("converted") / "internvl"
    convert(str(GOLDEN), folder)
    return Assistant.load(folder)


@pytest.mark.parametrize("reuse", [True, False])
def test_the_second_turn_is_the_originals(assistant: Assistant, reuse: bool) -> None:
    row, stored = case("turn2_greedy"), load_file(GOLDEN / "turn2_greedy.safetensors")
    (question, answer), *_ = row["history_in"]
    images = [GOLDEN / name for name in row["images"]]
    chat = assistant.chat(images, generation=Generation(row["generation_config"]["max_new_tokens"]), reuse=reuse)
    assert chat.say(question.removeprefix(f"{PLACEHOLDER}\n")) == answer
    chat.say(row["question"])
    assert chat.answer is not None
    assert list(chat.answer.ids) == stored["generated_ids"].flatten().tolist()
    assert chat.answer.tokens_in == stored["input_ids"].shape[1]


def test_a_batch_is_the_originals(assistant: Assistant) -> None:
    row = case("batch_chat")
    pairs = zip(row["images"], row["questions"], strict=True)
    conversations = [[Turn("user", (ImageRef(str(GOLDEN / name)), question))] for name, question in pairs]
    assert assistant.answers(conversations, 24) == row["responses"]
