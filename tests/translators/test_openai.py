"""The engine for OpenAI-compatible endpoints against a server that does all that models and servers do."""

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, Segment
from olhar.translators import openai as engine
from tests.translators import misbehaving as bad

SECRET = "sk-0123456789abcdef"
SENTENCES: list[Segment] = [
    ("There are ", Kept("3"), " dogs."),
    ("The sign says ", Kept('"STOP"'), " & ", Kept("<b>"), "."),
    ("A dog & <cat>",),
    ("Is it red?",),
    ("No",),
]
SHOUTED: list[Segment] = [
    ("THERE ARE ", Kept("3"), " DOGS."),
    ("THE SIGN SAYS ", Kept('"STOP"'), " & ", Kept("<b>"), "."),
    ("A DOG & <CAT>",),
    ("IS IT RED?",),
    ("NO",),
]


def shout(text: str) -> str:
    return "".join(piece if piece.startswith("<k") else piece.upper() for piece in re.split(r"(<k\d/>)", text))


def sentences(body: Any) -> list[dict[str, Any]]:
    content = body["messages"][0]["content"]
    return json.loads(content[content.index('{"sentences"') :])["sentences"]


def wrapped(entries: bad.Entries, content: str | None = None, **choice: Any) -> dict[str, Any]:
    told = json.dumps({"translations": entries}) if content is None else content
    return {
        "choices": [{"message": {"role": "assistant", "content": told}, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100},
    }


MODEL = bad.Dialect(
    "text",
    lambda body: [{"n": one["n"], "text": shout(one["text"])} for one in sentences(body)],
    wrapped,
    {"/v1/models": {"data": [{"id": "m"}]}},
)


def says(content: Callable[[bad.Entries], str]) -> bad.Act:
    """A proper reply around what the model writes."""

    def act(exchange: bad.Exchange) -> None:
        told = content(MODEL.entries(exchange.asked.json))
        exchange.send(200, json.dumps(wrapped([], told)).encode())

    return act


def opened(service: bad.Misbehaving, **options: Any) -> engine.OpenAI:
    chosen: dict[str, Any] = {"base_url": service.url + "/v1", "model": "m", "timeout_seconds": 5.0} | options
    return engine.open(engine.Options(**chosen), "en", "pt")


def results_of(*script: bad.Act, **options: Any) -> list[Segment | Failure]:
    with bad.Misbehaving(MODEL, script) as service:
        translator = opened(service, **options)
        try:
            return translator.translate(SENTENCES)
        finally:
            translator.close()


def test_sentences_go_out_with_numbers_tags_and_schema_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAT_KEY", SECRET)
    with bad.Misbehaving(MODEL) as service:
        translator = opened(service, key_variable="THAT_KEY", extra={"top_k": 1})
        assert translator.translate(SENTENCES) == SHOUTED and translator.translate([]) == []
        translator.close()
        translator.close()
    (asked,) = service.work
    body = asked.json
    assert asked.path == "/v1/chat/completions" and asked.headers["authorization"] == f"Bearer {SECRET}"
    assert (body["model"], body["temperature"], body["seed"], body["top_k"]) == ("m", 0, 1, 1)
    assert body["response_format"]["type"] == "json_schema"
    told = body["messages"][0]["content"]
    assert "English" in told and "Brazilian Portuguese" in told and "{" + "source}" not in told
    first, second, third, *_ = sentences(body)
    assert first["text"] == "There are <k1/> dogs." and first["kept"] == {"k1": "3"}
    assert second["kept"] == {"k1": '"STOP"', "k2": "<b>"} and third == {"n": third["n"], "text": "A dog & <cat>"}


@pytest.mark.parametrize(
    ("change", "harmed"),
    [
        (lambda entries: entries[::-1], []),
        (lambda entries: entries[:-1], [4]),
        (lambda entries: entries[1:], [0]),
        (lambda entries: [*entries[:2], None, *entries[3:]], [2]),
        (lambda entries: [*entries, entries[1]], [1]),
        (lambda entries: [*entries, {"n": 1, "text": "more"}], []),
        (lambda entries: [entry | {"n": place} for place, entry in enumerate(entries, 1)], [0, 1, 2, 3, 4]),
        (lambda entries: [entries[0] | {"text": None}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": ["x"]}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há cães."}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há <k1/> <k1/> cães."}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há <k1/> <k2/> cães."}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há <k1>três</k1> cães."}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há <K1/> cães."}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há <k9999999999/> cães."}, *entries[1:]], [0]),
        (lambda entries: [entries[0] | {"text": "Há <k1/>\ncães."}, *entries[1:]], [0]),
        (lambda entries: [*entries[:4], entries[4] | {"text": "  "}], [4]),
        (lambda entries: [], [0, 1, 2, 3, 4]),
    ],
)
def test_exactly_the_sentences_that_were_harmed_fail(change: Any, harmed: list[int]) -> None:
    results = results_of(bad.changed(change))
    assert [place for place, result in enumerate(results) if isinstance(result, Failure)] == harmed
    assert all(result.passing for result in results if isinstance(result, Failure))
    assert all(result == SHOUTED[place] for place, result in enumerate(results) if place not in harmed)


