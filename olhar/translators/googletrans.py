"""Google Translate's web page, through the package ``googletrans``: unofficial.

**Google's terms forbid automated use of that page, all the more in bulk**, and it blocks addresses after some dozens of
requests. It is here to look at a handful of sentences; data sets are the work of the other engines. One sentence a
request, slowly; after a first failure the rest of a call is not asked.
"""

import asyncio
import inspect
from collections.abc import Sequence
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

from pydantic import Field

from olhar.core.errors import UserError
from olhar.translators import About, EngineOptions, Failure, Limits, Segment
from olhar.translators._http_codes import not_listed, service_code
from olhar.translators._http_marks import is_sendable
from olhar.translators._http_replies import one_line

TEXTS, CHARACTERS = 10, 5_000  # of one call; the page takes 5,000 characters
INSTALL = "pip install 'olhar[googletrans]'"
TERMS = "unofficial access to Google Translate; its terms forbid automated use: https://policies.google.com/terms"


class Options(EngineOptions):
    """timeout_seconds: of one sentence."""

    timeout_seconds: float = Field(default=20.0, gt=0, le=600)
    calls_per_minute: float = Field(default=3.0, gt=0)


def open(options: Options, source: str, target: str) -> "Googletrans":
    """The web page for one direction.

    Raises ``UserError`` where the package is missing or too old, or where it does not know a language.
    """
    try:
        package = import_module("googletrans")
    except ImportError as error:
        raise UserError(f"the package googletrans cannot be imported: {error}", "googletrans", INSTALL) from error
    if not inspect.iscoroutinefunction(package.Translator.translate):
        raise UserError("this version of googletrans is too old", f"googletrans {_version()}", INSTALL)
    codes = [service_code("google", tag).lower() for tag in (source, target)]
    for code in codes:
        if code not in package.LANGUAGES:
            raise not_listed("googletrans", code, list(package.LANGUAGES))
    return Googletrans(options, package, *codes)


class Googletrans:
    keeps, deterministic = False, False

    def __init__(self, options: Options, package: ModuleType, source: str, target: str) -> None:
        self.options, self.package, self.source, self.target = options, package, source, target

    @property
    def about(self) -> About:
        return About("googletrans", f"googletrans {_version()}", TERMS, official=False)

    @property
    def limits(self) -> Limits:
        return Limits(TEXTS, CHARACTERS, self.options.calls_per_minute)

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        return asyncio.run(self._one_by_one(segments))

    def close(self) -> None:
        """Nothing stays open between calls."""

    async def _one_by_one(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        results: list[Segment | Failure] = []
        blocked = False
        # By default the package gives the source text back where the page refuses: that must not pass for an answer.
        async with self.package.Translator(raise_exception=True, timeout=self.options.timeout_seconds) as page:
            for segment in segments:
                if not is_sendable(segment):
                    results.append(Failure("the text holds control characters"))
                elif blocked:
                    results.append(Failure("not asked: the request before it failed", passing=True))
                else:
                    results.append(await self._one(page, segment))
                    blocked = isinstance(results[-1], Failure)
        return results

    async def _one(self, page: Any, segment: Segment) -> Segment | Failure:
        (text,) = segment  # spans are not kept, so that every segment is one string
        try:
            asked = page.translate(text, dest=self.target, src=self.source)
            answer = (await asyncio.wait_for(asked, self.options.timeout_seconds)).text
        except Exception as error:  # a bare Exception for a refusal, and whatever its parsing of a changed page meets
            return Failure(one_line(f"googletrans: {type(error).__name__} {error}"), passing=True)
        if not isinstance(answer, str) or not answer.strip():
            return Failure("googletrans: no text came back", passing=True)
        return (answer,)


def _version() -> str:
    try:
        return metadata.version("googletrans")
    except metadata.PackageNotFoundError:  # a copy that was not installed
        return "of unknown version"
