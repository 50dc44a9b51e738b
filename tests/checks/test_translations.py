"""Checks of translations: silent on good ones and on what only looks like a fault; thresholds and what is optional."""

import os
from dataclasses import replace

import pytest

from olhar.checks import open_check, thresholds_of, usual
from olhar.core import choices
from olhar.core.errors import UserError
from olhar.core.recipe import Checking
from olhar.core.types import Finding, Sample
from olhar.languages import language
from olhar.stages import check as stage
from tests.checks.planting import sample

NAMES = choices.names("checks")
OPTIONAL = {"cometkiwi", "labse"}

ENGLISH = (
    (
        "What is in the image?",
        "There are 3 cats on a table, and one of them looks at 1,500.5 birds (all of them grey).",
    ),
    ("Which?\nA. a cat\nB. a dog", "B"),
    ("Which one? (A) a cat (B) a dog", "A dog"),
    ("Is it a dog?", "No"),
    ("Is the sign old?", 'Yes, the sign says "STOP" and was built in 1990.'),
    ("Where is the cat?", "<ref>the cat</ref><box>[[1, 2, 30, 40]]</box>"),
    ("What is written on the bus?", "Wing Watchers.com"),
    ("How does one print it?", "Use `print(x)`; see https://a.org/x for $x^2$ and 5'10\"."),
    ("What does he sing?", "No, no, no, no!"),
)
PORTUGUESE = (
    ("O que há na imagem?", "Há três gatos numa mesa, e um deles olha para 1.500,5 pássaros (todos eles cinza)."),
    ("Qual?\nA. um gato\nB. um cachorro", "B"),
    ("Qual deles? (A) um gato (B) um cachorro", "um cachorro."),
    ("É um cachorro?", "Não"),
    ("A placa é antiga?", "Sim, a placa diz “STOP” e foi feita em 1990."),
    ("Onde está o gato?", "<ref>o gato</ref><box>[[1, 2, 30, 40]]</box>"),
    ("O que está escrito no ônibus?", "Wing Watchers.com"),
    ("Como se imprime isso?", "Use `print(x)`; veja https://a.org/x para $x^2$ e 5'10\"."),
    ("O que ele canta?", "Não, não, não, não!"),
)
VIETNAMESE = (
    ("Trong ảnh có gì?", "Có 3 con mèo ở trên bàn, và một con đang nhìn 1.500,5 con chim (tất cả đều màu xám)."),
    ("Cái nào?\nA. con mèo\nB. con chó", "B"),
    ("Cái nào? (A) con mèo (B) con chó", "Con chó"),
    ("Đó có phải là con chó không?", "Không"),
    ("Tấm biển có cũ không?", "Có, tấm biển ghi «STOP» và được làm vào năm 1990."),
    ("Con mèo ở đâu?", "<ref>con mèo</ref><box>[[1, 2, 30, 40]]</box>"),
    ("Trên xe buýt viết gì?", "Wing Watchers.com"),
    ("In nó ra như thế nào?", "Dùng `print(x)`; xem https://a.org/x về $x^2$ và 5'10\"."),
    ("Anh ấy hát gì?", "Không, không, không, không!"),
)


def of(texts: tuple[tuple[str, str], ...], code: str) -> list[Sample]:
    return [
        replace(sample(f"user: {question}", f"assistant: {answer}", language=code), id=str(number))
        for number, (question, answer) in enumerate(texts)
    ]


def found(name: str, child: Sample, parent: Sample | None = None, **thresholds: float) -> list[Finding]:
    return list(open_check(name, thresholds)(child, parent, language(child.language)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"images"}))
@pytest.mark.parametrize(("texts", "code"), [(PORTUGUESE, "pt"), (VIETNAMESE, "vi")])
def test_silent_on_good_translations(name: str, texts: tuple[tuple[str, str], ...], code: str) -> None:
    assert len(texts) == len(ENGLISH)
    for child, parent in zip(of(texts, code), of(ENGLISH, "en"), strict=True):
        assert found(name, child, parent) == []
        assert found(name, child) == []


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"images", "structure"}))
def test_silent_where_the_turns_do_not_match(name: str) -> None:
    """Only the check of structure tells that; nothing is compared with a turn that is another one."""
    child, parent = sample("user: Um gato?", "assistant: Sim", language="pt"), sample("user: 5 <box>", "system: No")
    assert found(name, child, parent) == []


def test_a_thing_that_ids_would_hide_is_told_with_its_turn() -> None:
    parent, child = of((("Where?", "<box>[1, 2]</box>"),), "en")[0], of((("Onde?", "[1, 3]"),), "pt")[0]
    messages = sorted(each.message for each in found("spans", child, parent))
    assert messages == [
        "invented: coordinates '[1, 3]' in turn 2",
        "lost: coordinates '[1, 2]' in turn 2",
        "lost: tag '</box>' in turn 2",
        "lost: tag '<box>' in turn 2",
    ]