def test_a_tag_without_its_slash_is_still_a_tag() -> None:
    assert results_of(bad.changed(lambda e: [e[0] and e[0] | {"text": "<k1 /> cães"}, *e[1:]]))[0] == (
        Kept("3"),
        " cães",
    )


@pytest.mark.parametrize(
    "content",
    [
        lambda entries: "```json\n" + json.dumps({"translations": entries}) + "\n```",
        lambda entries: "<think>{what?}</think>\n" + json.dumps({"translations": entries}),
        lambda entries: "Here you are: " + json.dumps({"translations": entries}) + " Enjoy!",
    ],
)
def test_json_is_found_among_words(content: Callable[[bad.Entries], str]) -> None:
    assert results_of(says(content)) == SHOUTED


@pytest.mark.parametrize(
    "act",
    [
        says(lambda _: "I am sorry, I cannot."),
        says(lambda entries: json.dumps({"translations": entries})[:-9]),
        says(lambda _: '{"translations": {"a": 1}}'),
        says(lambda _: "[]"),
        says(lambda _: ""),
        says(lambda _: '{"a": ' * 100_000 + "}"),
        bad.text(b"{}"),
        bad.text(b"[]"),
        bad.text(b'{"choices": []}'),
        bad.text(b'{"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]}'),
        bad.half_json,
        bad.broken_off,
        bad.reset,
        bad.error_page(200),
        bad.status(500),
    ],
)
def test_answers_that_are_none_fail_for_all_and_may_pass(act: bad.Act) -> None:
    results = results_of(act)
    assert len(results) == 5 and all(isinstance(result, Failure) and result.passing for result in results)


def test_a_server_without_schemas_is_found_out_once() -> None:
    refusal = bad.status(400, {"error": {"message": "response_format json_schema is not supported"}})
    with bad.Misbehaving(MODEL, [refusal]) as service:
        translator = opened(service)
        assert translator.translate(SENTENCES) == SHOUTED and translator.translate(SENTENCES) == SHOUTED
        translator.close()
    assert ["response_format" in asked.json for asked in service.work] == [True, False, False]


