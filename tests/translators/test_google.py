"""The Google Cloud engine against a server that speaks versions 2 and 3 of its API, well and badly."""

import re
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, Segment
from olhar.translators import google as engine
from tests.translators import misbehaving as bad

SECRET = "AIza0123456789"
LISTED = {"data": {"languages": [{"language": code} for code in ("en", "pt", "pt-PT", "zh-CN")]}}
LISTED_V3 = {
    "languages": [
        {"languageCode": "en", "supportSource": True, "supportTarget": True},
        {"languageCode": "pt", "supportSource": True, "supportTarget": True},
        {"languageCode": "vi", "supportSource": True, "supportTarget": False},
    ]
}
SERVICE = bad.Dialect(
    "translatedText",
    lambda body: [{"translatedText": bad.shouted(text).replace("'", "&#39;")} for text in body["q"]],
    lambda entries: {"data": {"translations": entries}},
    {"/language/translate/v2/languages": LISTED},
)
SERVICE_V3 = bad.Dialect(
    "translatedText",
    lambda body: [{"translatedText": bad.shouted(text)} for text in body["contents"]],
    lambda entries: {"translations": entries},
    {"/v3/projects/mine/locations/global/supportedLanguages": LISTED_V3},
)
SENTENCES: list[Segment] = [
    ("There are ", Kept("3"), " dogs & <cats>."),
    ("A sign says ", Kept('"STOP & <go>"'), " and ", Kept("3"), "."),
    ("Isn't it red?",),
]
SHOUTED: list[Segment] = [
    ("THERE ARE ", Kept("3"), " DOGS & <CATS>."),
    ("A SIGN SAYS ", Kept('"STOP & <go>"'), " AND ", Kept("3"), "."),
    ("ISN'T IT RED?",),
]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_TRANSLATE_KEY", SECRET)


def opened(service: bad.Misbehaving, target: str = "pt", **options: Any) -> engine.Google:
    chosen: dict[str, Any] = {"base_url": service.url, "timeout_seconds": 5.0} | options
    return engine.open(engine.Options(**chosen), "en", target)


def results_of(*script: bad.Act) -> list[Segment | Failure]:
    with bad.Misbehaving(SERVICE, script) as service:
        return opened(service).translate(SENTENCES)


def test_kept_spans_go_out_as_spans_and_entities_come_back_as_letters() -> None:
    with bad.Misbehaving(SERVICE) as service:
        translator = opened(service)
        assert translator.translate(SENTENCES) == SHOUTED and translator.translate([]) == []
        translator.close()
    (asked,) = service.work
    assert asked.path == "/language/translate/v2" and asked.headers["x-goog-api-key"] == SECRET
    assert "authorization" not in asked.headers and SECRET.encode() not in asked.body
    body = asked.json
    span = '<span class="notranslate" id="k1">'
    assert body["q"][0] == f"There are {span}3</span> dogs &amp; &lt;cats&gt;."
    assert f'{span}"STOP &amp; &lt;go&gt;"</span>' in body["q"][1] and body["q"][2] == "Isn't it red?"
    assert (body["source"], body["target"], body["format"]) == ("en", "pt", "html")


def test_version_3_takes_a_token_a_project_and_a_model() -> None:
    with bad.Misbehaving(SERVICE_V3) as service:
        translator = opened(service, project="mine", model="projects/mine/locations/global/models/general/nmt")
        assert translator.translate(SENTENCES) == SHOUTED
        with pytest.raises(UserError, match="does not translate vi"):
            opened(service, "vi", project="mine")
    (asked,) = service.work
    assert asked.path == "/v3/projects/mine/locations/global:translateText"
    assert asked.headers["authorization"] == f"Bearer {SECRET}" and asked.headers["x-goog-user-project"] == "mine"
    assert "x-goog-api-key" not in asked.headers
    del asked.json["contents"]
    assert asked.json["mimeType"] == "text/html" and asked.json["model"].endswith("nmt")
    assert (asked.json["sourceLanguageCode"], asked.json["targetLanguageCode"]) == ("en", "pt")


def test_more_than_one_request_holds_keeps_order() -> None:
    many: list[Segment] = [(f"word {number}",) for number in range(300)]
    with bad.Misbehaving(SERVICE) as service:
        assert opened(service).translate(many) == [(f"WORD {number}",) for number in range(300)]
    assert [len(asked.json["q"]) for asked in service.work] == [128, 128, 44]


