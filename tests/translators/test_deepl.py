"""The DeepL engine against a server that speaks version 2 of its API, well and badly."""

import re
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, Segment
from olhar.translators import deepl as engine
from tests.translators import misbehaving as bad

SECRET = "0123-4567-89ab"
USAGE = {"character_count": 10, "character_limit": 500_000}
SOURCES = [{"language": "EN", "name": "English"}, {"language": "PT", "name": "Portuguese"}]
TARGETS = [
    {"language": "PT-BR", "name": "Portuguese (Brazilian)", "supports_formality": True},
    {"language": "PT-PT", "name": "Portuguese (European)", "supports_formality": True},
    {"language": "EN-US", "name": "English (American)", "supports_formality": False},
]
SERVICE = bad.Dialect(
    "text",
    lambda body: [{"detected_source_language": "EN", "text": bad.shouted(text)} for text in body["text"]],
    lambda entries: {"translations": entries},
    {"/v2/usage": USAGE, "/v2/languages?type=source": SOURCES, "/v2/languages?type=target": TARGETS},
)
SENTENCES: list[Segment] = [
    ("There are ", Kept("3"), " dogs & <cats>."),
    ("A sign says ", Kept('"STOP & <go>"'), " and ", Kept("3"), "."),
    ("Is it red?",),
]
SHOUTED: list[Segment] = [
    ("THERE ARE ", Kept("3"), " DOGS & <CATS>."),
    ("A SIGN SAYS ", Kept('"STOP & <go>"'), " AND ", Kept("3"), "."),
    ("IS IT RED?",),
]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPL_API_KEY", SECRET)


def opened(service: bad.Misbehaving, target: str = "pt", **options: Any) -> engine.DeepL:
    chosen: dict[str, Any] = {"base_url": service.url, "timeout_seconds": 5.0} | options
    return engine.open(engine.Options(**chosen), "en", target)


def results_of(*script: bad.Act, **options: Any) -> list[Segment | Failure]:
    with bad.Misbehaving(SERVICE, script) as service:
        return opened(service, **options).translate(SENTENCES)


def test_kept_spans_go_out_as_ignored_elements_and_come_back() -> None:
    with bad.Misbehaving(SERVICE) as service:
        translator = opened(service, formality="less", model="quality_optimized")
        assert translator.translate(SENTENCES) == SHOUTED and translator.translate([]) == []
        translator.close()
        translator.close()
    (asked,) = service.work
    body = asked.json
    assert asked.path == "/v2/translate" and asked.headers["authorization"] == f"DeepL-Auth-Key {SECRET}"
    assert body["text"][0] == 'There are <k id="1">3</k> dogs &amp; &lt;cats&gt;.'
    assert body["text"][1] == 'A sign says <k id="1">"STOP &amp; &lt;go&gt;"</k> and <k id="2">3</k>.'
    del body["text"]
    assert body == {
        "source_lang": "EN",
        "target_lang": "PT-BR",
        "tag_handling": "xml",
        "tag_handling_version": "v2",
        "ignore_tags": ["k"],
        "split_sentences": "0",
        "preserve_formatting": True,
        "formality": "less",
        "model_type": "quality_optimized",
    }


def test_more_than_one_request_holds_keeps_order() -> None:
    many: list[Segment] = [(f"word {number}",) for number in range(120)]
    many[7] = ("nothing \x00",)
    with bad.Misbehaving(SERVICE) as service:
        results = opened(service).translate(many)
    assert [len(asked.json["text"]) for asked in service.work] == [50, 50, 19]
    assert isinstance(results.pop(7), Failure)
    assert results == [(f"WORD {number}",) for number in range(120) if number != 7]


def test_the_address_follows_the_plan_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(engine, "DeepL", lambda options, service, source, target: seen.append(service.base_url))
    for value in (SECRET, SECRET + ":fx"):
        monkeypatch.setenv("DEEPL_API_KEY", value)
        engine.open(engine.Options(), "en", "pt")
    assert seen == ["https://api.deepl.com", "https://api-free.deepl.com"]


