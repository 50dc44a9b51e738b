"""Holds for every file of olhar/prompts and every variant, in every language and with several tokenizers."""

import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from olhar.core import choices
from olhar.core.errors import UnknownName, UserError
from olhar.core.types import ImageRef, Rendered, Turn, VideoRef
from olhar.languages import language
from olhar.prompts import PLACEHOLDER, encode, prompt

NAMES = choices.names("prompts")
FORMS = [(name, variant) for name in NAMES for variant in prompt(name).VARIANTS]
CLEAN = [(name, variant) for name, variant in FORMS if variant != "qwen_original"]
CODES = choices.names("languages")
WITHOUT_SYSTEM = ("compact", "plain", "llama2-mistral")
IMAGE, VIDEO = ImageRef("a.png"), VideoRef("b.mp4")


def conversations(name: str, code: str) -> dict[str, list[Turn]]:
    """The shapes a conversation can have; the prompt of captions takes one of them only."""
    spoken = language(code)
    asked = spoken.describe
    answered = Turn("assistant", (f"{spoken.answer_cues[0]} {spoken.own_name}.",))
    leak = f"{spoken.roles['assistant']}: {spoken.yes[0]}. {spoken.roles['user']}: {spoken.no[0]}"
    roles = Turn("assistant", (leak,))
    if name == "plain":
        return {"caption": [Turn("user", (asked, IMAGE)), answered], "roles": [Turn("user", (IMAGE,)), roles]}
    text, shown = Turn("user", (asked,)), Turn("user", (IMAGE, asked))
    last = Turn("user", (asked, VIDEO))
    return {
        "text": [text, answered],
        "image": [shown, answered],
        "turns": [shown, answered, text, Turn("assistant", (spoken.no[0],)), last, answered],
        "roles": [shown, roles, text, answered],
    }


def without_blanks(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("name", "variant"), CLEAN)
def test_trained_tokens_are_the_answers(name: str, variant: str, code: str, tokenizer: Tokenizer) -> None:
    stop = prompt(name).stop(language(code), variant)[0]
    for shape, turns in conversations(name, code).items():
        encoded = encode(prompt(name).render(turns, language(code), variant=variant), tokenizer)
        learnt = [id for id, trained in zip(encoded.ids, encoded.trained, strict=True) if trained]
        expected = "".join(turn.text + stop for turn in turns if turn.role == "assistant")
        decoded = tokenizer.decode(learnt, skip_special_tokens=False)
        assert without_blanks(decoded) == without_blanks(expected), shape


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("name", "variant"), CLEAN)
def test_generation_begins_where_training_does(name: str, variant: str, code: str, tokenizer: Tokenizer) -> None:
    for shape, turns in conversations(name, code).items():
        whole = prompt(name).render(turns, language(code), variant=variant)
        ids = encode(whole, tokenizer).ids
        for number, (start, _) in enumerate(whole.trained):
            begun = prompt(name).render(turns[: 2 * number + 1], language(code), variant=variant, open=True)
            assert begun.text == whole.text[:start], shape
            begun_ids = encode(begun, tokenizer).ids
            assert begun_ids == ids[: len(begun_ids)], shape


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_one_placeholder_for_each_medium_in_order(name: str, variant: str) -> None:
    for turns in conversations(name, "pt").values():
        rendered = prompt(name).render(turns, language("pt"), variant=variant)
        assert rendered.text.count(PLACEHOLDER) == len(rendered.media)
        assert rendered.media == tuple(ref for turn in turns for ref in turn.media)


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_turns_that_cannot_be_rendered(name: str, variant: str) -> None:
    user, assistant = Turn("user", (IMAGE, "?")), Turn("assistant", ("!",))
    for turns, open in (
        ([], False),
        ([user], False),
        ([user, assistant], True),
        ([assistant, user], True),
        ([user, user], True),
        ([user, Turn("assistant", ("!", IMAGE))], False),
        ([Turn("user", (IMAGE, f"what is {PLACEHOLDER}?")), assistant], False),
        ([user, Turn("assistant", (PLACEHOLDER,))], False),
    ):
        with pytest.raises(UserError):
            prompt(name).render(turns, language("en"), variant=variant, open=open)


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_system_texts(name: str, variant: str) -> None:
    turns = [Turn("user", (IMAGE, "?")), Turn("assistant", ("!",))]
    spoken, module = language("vi"), prompt(name)
    if name in WITHOUT_SYSTEM or f"{name}-{variant}" in WITHOUT_SYSTEM:
        for given, system in ((turns, "S1"), ([Turn("system", ("S2",)), *turns], None)):
            with pytest.raises(UserError):
                module.render(given, spoken, variant=variant, system=system)
        return
    default = module.render(turns, spoken, variant=variant).text
    replaced = module.render(turns, spoken, variant=variant, system="S1").text
    by_turn = module.render([Turn("system", ("S2",)), *turns], spoken, variant=variant, system="S1").text
    assert sum(text in default for text in spoken.system.values()) == 1
    assert "S1" in replaced and not any(text in replaced for text in spoken.system.values())
    assert by_turn == replaced.replace("S1", "S2")


