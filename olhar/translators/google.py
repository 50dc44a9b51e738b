"""Google Cloud Translation over REST: kept spans as HTML elements of the class ``notranslate``.

Version 2 takes an API key. Version 3 is used where ``project`` is named; it takes an access token instead
(``gcloud auth print-access-token``), which is good for an hour. Both are read from an environment variable.
Source: https://cloud.google.com/translate/docs (texts, quotas, errors).
"""

from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from typing import Any

from pydantic import Field

from olhar.core.store import digest
from olhar.translators import About, Failure, Limits, Segment
from olhar.translators._http import Key, Service, key_in, unreachable
from olhar.translators._http_codes import not_listed, service_code
from olhar.translators._http_marks import in_requests, put_back, read_each, tagged
from olhar.translators._http_options import PricedOptions
from olhar.translators._http_replies import Reply, judged, over_quota, refused_key

TEXTS = 128  # of one request of version 2
CHARACTERS = 5_000  # of one request, as the service recommends
BAD_KEY = frozenset({"API_KEY_INVALID", "keyInvalid", "keyExpired"})
TOO_FAST = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})
USED_UP = frozenset({"dailyLimitExceeded", "quotaExceeded"})


class Options(PricedOptions):
    """project, location: of version 3; without a project, version 2.
    model: of version 3, its resource name; empty: the general one."""

    key_variable: str = Field(default="GOOGLE_TRANSLATE_KEY", min_length=1)
    base_url: str = "https://translation.googleapis.com"
    project: str = Field(default="", pattern=r"^[A-Za-z0-9:.\-]*$")
    location: str = Field(default="global", pattern=r"^[a-z0-9\-]+$")
    model: str = ""


def open(options: Options, source: str, target: str) -> "Google":
    """Google for one direction; asks for its languages, which costs nothing. Raises as the contract says."""
    key, headers = key_in(options.key_variable, "X-Goog-Api-Key", ""), {}
    if options.project:
        key, headers = Key(key.variable, key.secret), {"X-Goog-User-Project": options.project}
    return Google(options, Service(options.base_url, key, options.timeout_seconds, headers), source, target)


class Google:
    keeps, deterministic = True, False

    def __init__(self, options: Options, service: Service, source: str, target: str) -> None:
        self.options, self.service = options, service
        self.source, self.target = service_code("google", source), service_code("google", target)
        self._check_languages()

    @property
    def about(self) -> About:
        version = f"v3 {digest(self.options.model)}" if self.options.project else "v2"
        return About("google", f"{version} html", "service under Google Cloud's terms: https://cloud.google.com/terms")

    @property
    def limits(self) -> Limits:
        return self.options.limits(TEXTS, CHARACTERS)

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        return in_requests(segments, TEXTS, self._asked)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _asked(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        path, body = self._request([tagged(segment, _escaped, _tag) for segment in segments])
        reply = self._ask("POST", path, body)
        if isinstance(reply, Failure):
            return [reply] * len(segments)
        return read_each(_inside(reply).get("translations"), segments, "translatedText", _from_html)

    def _request(self, texts: list[str]) -> tuple[str, dict[str, Any]]:
        """Path and body that ask for translations."""
        if not self.options.project:
            body = {"q": texts, "source": self.source, "target": self.target, "format": "html"}
            return "/language/translate/v2", body
        body = {"contents": texts, "mimeType": "text/html"}
        body |= {"sourceLanguageCode": self.source, "targetLanguageCode": self.target}
        if self.options.model:
            body["model"] = self.options.model
        return f"{self._place}:translateText", body

    def _ask(self, method: str, path: str, body: Any = None) -> Reply | Failure:
        """As ``Service.ask``, with the statuses by which this service says otherwise: 403 also for its limits, 400
        also for a key."""
        reply = self.service.send(method, path, body)
        if isinstance(reply, Failure):
            return reply
        said = f"HTTP {reply.status}: {reply.message}"
        if reply.status in (403, 429):
            if reply.codes & USED_UP or "Daily Limit" in reply.message:
                raise over_quota(said, self.service.base_url)
            if reply.codes & TOO_FAST or "Rate Limit" in reply.message:
                return Failure(said, passing=True, wait=reply.wait)
        if reply.status == 400 and (reply.codes & BAD_KEY or "API key not valid" in reply.message):
            raise refused_key(reply, self.service.base_url, self.service.variable)
        return judged(reply, self.service.base_url, self.service.variable)

    def _check_languages(self) -> None:
        path = f"{self._place}/supportedLanguages" if self.options.project else "/language/translate/v2/languages"
        reply = self._ask("GET", path)
        if isinstance(reply, Failure):
            raise unreachable(reply, self.service.base_url)
        entries = [entry for entry in _inside(reply).get("languages") or [] if isinstance(entry, dict)]
        for code, end in ((self.source, "supportSource"), (self.target, "supportTarget")):
            can = [str(entry.get("languageCode") or entry.get("language")) for entry in entries if entry.get(end, True)]
            if code not in can:
                raise not_listed("Google", code, can)

    @property
    def _place(self) -> str:
        return f"/v3/projects/{self.options.project}/locations/{self.options.location}"


def _inside(reply: Reply) -> dict[str, Any]:
    """The object that holds the lists: version 2 wraps it in ``data``."""
    value = reply.value if isinstance(reply.value, dict) else {}
    data = value.get("data", value)
    return data if isinstance(data, dict) else {}


def _escaped(text: str) -> str:
    return escape(text, quote=False)


def _tag(number: int, text: str) -> str:
    return f'<span class="notranslate" id="k{number}">{_escaped(text)}</span>'


def _from_html(text: str, segment: Segment) -> Segment | Failure:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    if reader.broken or reader.inside:
        return Failure("the tags of the answer are broken", passing=False)
    return put_back(segment, reader.pieces, passing=False)


class _Reader(HTMLParser):
    """Texts and numbers of our spans; what a span holds is not read, since its own text returns."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str | int] = []
        self.inside, self.broken = False, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        number = (dict(attrs).get("id") or "").removeprefix("k")
        if tag != "span" or self.inside or not number.isdecimal():
            self.broken = True
        else:
            self.inside = True
            self.pieces.append(int(number))

    def handle_endtag(self, tag: str) -> None:
        self.broken = self.broken or tag != "span" or not self.inside
        self.inside = False

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        self.broken = True

    def handle_decl(self, decl: str) -> None:
        self.broken = True

    def handle_pi(self, data: str) -> None:
        self.broken = True