@pytest.mark.parametrize(
    ("change", "harmed"),
    [
        (bad.without_tags, [0, 1]),
        (lambda text: text + "<br>", [0, 1, 2]),
        (lambda text: text + "<!-- x -->", [0, 1, 2]),
        (lambda text: text + re.sub(r"^.*?(<span.*</span>).*$", r"\1", text), [0, 1]),
        (lambda text: text.replace('id="k1"', 'id="k7"'), [0, 1]),
        (lambda text: text.replace(' id="k1"', ""), [0, 1]),
        (lambda text: text.replace("</span>", "", 1), [0, 1]),
        (lambda text: text.replace("<span", "</span><span"), [0, 1]),
        (lambda text: text.replace("</span>", "<b>x</b></span>"), [0, 1]),
        (lambda _: "&nbsp;", [0, 1, 2]),
    ],
)
def test_exactly_the_sentences_that_were_harmed_fail(change: Any, harmed: list[int]) -> None:
    results = results_of(bad.retold(change))
    assert [place for place, result in enumerate(results) if isinstance(result, Failure)] == harmed
    assert not any(result.passing for result in results if isinstance(result, Failure))


def test_attributes_may_change_places_and_what_a_span_holds_is_ours() -> None:
    change = bad.retold(
        lambda text: re.sub(
            r'<span class="notranslate" id="(k\d)">[^<]*', r"<SPAN id='\1' class=notranslate>três", text
        )
    )
    assert results_of(change) == SHOUTED


@pytest.mark.parametrize(
    "change", [lambda entries: entries[:-1], lambda entries: [*entries, entries[0]], lambda entries: []]
)
def test_a_list_of_another_length_shifts_nothing(change: Any) -> None:
    assert all(isinstance(result, Failure) and result.passing for result in results_of(bad.changed(change)))


def test_a_hole_in_the_list_harms_one() -> None:
    *others, last = results_of(bad.changed(lambda entries: [*entries[:-1], None]))
    assert isinstance(last, Failure) and others == SHOUTED[:-1]


@pytest.mark.parametrize(
    "act",
    [
        bad.reset,
        bad.broken_off,
        bad.half_json,
        bad.error_page(),
        bad.text(b"[]"),
        bad.text(b'{"data": []}'),
        bad.status(503, {"error": {"code": 503, "message": "backend"}}),
        bad.status(
            403, {"error": {"message": "User Rate Limit Exceeded", "errors": [{"reason": "userRateLimitExceeded"}]}}
        ),
        bad.status(403, {"error": {"message": "User Rate Limit Exceeded"}}),
        bad.status(429),
    ],
)
def test_what_may_pass_is_said_to_pass(act: bad.Act) -> None:
    assert all(isinstance(result, Failure) and result.passing for result in results_of(act))


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (bad.status(401), "GOOGLE_TRANSLATE_KEY"),
        (
            bad.status(403, {"error": {"message": f"key {SECRET} blocked", "status": "PERMISSION_DENIED"}}),
            "GOOGLE_TRANSLATE_KEY",
        ),
        (
            bad.status(
                400,
                {
                    "error": {
                        "message": "API key not valid. Please pass one.",
                        "details": [{"reason": "API_KEY_INVALID"}],
                    }
                },
            ),
            "GOOGLE",
        ),
        (bad.status(400, {"error": {"message": "API key not valid."}}), "GOOGLE_TRANSLATE_KEY"),
        (
            bad.status(
                403, {"error": {"message": "Daily Limit Exceeded", "errors": [{"reason": "dailyLimitExceeded"}]}}
            ),
            "over quota",
        ),
    ],
)
def test_what_nobody_can_wait_for_is_an_error(act: bad.Act, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        results_of(act)
    assert SECRET not in str(caught.value)


def test_a_text_too_long_does_not_pass() -> None:
    refusal = bad.status(400, {"error": {"message": "Text too long", "status": "INVALID_ARGUMENT"}})
    assert results_of(refusal) == [Failure("HTTP 400: Text too long")] * 3


def test_languages_are_checked_before_any_work() -> None:
    with bad.Misbehaving(SERVICE) as service:
        assert opened(service, "pt-PT").target == "pt-PT" and opened(service, "zh").target == "zh-CN"
        with pytest.raises(UserError, match="it lists pt, pt-PT"):
            opened(service, "pt-BR")
        with pytest.raises(UserError, match="does not translate vi"):
            opened(service, "vi")
    for act in (bad.status(503), bad.reset):
        with bad.Misbehaving(SERVICE, opening=[act]) as service, pytest.raises(UserError, match="not answer"):
            opened(service)
    assert service.work == []