@pytest.mark.parametrize("name", NAMES)
def test_unknown_variant(name: str) -> None:
    with pytest.raises(UnknownName, match="nothing"):
        prompt(name).stop(language("en"), "nothing")


def refuse(message: str) -> str:
    raise ValueError(message)


@cache
def compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template)


def by_template(template: str, turns: list[Turn], open: bool) -> str:
    """The template as transformers runs it, over messages with lists of parts."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        content: list[dict[str, str]] = []
        for part in turn.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                content.append({"type": "image" if isinstance(part, ImageRef) else "video"})
        plain = len(turn.parts) == 1 and isinstance(turn.parts[0], str)
        messages.append({"role": turn.role, "content": turn.parts[0] if plain else content})
    return compiled(template).render(messages=messages, add_generation_prompt=open)


def expanded(rendered: Rendered, image: str, video: str) -> str:
    text = rendered.text
    for ref in rendered.media:
        text = text.replace(PLACEHOLDER, image if isinstance(ref, ImageRef) else video, 1)
    return text


PARTS = st.lists(st.sampled_from([IMAGE, VIDEO, "", " a ", "b\n", "\nc", ". d'", '"é\\n"']), min_size=1, max_size=5)
WORDS = st.sampled_from(["sim", " não.\n", "", "{{ x }}"])


@pytest.mark.parametrize(("name", "variant"), FORMS)
@given(asked=st.lists(PARTS, min_size=1, max_size=3), answer=WORDS, open=st.booleans(), system=st.booleans())
@settings(max_examples=25, deadline=None, database=None)
def test_chat_template_writes_what_render_writes(
    name: str, variant: str, asked: list[list[Any]], answer: str, open: bool, system: bool
) -> None:
    image, video = "<img><ctx><ctx></img>", "<video>"
    turns = [turn for parts in asked for turn in (Turn("user", tuple(parts)), Turn("assistant", (answer,)))]
    turns = turns[:-1] if open else turns
    spoken = language("pt")
    template = prompt(name).chat_template(spoken, variant, image, video)
    given_turns = [Turn("system", ("Seja breve.",)), *turns] if system else turns
    try:
        rendered = prompt(name).render(given_turns, spoken, variant=variant, open=open)
    except UserError:
        if name != "plain" or any(turn.media for turn in turns):  # there, only the processor can miss the image
            with pytest.raises(ValueError):
                by_template(template, given_turns, open)
        return
    assert by_template(template, given_turns, open) == expanded(rendered, image, video)


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_chat_template_with_another_system_text(name: str, variant: str) -> None:
    turns = [Turn("user", (IMAGE, "?"))]
    if name in WITHOUT_SYSTEM or f"{name}-{variant}" in WITHOUT_SYSTEM:
        with pytest.raises(UserError):
            prompt(name).chat_template(language("en"), variant, PLACEHOLDER, system="S")
        return
    template = prompt(name).chat_template(language("en"), variant, PLACEHOLDER, system="S")
    rendered = prompt(name).render(turns, language("en"), variant=variant, system="S", open=True)
    assert by_template(template, turns, True) == rendered.text


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_chat_template_refuses_videos_of_a_family_without_them(name: str, variant: str) -> None:
    template = prompt(name).chat_template(language("en"), variant, PLACEHOLDER)
    with pytest.raises(ValueError, match="video"):
        by_template(template, [Turn("user", (VIDEO, "?"))], True)


def test_placement_of_images() -> None:
    turn = Turn("user", ("\n Before ", IMAGE, " and ", IMAGE, ". After \n", IMAGE, "end"))
    image = PLACEHOLDER
    texts = {
        name: prompt(name).render([turn], language("en"), variant=variant, open=True).text
        for name, variant in (("llama2", "mistral"), ("chatml", "qwen"), ("compact", None))
    }
    assert texts["llama2"] == f"[INST] {image}\n{image}\n{image}\nBefore  and . After \nend [/INST]"
    assert f"user\n\n Before {image} and {image}. After \n{image}\nend<|im_end|>" in texts["chatml"]
    assert texts["compact"] == f"{image}{image}{image}<|user|> \n Before  and . After \nend<|assistant|>"


def test_compact_form_to_the_letter() -> None:
    turns = [Turn("user", (IMAGE, IMAGE, "O que é isto?")), Turn("assistant", ("gato",))]
    turns += [Turn("user", ("Há um cão?",)), Turn("assistant", ("não",)), Turn("user", (IMAGE, "E aqui?"))]
    rendered = prompt("compact").render(turns, language("pt"), open=True)
    assert rendered.text == (
        "<image><image><|user|> O que é isto?<|assistant|> gato</s>"
        "<|user|> Há um cão?<|assistant|> não</s>"
        "<image><|user|> E aqui?<|assistant|>"
    )
    assert [rendered.text[start:end] for start, end in rendered.trained] == [" gato</s>", " não</s>"]


def test_importing_the_prompts_leaves_torch_alone() -> None:
    code = (
        "import sys; from olhar.core import choices; from olhar.prompts import prompt; "
        "from olhar.languages import language; "
        "[prompt(n) for n in choices.names('prompts')]; [language(n) for n in choices.names('languages')]; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
