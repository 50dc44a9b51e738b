"""Every family is asked alike: batches and chats answer as single questions do, whatever an image is spelled as."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from olhar.core import choices
from olhar.core.recipe import LanguageModelShape, ModelParts, TowerShape
from olhar.core.types import ImageRef, Turn, VideoRef
from olhar.families import Checkpoint, Spoken
from olhar.inference.assistant import Assistant
from olhar.inference.generation import Generation
from olhar.languages import language
from olhar.prompts import prompt, special_tokens
from olhar.training.model import vocabulary

FAMILIES = ("internvl", "llava", "llava_onevision", "vipllava")
SHORT = Generation(max_new_tokens=7)
TOWER = TowerShape(image_size=56, patch_size=14, hidden_size=32, layers=10, heads=2, intermediate_size=48)
TEXT = LanguageModelShape(hidden_size=32, layers=2, heads=2, intermediate_size=48, initial_std=0.4, max_tokens=4096)


@pytest.fixture(scope="module", params=FAMILIES)
def assistant(request: pytest.FixtureRequest) -> Assistant:
    """Untrained, its connector loud, so that answers depend on what is seen."""
    family: Any = choices.choose("families", request.param)
    parts = ModelParts(family=request.param, tower=TOWER, language_model=TEXT, tokenizer="unused")
    specials = [*special_tokens(prompt("vicuna"), language("pt")), "</s>", *family.SPECIAL_TOKENS]
    tokenizer = vocabulary.learn([" Que coisa é esta? É um gato."] * 3, 340, list(dict.fromkeys(specials)))
    torch.manual_seed(5)
    settings = family.settings(parts)
    model = family.compose(parts, settings, tokenizer).eval()
    with torch.no_grad():
        for name in family.roles(model)["connector"]:
            if name.endswith("weight") and model.get_parameter(name).ndim == 2:
                model.get_parameter(name).mul_(30)
    return Assistant(Checkpoint(model, tokenizer, request.param, settings, Spoken("vicuna", "v1", "en")))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int, int], str]:
    """The path of a picture of noise of a given size."""
    folder = tmp_path_factory.mktemp("drawn")

    def path(seed: int, width: int, height: int) -> str:
        file = folder / f"{seed}-{width}-{height}.png"
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
        return str(file)

    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[int, int, int], str]) -> str:
    folder = tmp_path_factory.mktemp("frames")
    for number in range(2):
        (folder / f"{number}.png").write_bytes(Path(drawn(number, 60, 60)).read_bytes())
    return str(folder)


def test_rows_with_other_pictures_do_not_matter(assistant: Assistant, drawn: Any, video: str) -> None:
    """Text alone, one picture, two of other shapes, a video, a picture in a later turn."""
    wide, tall, small = ImageRef(drawn(1, 150, 60)), ImageRef(drawn(2, 40, 130)), ImageRef(drawn(3, 56, 56))
    rows = [
        [Turn("user", ("Há?",))],
        [Turn("user", (wide, "Que coisa é esta?"))],
        [Turn("user", (tall, small, "Há?"))],
        [Turn("user", (VideoRef(video), "Há?"))],
        [Turn("user", ("Há?",)), Turn("assistant", ("Um.",)), Turn("user", (tall, "E aqui?"))],
    ]
    alone = [assistant.reply(row, SHORT).text() for row in rows]
    assert assistant.answers(rows, generation=SHORT) == alone
    assert assistant.answers(rows[::-1], generation=SHORT) == alone[::-1]
    blind = assistant.answers(rows, generation=SHORT, blank=True)
    assert blind[0] == alone[0] and blind[1:] != alone[1:]


@pytest.mark.parametrize("beams", [1, 2])
def test_a_chat_is_what_single_questions_are(assistant: Assistant, drawn: Any, beams: int) -> None:
    """A later picture changes how LLaVA-OneVision looks at the first: its tiles are read again."""
    how = Generation(max_new_tokens=7, beams=beams)
    chat = assistant.chat([drawn(1, 150, 60)], generation=how)
    for question, images in (("Há?", ()), ("E?", ()), ("E aqui?", (drawn(2, 40, 130),)), ("Há?", ())):
        before = list(chat.turns)
        chat.say(question, images)
        assert chat.answer is not None
        asked = assistant.reply([*before, chat.turns[-2]], how)
        assert asked.text() == chat.turns[-1].text and asked.result.ids == chat.answer.ids
        assert asked.result.tokens_in == chat.answer.tokens_in
