"""The unofficial engine with a package of the same shape in place of the real one: no test asks Google."""

import asyncio
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from olhar.core.errors import UserError
from olhar.translators import Failure, Segment
from olhar.translators import googletrans as engine

SENTENCES: list[Segment] = [("one",), ("two",), ("three",)]


class Page:
    """``googletrans.Translator`` of version 4; answers with what ``script`` holds for a text, else in upper case."""

    script: dict[str, Any] = {}  # noqa: RUF012
    made: list[dict[str, Any]] = []  # noqa: RUF012
    asked: list[tuple[str, str, str]] = []  # noqa: RUF012

    def __init__(self, **settings: Any) -> None:
        self.made.append(settings)

    async def __aenter__(self) -> "Page":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def translate(self, text: str, dest: str, src: str) -> Any:
        self.asked.append((text, dest, src))
        answer = self.script.get(text, text.upper())
        if answer == "hang":
            await asyncio.sleep(30)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(text=answer)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> type[Page]:
    package = ModuleType("googletrans")
    package.Translator, package.LANGUAGES = Page, {"en": "english", "pt": "portuguese", "zh-cn": "chinese"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "googletrans", package)
    Page.script, Page.made, Page.asked = {}, [], []
    return Page


def opened(target: str = "pt", **options: Any) -> engine.Googletrans:
    return engine.open(engine.Options(**options), "en", target)


def test_one_sentence_a_request_and_no_silent_copies(page: type[Page]) -> None:
    translator = opened()
    assert translator.translate(SENTENCES) == [("ONE",), ("TWO",), ("THREE",)] and translator.translate([]) == []
    assert page.asked == [("one", "pt", "en"), ("two", "pt", "en"), ("three", "pt", "en")]
    assert all(settings["raise_exception"] is True for settings in page.made)
    assert opened("zh").target == "zh-cn"
    translator.close()


def test_it_says_what_it_is(page: type[Page]) -> None:
    translator = opened()
    assert not translator.about.official and "terms forbid" in translator.about.licence
    assert not translator.keeps and translator.limits.calls_per_minute == 3.0


@pytest.mark.parametrize(
    "answer",
    [Exception('Unexpected status code "429"'), TypeError("NoneType"), ValueError("x" * 999), None, "", " ", 3],
)
def test_after_a_failure_the_rest_is_not_asked(page: type[Page], answer: Any) -> None:
    page.script = {"two": answer}
    first, second, third = opened().translate(SENTENCES)
    assert first == ("ONE",)
    assert isinstance(second, Failure) and second.passing and len(second.reason) < 250
    assert isinstance(third, Failure) and third.passing and [text for text, *_ in page.asked] == ["one", "two"]


def test_a_page_that_hangs_is_left_in_time(page: type[Page]) -> None:
    page.script = {"one": "hang"}
    began = time.monotonic()
    results = opened(timeout_seconds=0.3).translate(SENTENCES)
    assert time.monotonic() - began < 2.0 and all(isinstance(result, Failure) for result in results)


def test_what_cannot_be_sent_fails_alone(page: type[Page]) -> None:
    bad, good = opened().translate([("a\x00",), ("b",)])
    assert isinstance(bad, Failure) and not bad.passing and good == ("B",)


def test_a_package_that_is_missing_or_too_old_or_a_language_it_lacks(
    page: type[Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="does not translate vi"):
        opened("vi")
    monkeypatch.setattr(page, "translate", lambda self, text, dest, src: None)
    with pytest.raises(UserError, match="too old"):
        opened()
    monkeypatch.setitem(sys.modules, "googletrans", None)
    with pytest.raises(UserError, match="pip install"):
        opened()
