"""DeepL, REST version 2: kept spans as XML elements that it leaves alone (``tag_handling=xml``, ``ignore_tags``).

The key is read from an environment variable; keys of the free plan end in ``:fx`` and have an address of their own.
What is billed are the source characters, tags included; see the account's page for the price.
Source: https://developers.deepl.com/docs and the OpenAPI file of the service.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from pydantic import Field

from olhar.core.errors import UserError
from olhar.core.store import digest
from olhar.languages import language
from olhar.translators import About, Failure, Limits, Segment
from olhar.translators._codes import parsed
from olhar.translators._http import Service, key_in, unreachable
from olhar.translators._http_codes import service_code
from olhar.translators._http_marks import in_requests, put_back, read_each, tagged
from olhar.translators._http_options import PricedOptions
from olhar.translators._http_replies import Reply, judged, over_quota

TEXTS = 50  # of one request
CHARACTERS = 20_000  # of one request: its limit is 128 KiB, a character at most four bytes, escapes and tags beside
FREE, PAID = "https://api-free.deepl.com", "https://api.deepl.com"
TAGS = "v2"  # the version of its handling of tags; the default depends on the account's age
FORMALITY = {"formal": "prefer_more", "informal": "prefer_less"}  # of policies, where the target has such forms
LANGUAGE_ERRORS = ("source_lang", "target_lang", "language pair")  # of its messages with status 400


class Options(PricedOptions):
    """base_url: empty: the address of the key's plan.
    formality: as DeepL has it; ``more`` and ``less`` are errors where the target has no such forms.
    model: ``model_type`` of the service; empty leaves the choice to it."""

    key_variable: str = Field(default="DEEPL_API_KEY", min_length=1)
    base_url: str = ""
    formality: Literal["default", "more", "less", "prefer_more", "prefer_less"] = "default"
    model: Literal["", "latency_optimized", "quality_optimized", "prefer_quality_optimized"] = ""
    currency: str = "EUR"


def open(options: Options, source: str, target: str) -> "DeepL":
    """DeepL for one direction.

    Asks for its languages and the account's usage, which costs nothing; where a language is not listed, translates one
    letter, since the list is known to be incomplete. Raises ``UserError`` as the contract says, and over quota.
    """
    key = key_in(options.key_variable, scheme="DeepL-Auth-Key ")
    base_url = options.base_url or (FREE if key.secret.endswith(":fx") else PAID)
    return DeepL(options, Service(base_url, key, options.timeout_seconds), source, target)


class DeepL:
    keeps, deterministic = True, False

    def __init__(self, options: Options, service: Service, source: str, target: str) -> None:
        self.options, self.service = options, service
        self.source = language(parsed(source)[0]).code.upper()  # varieties exist for targets only
        self.target = service_code("deepl", target).upper()
        self._check_quota()
        self._check_languages()

    @property
    def about(self) -> About:
        matters = [TAGS, self.options.formality, self.options.model]
        return About("deepl", f"v2 {digest(matters)}", "service under DeepL's terms: https://www.deepl.com/pro-license")

    @property
    def limits(self) -> Limits:
        return self.options.limits(TEXTS, CHARACTERS)

    def quota(self) -> tuple[int, int] | None:
        """Characters used and allowed in the account's present period; None where it has no limit."""
        usage = self.service.ask_at_opening("GET", "/v2/usage").value
        usage = usage if isinstance(usage, dict) else {}
        used, allowed = usage.get("character_count"), usage.get("character_limit")
        return (used, allowed) if isinstance(used, int) and isinstance(allowed, int) else None

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        return in_requests(segments, TEXTS, self._asked)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _asked(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        reply = self._ask([tagged(segment, escape, _tag) for segment in segments])
        if isinstance(reply, Failure):
            return [reply] * len(segments)
        entries = reply.value.get("translations") if isinstance(reply.value, dict) else None
        return read_each(entries, segments, "text", _from_xml)

    def _ask(self, texts: list[str]) -> Reply | Failure:
        body: dict[str, Any] = {
            "text": texts,
            "source_lang": self.source,
            "target_lang": self.target,
            "tag_handling": "xml",
            "tag_handling_version": TAGS,
            "ignore_tags": ["k"],
            "split_sentences": "0",
            "preserve_formatting": True,
            "formality": self.options.formality,
        }
        if self.options.model:
            body["model_type"] = self.options.model
        reply = self.service.send("POST", "/v2/translate", body)
        if isinstance(reply, Failure):
            return reply
        if reply.status == 400 and any(word in reply.message for word in LANGUAGE_ERRORS):
            raise UserError(
                f"DeepL does not translate {self.source} to {self.target} ({reply.message})",
                self.service.base_url,
                "take another variety or another engine",
            )
        return judged(reply, self.service.base_url, self.service.variable)

    def _check_quota(self) -> None:
        quota = self.quota()
        if quota is not None and quota[0] >= quota[1]:
            raise over_quota(f"{quota[0]} of {quota[1]} characters used", self.service.base_url)

    def _check_languages(self) -> None:
        sources, targets = self._languages("source"), self._languages("target")
        if self.source not in sources or self.target not in targets:
            failure = self._ask(["a"])
            if isinstance(failure, Failure):
                raise unreachable(failure, self.service.base_url)
        elif self.options.formality in ("more", "less") and not targets[self.target]:
            raise UserError(f"DeepL has no formality for {self.target}", "formality", "use prefer_more or prefer_less")

    def _languages(self, kind: str) -> dict[str, bool]:
        """Code of each language that is listed, and whether it has formality."""
        listed = self.service.ask_at_opening("GET", f"/v2/languages?type={kind}").value
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        return {str(entry.get("language", "")).upper(): bool(entry.get("supports_formality")) for entry in entries}


def _tag(number: int, text: str) -> str:
    return f'<k id="{number}">{escape(text)}</k>'


def _from_xml(text: str, segment: Segment) -> Segment | Failure:
    try:
        root = ElementTree.fromstring(f"<s>{text}</s>")
        return put_back(segment, list(_pieces(root)), passing=False)
    except (ElementTree.ParseError, ValueError):
        return Failure("the tags of the answer are broken", passing=False)


def _pieces(root: ElementTree.Element) -> Iterator[str | int]:
    """Its texts and the numbers of its tags; ``ValueError`` for elements that are not ours."""
    yield root.text or ""
    for child in root:
        if child.tag != "k" or len(child):
            raise ValueError
        yield int(child.get("id", ""))
        yield child.tail or ""