def test_a_text_that_is_too_long_is_no_sign_of_a_server_without_schemas() -> None:
    refusal = bad.status(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
    with bad.Misbehaving(MODEL, [refusal, refusal]) as service:
        translator = opened(service)
        assert translator.translate(SENTENCES) == [Failure("HTTP 400: too long")] * 5
        assert translator.translate(SENTENCES) == SHOUTED
        service.script.append(refusal)
        assert translator.translate(SENTENCES) == [Failure("HTTP 400: too long")] * 5
        translator.close()
    assert ["response_format" in asked.json for asked in service.work] == [True, False, True, True]


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (bad.status(401, {"error": {"message": f"Incorrect API key: {SECRET}"}}), "THAT_KEY"),
        (bad.status(403), "THAT_KEY"),
        (bad.status(429, {"error": {"message": "quota", "code": "insufficient_quota"}}), "over quota"),
        (bad.status(402), "over quota"),
        (bad.status(404, {"error": {"message": "the model `m` does not exist"}}), "model `m`"),
    ],
)
def test_what_nobody_can_wait_for_is_an_error(act: bad.Act, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAT_KEY", SECRET)
    with pytest.raises(UserError, match=match) as caught:
        results_of(act, key_variable="THAT_KEY")
    assert SECRET not in str(caught.value)


def test_a_model_that_wants_no_temperature_is_told_apart() -> None:
    refusal = bad.status(400, {"error": {"message": "Unsupported value", "param": "temperature"}})
    with pytest.raises(UserError, match="greedy"):
        results_of(refusal, refusal)
    with bad.Misbehaving(MODEL) as service:
        opened(service, greedy=False).translate(SENTENCES)
    assert not {"temperature", "seed"} & service.work[0].json.keys()


def test_the_time_to_wait_is_handed_on() -> None:
    assert results_of(bad.status(429, retry_after="3")) == [Failure("HTTP 429", passing=True, wait=3.0)] * 5


def test_requests_run_together_within_bounds_and_one_that_fails_harms_only_its_own() -> None:
    def slow(exchange: bad.Exchange) -> None:
        time.sleep(0.2)
        bad.behave(exchange)

    many: list[Segment] = [(f"word {chr(97 + number)}",) for number in range(16)]
    with bad.Misbehaving(MODEL, [slow, slow, bad.status(503), slow, slow, slow, slow, slow]) as service:
        translator = opened(service, sentences=2, concurrent=4)
        began = time.monotonic()
        results = translator.translate(many)
        assert time.monotonic() - began < 1.2  # eight requests of 0.2 s, four at a time
        translator.close()
    failed = [place for place, result in enumerate(results) if isinstance(result, Failure)]
    assert len(failed) == 2 and failed[0] % 2 == 0 and failed[1] == failed[0] + 1 and len(service.work) == 8
    good = [place for place in range(16) if place not in failed]
    assert all(results[place] == (f"WORD {chr(65 + place)}",) for place in good)


def test_paid_work_is_not_lost_when_another_request_finds_the_key_revoked() -> None:
    with bad.Misbehaving(MODEL, [bad.status(401)]) as service:
        translator = opened(service, sentences=2, concurrent=1)
        results = translator.translate(SENTENCES)
        assert [isinstance(result, Failure) for result in results] == [True, True, False, False, False]
        with pytest.raises(UserError, match="key"):
            translator.translate(SENTENCES)
        assert len(service.work) == 3
        translator.close()


def test_a_hanging_server_costs_no_more_than_the_time_allowed() -> None:
    began = time.monotonic()
    results = results_of(bad.hang, bad.drip, bad.drip_headers, sentences=2, concurrent=3, timeout_seconds=0.5)
    assert time.monotonic() - began < 2.0
    assert all(isinstance(result, Failure) and result.passing for result in results)


def test_closing_ends_what_still_runs() -> None:
    with bad.Misbehaving(MODEL, [bad.hang, bad.hang]) as service:
        translator = opened(service, sentences=3, concurrent=2, timeout_seconds=15.0)
        timer = threading.Timer(0.3, translator.close)
        timer.start()
        began = time.monotonic()
        assert all(isinstance(result, Failure) for result in translator.translate(SENTENCES))
        assert time.monotonic() - began < 3.0
        timer.join()


def test_tokens_are_counted_and_priced() -> None:
    with bad.Misbehaving(MODEL, [says(lambda _: "no JSON, but paid")]) as service:
        translator = opened(service, price_input=2.0, price_output=10.0)
        translator.translate(SENTENCES)
        translator.translate(SENTENCES)
        assert (translator.tokens_in, translator.tokens_out) == (2000, 200)
        assert translator.spent == pytest.approx(0.006)
        assert 0.5 < translator.limits.price / (2.0 * 0.5 + 10.0 * 0.45) < 2
        translator.close()
    with bad.Misbehaving(MODEL) as service:
        assert opened(service).limits.price == 0.0


def test_texts_that_look_like_our_tags_or_cannot_be_sent_fail_alone() -> None:
    odd: list[Segment] = [("a <k1/> b",), ("c",), ("d\x00",), ("e </ k2>", Kept("1")), ("f",)]
    with bad.Misbehaving(MODEL) as service:
        results = opened(service).translate(odd)
    assert [result for result in results if not isinstance(result, Failure)] == [("C",), ("F",)]
    assert not any(result.passing for result in results if isinstance(result, Failure))


def test_opening_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THAT_KEY", raising=False)
    cases: list[tuple[bad.Act, str]] = [
        (bad.status(401), "wants a key"),
        (bad.reset, "not answer"),
        (bad.status(503), "not"),
    ]
    for act, match in cases:
        with bad.Misbehaving(MODEL, opening=[act]) as service, pytest.raises(UserError, match=match):
            opened(service)
    with bad.Misbehaving(MODEL, opening=[bad.status(404)]) as service:
        assert opened(service).translate(SENTENCES) == SHOUTED
        with pytest.raises(UserError, match="THAT_KEY"):
            opened(service, key_variable="THAT_KEY")
        with pytest.raises(UserError, match="no languages called 'xx'"):
            engine.open(engine.Options(base_url=service.url, model="m"), "en", "xx")


def test_options_may_not_undo_the_form_of_a_request() -> None:
    with pytest.raises(ValidationError, match="messages"):
        engine.Options(base_url="http://localhost", model="m", extra={"messages": []})
    with pytest.raises(ValidationError):
        engine.Options.model_validate({"base_url": "http://localhost", "model": "m", "keyvariable": "X"})


def test_the_version_changes_with_all_that_matters_and_nothing_else() -> None:
    with bad.Misbehaving(MODEL) as service:
        plain = opened(service).about.version
        assert plain.startswith("m ") and service.url not in plain
        for matters in ({"model": "o"}, {"formality": "formal"}, {"seed": 2}, {"greedy": False}, {"extra": {"a": 1}}):
            assert opened(service, **matters).about.version != plain
        for does_not in ({"concurrent": 2}, {"timeout_seconds": 9.0}, {"price_input": 3.0}):
            assert opened(service, **does_not).about.version == plain
        european = engine.open(engine.Options(base_url=service.url + "/v1", model="m"), "en", "pt-PT")
        assert european.about.version != plain and "Portuguese (pt-PT)" in european.instruction