@pytest.mark.parametrize(
    ("change", "harmed"),
    [
        (bad.without_tags, [0, 1]),
        (lambda text: text + re.sub(r".*(<k.*</k>).*", r"\1", text), [0, 1]),
        (lambda text: text.replace("<k ", "<x ").replace("</k>", "</x>"), [0, 1]),
        (lambda text: text.replace('id="1"', 'id="7"'), [0, 1]),
        (lambda text: text.replace('id="1"', ""), [0, 1]),
        (lambda text: text.replace("</k>", "", 1), [0, 1]),
        (lambda text: text.replace("&amp;", "&"), [0, 1]),
        (lambda text: text.replace("<k", "\n<k"), [0, 1]),
        (lambda _: "", [0, 1, 2]),
        (lambda text: re.sub(r">(\d|\"[^<]*)</k>", "><i>x</i></k>", text), [0, 1]),
    ],
)
def test_exactly_the_sentences_that_were_harmed_fail(change: Any, harmed: list[int]) -> None:
    results = results_of(bad.retold(change))
    assert [place for place, result in enumerate(results) if isinstance(result, Failure)] == harmed
    assert not any(result.passing for result in results if isinstance(result, Failure))


def test_a_kept_span_that_was_translated_returns_as_it_was() -> None:
    change = bad.retold(lambda text: re.sub(r"(<k[^>]*>)[^<]*", r"\1traduzido", text))
    assert results_of(change) == SHOUTED


@pytest.mark.parametrize(
    "change", [lambda entries: entries[:-1], lambda entries: [*entries, entries[0]], lambda entries: []]
)
def test_a_list_of_another_length_shifts_nothing(change: Any) -> None:
    results = results_of(bad.changed(change))
    assert all(isinstance(result, Failure) and result.passing for result in results)


def test_a_hole_in_the_list_harms_one() -> None:
    first, *others = results_of(bad.changed(lambda entries: [None, *entries[1:]]))
    assert isinstance(first, Failure) and others == SHOUTED[1:]


@pytest.mark.parametrize(
    "act",
    [bad.reset, bad.broken_off, bad.half_json, bad.error_page(), bad.text(b"[]"), bad.text(b"{}"), bad.status(500)],
)
def test_what_the_network_does_may_pass(act: bad.Act) -> None:
    assert all(isinstance(result, Failure) and result.passing for result in results_of(act))


def test_limits_of_speed_tell_how_long_to_wait() -> None:
    assert results_of(bad.status(429, retry_after="4")) == [Failure("HTTP 429", passing=True, wait=4.0)] * 3
    assert results_of(bad.status(413, {"message": "too large"})) == [Failure("HTTP 413: too large")] * 3


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (bad.status(403, {"message": f"Forbidden {SECRET}"}), "DEEPL_API_KEY"),
        (bad.status(456, {"message": "Quota exceeded"}), "over quota"),
        (bad.status(400, {"message": "Value for 'target_lang' not supported."}), "does not translate EN to PT-BR"),
        (bad.status(400, {"message": "Unsupported language pair: 'en' => 'pt'."}), "does not translate"),
    ],
)
def test_what_nobody_can_wait_for_is_an_error(act: bad.Act, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        results_of(act)
    assert SECRET not in str(caught.value)


def test_an_account_that_is_used_up_is_told_before_any_work() -> None:
    used = bad.text(b'{"character_count": 500000, "character_limit": 500000}')
    with bad.Misbehaving(SERVICE, opening=[used]) as service, pytest.raises(UserError, match="over quota"):
        opened(service)
    with bad.Misbehaving(SERVICE) as service:
        assert opened(service).quota() == (10, 500_000)
    with bad.Misbehaving(SERVICE, opening=[bad.text(b"{}")]) as service:
        opened(service)


def test_a_language_that_is_not_listed_is_tried_with_one_letter() -> None:
    refusal = bad.status(400, {"message": "Value for 'target_lang' not supported."})
    with bad.Misbehaving(SERVICE, [refusal]) as service, pytest.raises(UserError, match="VI"):
        opened(service, "vi")
    assert service.work[0].json["text"] == ["a"]
    with bad.Misbehaving(SERVICE) as service:
        assert opened(service, "vi").translate(SENTENCES) == SHOUTED
    with bad.Misbehaving(SERVICE, [bad.status(500)]) as service, pytest.raises(UserError, match="does not answer"):
        opened(service, "vi")


def test_varieties_and_formality() -> None:
    with bad.Misbehaving(SERVICE) as service:
        assert opened(service, "pt-PT").target == "PT-PT"
        with pytest.raises(UserError, match="prefer_more"):
            engine.open(engine.Options(base_url=service.url, formality="more"), "pt", "en")
        european = engine.open(engine.Options(base_url=service.url, formality="prefer_more"), "pt-PT", "en")
        assert (european.source, european.target) == ("PT", "EN-US")
        assert european.about.version != opened(service).about.version
        assert SECRET not in str(vars(european))
