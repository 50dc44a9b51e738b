"""An assistant answers alike in a batch, alone, token by token, and in plain transformers."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import RepetitionPenaltyLogitsProcessor

from olhar.core.errors import UserError
from olhar.core.types import ImageRef, Mark, Turn, VideoRef
from olhar.families import Checkpoint, load
from olhar.inference.assistant import Assistant
from olhar.inference.features import GREY
from olhar.inference.generation import Generation

PICTURE = Callable[[int], str]
Conversation = tuple[Turn, ...]
LONG = 16  # tokens
SHORT = Generation(LONG)


@pytest.fixture(scope="module")
def assistant(saved: Path) -> Assistant:
    return Assistant.load(saved)


@pytest.fixture
def conversations(picture: PICTURE) -> list[Conversation]:
    """One picture, none, two, a drawn mark, and a second question after an answer."""
    one, two, three = (ImageRef(picture(seed)) for seed in (1, 2, 3))
    marked = ImageRef(one.path, (Mark("box", "red", (0.1, 0.1, 0.9, 0.9)),))
    first = (Turn("user", (one, "Que coisa é esta?")), Turn("assistant", ("Um gato.",)))
    return [
        first[:1],
        (Turn("user", ("Onde está o avião?",)),),
        (Turn("user", (two, three, "Há?")),),
        (Turn("user", (marked, "Que coisa é esta?")),),
        (*first, Turn("user", ("Quantas coisas há, e onde?",))),
    ]


def test_a_batch_is_answered_as_one_by_one(assistant: Assistant, conversations: list[Conversation]) -> None:
    together = assistant.answers(conversations, LONG)
    assert together == [assistant.answers([conversation], LONG)[0] for conversation in conversations]
    assert together[::-1] == assistant.answers(conversations[::-1], LONG)
    assert len(set(together)) == len(together) and all(together), together


def test_an_answer_streams_as_it_is_given(assistant: Assistant, conversations: list[Conversation]) -> None:
    for conversation in conversations:
        pieces = list(assistant.reply(conversation, SHORT))
        assert "".join(pieces).strip() == assistant.answers([conversation], LONG)[0]
        assert "".join(pieces) == "".join(pieces).lstrip()
    assert len([piece for piece in pieces if piece]) > 1


def plain(folder: Path, conversation: Conversation, tokens: int, beams: int = 1, penalty: float = 1.0) -> str:
    """The answer of transformers alone: what the model card tells its readers to do."""
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    from olhar.core import pictures

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    messages: Any = [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in turn.parts
            ],
        }
        for turn in conversation
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    images = [image for turn in conversation for ref in turn.media for image in pictures.read(ref, 64)]
    extra = {}
    if images:
        extra = {
            "pixel_values": AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"]
        }
    ids = inputs["input_ids"]
    unpunished = RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=ids.shape[1])
    options = {"max_new_tokens": tokens, "num_beams": beams, "logits_processor": [unpunished], "do_sample": False}
    with torch.no_grad():
        done = model.generate(input_ids=ids, attention_mask=inputs["attention_mask"], **options, **extra)
    return str(tokenizer.decode(done[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def test_plain_transformers_answers_the_same(
    saved: Path, assistant: Assistant, conversations: list[Conversation]
) -> None:
    for conversation, answer in zip(conversations, assistant.answers(conversations, LONG), strict=True):
        assert plain(saved, conversation, LONG) == answer


def test_beams_and_penalty_are_those_of_transformers(
    saved: Path, assistant: Assistant, conversations: list[Conversation]
) -> None:
    """The penalty counts what the answer says, not what the prompt does."""
    how = Generation(LONG, beams=3, repetition_penalty=3.5)
    answers = assistant.answers(conversations[:3], generation=how)
    assert answers == [plain(saved, conversation, LONG, 3, 3.5) for conversation in conversations[:3]]
    assert answers != assistant.answers(conversations[:3], LONG)


@pytest.mark.parametrize("how", [Generation(LONG, beams=3), Generation(LONG, temperature=1.5, seed=8)])
def test_a_batch_of_beams_or_drawn_tokens_is_answered_as_one_by_one(
    assistant: Assistant, conversations: list[Conversation], how: Generation
) -> None:
    alone = [assistant.reply(conversation, how).text() for conversation in conversations]
    assert assistant.answers(conversations, generation=how) == alone
    assert assistant.answers(conversations[::-1], generation=how) == alone[::-1]
    assert assistant.answers([], generation=how) == []


def test_answers_end_at_the_end_token(saved: Path, conversations: list[Conversation]) -> None:
    """Where the model prefers the end token after some others, the answer is what came before it."""
    checkpoint = load(saved)
    whole = Assistant(checkpoint).answers(conversations, LONG)
    (end,) = checkpoint.stop_ids()
    ids = checkpoint.tokenizer.encode(whole[0], add_special_tokens=False).ids
    with torch.no_grad():
        checkpoint.model.get_output_embeddings().weight[end] *= 30
    shorter = Assistant(checkpoint).answers(conversations, LONG)
    assert all("</s>" not in answer for answer in shorter)
    assert sum(map(len, shorter)) < sum(map(len, whole)) and ids
    for conversation, answer in zip(conversations, shorter, strict=True):
        assert "".join(Assistant(checkpoint).reply(conversation, SHORT)).strip() == answer


def test_a_blank_picture_is_grey_and_changes_the_answer(
    assistant: Assistant, conversations: list[Conversation], picture: PICTURE, tmp_path: Path
) -> None:
    seeing, blind = (assistant.answers(conversations, LONG, blank=blank) for blank in (False, True))
    assert seeing[1] == blind[1], "without a picture there is nothing to hide"
    assert seeing[0] != blind[0] and seeing[2] != blind[2]
    assert blind[0] == blind[3], "a mark is hidden with its picture"
    Image.new("RGB", (64, 64), (GREY,) * 3).save(tmp_path / "grey.png")
    grey = (Turn("user", (ImageRef(str(tmp_path / "grey.png")), "Que coisa é esta?")),)
    assert assistant.answers([grey], LONG)[0] == blind[0]
    assert assistant.answers(conversations, LONG) == seeing, "seeing again after having been blind"


def test_a_video_is_its_frames(assistant: Assistant, picture: PICTURE, tmp_path: Path) -> None:
    for number, seed in enumerate((4, 5)):
        shutil.copy(picture(seed), tmp_path / f"{number}.png")
    frames = tuple(ImageRef(str(tmp_path / f"{number}.png")) for number in range(2))
    video = (Turn("user", (VideoRef(str(tmp_path)), "Há?")),)
    assert assistant.answers([video], LONG) == assistant.answers([(Turn("user", (*frames, "Há?")),)], LONG)


def test_a_picture_is_looked_at_once(saved: Path, conversations: list[Conversation], monkeypatch: Any) -> None:
    assistant = Assistant.load(saved)
    looked: list[int] = []
    family = assistant.checkpoint.family
    real = family.patch_features

    def look(model: Any, pixels: torch.Tensor) -> torch.Tensor:
        looked.append(len(pixels))
        return real(model, pixels)

    monkeypatch.setattr(family, "patch_features", look)
    first = assistant.answers(conversations, LONG)
    assert sum(looked) == 4, "three pictures and one of them marked"
    assert assistant.answers(conversations, LONG) == first and sum(looked) == 4


def test_leaving_a_stream_early_ends_the_generation(saved: Path, conversations: list[Conversation]) -> None:
    assistant = Assistant.load(saved)
    steps, real = [], assistant.checkpoint.model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        steps.append(1)
        time.sleep(0.005)
        return real(*args, **kwargs)

    assistant.checkpoint.model.forward = counted
    before = threading.active_count()
    stream = assistant.reply(conversations[1], Generation(300))
    next(stream)
    stream.close()
    done = len(steps)
    time.sleep(0.3)
    assert len(steps) <= done + 3, "it goes on although nobody listens"
    assert threading.active_count() <= before


def test_a_failure_while_streaming_is_not_silence(saved: Path, conversations: list[Conversation]) -> None:
    """An error inside the generation reaches the one who listens; the stream never hangs."""
    assistant = Assistant.load(saved)
    told: list[BaseException | str] = []

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    def listen() -> None:
        try:
            told.append("".join(assistant.reply(conversations[1], SHORT)))
        except RuntimeError as error:
            told.append(error)

    assistant.checkpoint.model.generate = fails
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    listener.join(3)
    assert told and isinstance(told[0], RuntimeError)


def test_a_checkpoint_is_read_back_as_it_was_written(saved: Path, tmp_path: Path) -> None:
    checkpoint = load(saved)
    assert isinstance(checkpoint, Checkpoint) and not checkpoint.model.training
    checkpoint.save(tmp_path / "again")
    again = load(tmp_path / "again")
    assert (again.spoken.prompt, again.spoken.language, again.settings) == ("compact", "pt", checkpoint.settings)
    assert again.tokenizer.get_vocab() == checkpoint.tokenizer.get_vocab()
    one, other = checkpoint.model.state_dict(), again.model.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert again.stop_ids() == checkpoint.stop_ids() != [] and again.pad_id() == 0
    assert {path.name for path in (tmp_path / "again").iterdir()} == {path.name for path in saved.iterdir()}
    assert not list(tmp_path.glob("*.partial"))


def test_saving_replaces_the_folder_whole(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old.bin").write_text("of another model")
    load(saved).save(tmp_path / "model")
    assert not (tmp_path / "model" / "old.bin").exists()


def test_the_folder_never_answers_with_image_tokens(saved: Path) -> None:
    row = json.loads((saved / "generation_config.json").read_text())
    checkpoint = load(saved)
    assert row["suppress_tokens"] == [checkpoint.tokenizer.token_to_id("<IMG_CONTEXT>")]
    assert row["eos_token_id"] == checkpoint.stop_ids()


def damaged(saved: Path, target: Path, name: str, content: bytes | None) -> Path:
    shutil.copytree(saved, target)
    if content is None:
        (target / name).unlink()
    else:
        (target / name).write_bytes(content)
    return target


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("olhar.json", None),
        ("olhar.json", b"{"),
        ("olhar.json", b'{"family": "nobody"}'),
        ("olhar.json", b'{"family": "internvl"}'),
        ("tokenizer.json", None),
        ("tokenizer.json", b"{}"),
        ("config.json", None),
        ("config.json", b"{"),
        ("model.safetensors", None),
        ("model.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"),
    ],
)
def test_a_damaged_folder_is_the_users_to_mend(saved: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = damaged(saved, tmp_path / "model", name, content)
    with pytest.raises(UserError):
        Assistant.load(folder)


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="not a checkpoint") as caught:
            Assistant.load(folder)
        assert caught.value.where == str(folder)


def test_bad_pictures_and_turns_are_told_by_name(assistant: Assistant, tmp_path: Path) -> None:
    missing = (Turn("user", (ImageRef(str(tmp_path / "no.png")), "?")),)
    with pytest.raises(UserError, match="no such picture"):
        assistant.answers([missing], 3)
    with pytest.raises(UserError, match="alternation"):
        assistant.answers([(Turn("assistant", ("Um gato.",)),)], 3)