def test_what_a_policy_keeps_is_not_untranslated() -> None:
    texts = (("What is on the sign?", "the way to the old mill"),)
    parent = of(texts, "en")[0]
    child = of((("O que está na placa?", "the way to the old mill"),), "pt")[0]
    assert [each.message for each in found("untranslated", child, parent)] == [
        "untranslated: 'the way to the old mill' in turn 2"
    ]
    assert found("untranslated", replace(child, meta={"translation": {"answers": "keep"}}), parent) == []
    assert found("untranslated", replace(child, meta={"translation": {"answers": "translate"}}), parent) != []
    assert found("untranslated", child, replace(parent, language="pt")) == []  # no translation
    assert found("untranslated", child, parent, words=7) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("leakage", "person: [0.1, 0.2]\nPessoa: [0.1, 0.2]"),
        ("leakage", "The user: a person who asks. A <b>bold</b> assistant."),
        ("leakage", "Human: a being"),
        ("loops", "person: [0.1, 0.2]\n" + "\n".join(f"person: [0.{number}, 0.2]" for number in range(9))),
        ("loops", "| 0 | 0 | 0 | 0 | 0 | 0 |\n|---|---|---|---|---|---|\n" + "0 " * 40 + "-" * 40 + "1" * 40),
        ("loops", "very, very, very good"),
        ("language", "Bonjour"),
        ("language", "OK 7"),
        ("language", "IMG_2034.JPG 0x7f"),
    ],
)
def test_what_only_looks_like_a_fault(name: str, text: str) -> None:
    assert found(name, sample("user: Q", f"assistant: {text}")) == []


def test_words_that_another_language_writes_so_are_not_bare() -> None:
    assert found("diacritics", sample("user: ?", "assistant: Hoje e amanha nada", language="pt")) == []
    assert found("diacritics", sample("user: ?", 'assistant: Ele disse: "Nao sei"', language="pt")) == []  # a quotation
    assert found("diacritics", sample("user: ?", "assistant: nao nao voce", language="en")) == []
    rare = "não " * 5 + "nao"
    assert found("diacritics", sample("user: ?", f"assistant: {rare}", language="pt")) == []
    assert found("diacritics", sample("user: ?", f"assistant: {rare}", language="pt"), bare=0.1) != []


def test_decomposed_letters_count_as_letters() -> None:
    decomposed = "Na\u0303o sei o que voce\u0302 quer dizer com isso."
    assert found("diacritics", sample("user: ?", f"assistant: {decomposed}", language="pt")) == []
    assert found("language", sample("user: ?", f"assistant: {decomposed}", language="pt")) == []


def test_a_threshold_changes_what_is_told() -> None:
    parent, child = sample("user: " + "a cat " * 20), sample("user: " + "um gato " * 8, language="pt")
    assert found("length", child, parent, spread=3) == []
    assert found("length", child, parent, spread=1.2, slack=0) != []


def test_thresholds_are_known_by_name() -> None:
    assert thresholds_of("length") == {"spread": 1.8, "slack": 20}
    assert thresholds_of("turns") == thresholds_of("duplicates") == {}
    for name in NAMES:
        assert all(isinstance(default, int | float) for default in thresholds_of(name).values())


@pytest.mark.parametrize(("name", "known"), [("length", "spread, slack"), ("turns", "none"), ("duplicates", "none")])
def test_an_unknown_threshold_is_told(name: str, known: str) -> None:
    with pytest.raises(UserError) as caught:
        open_check(name, {"spreed": 1.0})
    assert "'spreed'" in caught.value.what and caught.value.where == f"check.thresholds.{name}"
    assert known in caught.value.fix


def test_the_stage_opens_checks_with_the_thresholds_of_the_recipe() -> None:
    loud, quiet = (
        stage.checks(Checking(checks=("turns", "loops"), thresholds={"loops": {"words": words}})) for words in (3, 12)
    )
    child = sample("user: Q", "assistant: so so so")
    assert [each.check for each in stage.findings(child, loud)] == ["loops"]
    assert stage.findings(child, quiet) == []


def test_what_needs_more_than_olhar_installs_is_only_used_when_named() -> None:
    assert set(NAMES) - set(usual()) == OPTIONAL
    assert not set(Checking().checks) - set(usual())


def test_labse_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(UserError) as caught:
        open_check("labse")
    assert caught.value.fix == 'pip install "olhar[labse]"'


def test_cometkiwi_without_its_environment_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UserError) as caught:
        open_check("cometkiwi")
    assert "pipx install unbabel-comet" in caught.value.fix and "non-commercial" in caught.value.fix


def test_cometkiwi_whose_model_is_refused_says_whom_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    (tmp_path / "comet.py").write_text("def download_model(name): raise KeyError('gated')\n")
    (tmp_path / "torch.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child, parent = of(PORTUGUESE, "pt")[0], of(ENGLISH, "en")[0]
    with pytest.raises(UserError) as caught:
        found("cometkiwi", child, parent)
    assert "https://huggingface.co/Unbabel/wmt22-cometkiwi-da" in caught.value.fix


def test_every_prompt_leaks_visibly() -> None:
    """Whatever a prompt writes around an answer in any language: a piece of it inside a turn is found."""
    from olhar.core.types import ImageRef, Turn
    from olhar.prompts import prompt

    turns = (Turn("user", (ImageRef("/a.jpg"), "Q1")), Turn("assistant", ("A1",)))
    turns += (Turn("user", ("Q2",)), Turn("assistant", ("A2",)))
    for name in sorted(set(choices.names("prompts")) - {"plain"}):
        for variant in prompt(name).VARIANTS:
            for code in choices.names("languages"):
                text = prompt(name).render(turns, language(code), variant=variant).text
                leaked = text[text.index("Q1") : text.index("A2")]
                child = sample("user: Q", f"assistant: {leaked}")
                assert found("leakage", child), (name, variant, code, leaked)
