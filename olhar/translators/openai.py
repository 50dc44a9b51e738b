"""A language model behind any endpoint that speaks OpenAI's ``/v1/chat/completions``: vLLM, Ollama, a cloud.

Several sentences a request, with numbers, in JSON; held to a schema where the server can do that. Kept spans are tags
such as ``<k1/>``, which the model moves and never writes itself.
Source: https://platform.openai.com/docs/api-reference/chat, and the pages of vLLM and Ollama on compatibility.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pydantic import Field, JsonValue, field_validator

from olhar.core.errors import UserError
from olhar.core.store import digest
from olhar.languages import language
from olhar.languages.en import TRANSLATION_FORMALITY, TRANSLATION_INSTRUCTION
from olhar.translators import About, Failure, Kept, Limits, Segment
from olhar.translators._codes import engine_code, parsed
from olhar.translators._http import Service, key_in, unreachable
from olhar.translators._http_marks import in_requests
from olhar.translators._http_options import ServiceOptions
from olhar.translators._http_replies import Reply, judged, one_line, over_quota
from olhar.translators._http_sentences import SCHEMA, collides, numbers_of, read_answer, request_text

CHARACTERS = 6_000  # of one request
PATH = "/chat/completions"
FORMALITY = {"formal": "formal", "informal": "informal"}  # of policies
OWN = frozenset({"model", "messages", "response_format", "stream", "n", "temperature", "seed"})
USED_UP = frozenset({"insufficient_quota", "billing_hard_limit_reached"})

# Measured on English instruction data and its translation; only for the estimate before a run.
SENTENCE = 70  # characters
TOKENS_IN, TOKENS_OUT = 0.22, 0.28  # per source character
TOKENS_AROUND = 12  # of the JSON around one sentence, either way
CHARACTERS_PER_TOKEN = 4.5  # of the instruction


class Options(ServiceOptions):
    """base_url: up to and including ``/v1``.
    key_variable: environment variable that holds the key; empty: none is sent.
    greedy: ask for temperature 0 and a seed; false for models that refuse both.
    sentences: in one request.
    price_input, price_output: of a million tokens.
    licence, non_commercial: of the model, for provenance.
    extra: further fields of every request (``{"reasoning_effort": "low"}``)."""

    base_url: str = Field(min_length=1)
    model: str = Field(min_length=1)
    key_variable: str = ""
    formality: Literal["default", "formal", "informal"] = "default"
    greedy: bool = True
    seed: int = 1
    sentences: int = Field(default=16, ge=1, le=100)
    timeout_seconds: float = Field(default=300.0, gt=0, le=3600)
    price_input: float = Field(default=0.0, ge=0)
    price_output: float = Field(default=0.0, ge=0)
    licence: str = "unknown: see the model's card"
    non_commercial: bool = False
    extra: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("extra")
    @classmethod
    def _ours_stay(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if OWN & extra.keys():
            raise ValueError(f"these have options of their own or are fixed: {', '.join(sorted(OWN & extra.keys()))}")
        return extra


def open(options: Options, source: str, target: str) -> "OpenAI":
    """The model for one direction; asks for the list of models, if only to see that server and key are right.

    Raises ``UserError`` as the contract says. Which languages a model knows, no server tells.
    """
    key = key_in(options.key_variable) if options.key_variable else None
    service = Service(options.base_url, key, options.timeout_seconds)
    instruction = TRANSLATION_INSTRUCTION.format(
        source=_name(source), target=_name(target), formality=TRANSLATION_FORMALITY[options.formality]
    )
    reply = service.send("GET", "/models")
    if isinstance(reply, Reply) and reply.status not in (404, 405, 501):  # some servers have no list
        reply = judged(reply, service.base_url, service.variable)
    if isinstance(reply, Failure):
        raise unreachable(reply, service.base_url)
    return OpenAI(options, service, instruction)


class OpenAI:
    """``spent``: money that the answers so far have cost, from the tokens the server counted."""

    keeps, deterministic = True, False

    def __init__(self, options: Options, service: Service, instruction: str) -> None:
        self.options, self.service, self.instruction = options, service, instruction
        self.tokens_in, self.tokens_out = 0, 0
        self._structured: bool | None = None  # whether the server takes a schema; None: not known yet
        self._counting = threading.Lock()
        self._broken: UserError | None = None
        self._pool = ThreadPoolExecutor(options.concurrent, thread_name_prefix="openai")

    @property
    def about(self) -> About:
        chosen = self.options
        matters = [chosen.base_url, self.instruction, chosen.greedy, chosen.seed, chosen.extra]
        return About("openai", f"{chosen.model} {digest(matters)}", chosen.licence, chosen.non_commercial)

    @property
    def limits(self) -> Limits:
        """One call holds all requests that go out at the same time; its price is an estimate from tokens."""
        chosen, together = self.options, self.options.concurrent
        instruction = len(self.instruction) / CHARACTERS_PER_TOKEN / chosen.sentences
        into = TOKENS_IN + (TOKENS_AROUND + instruction) / SENTENCE
        out = TOKENS_OUT + TOKENS_AROUND / SENTENCE
        price = into * chosen.price_input + out * chosen.price_output
        calls = chosen.calls_per_minute / together if chosen.calls_per_minute else None
        return Limits(chosen.sentences * together, CHARACTERS * together, calls, 1, price, chosen.currency)

    @property
    def spent(self) -> float:
        chosen = self.options
        return (self.tokens_in * chosen.price_input + self.tokens_out * chosen.price_output) / 1e6

    def translate(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        return in_requests(segments, max(1, len(segments)), self._together)

    def close(self) -> None:
        """Ends at once what still runs, as after an interrupt."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.service.cut()
        self._pool.shutdown()

    def _together(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        """All requests at the same time. What one of them finds beyond mending is raised when the others are done:
        at once if nothing else was translated, else with the next call, so that paid work is not lost."""
        if self._broken:
            raise self._broken
        running = [(len(chunk), self._pool.submit(self._asked, chunk)) for chunk in _chunks(segments, self.options)]
        results: list[Segment | Failure] = []
        for size, future in running:
            try:
                results += future.result()
            except UserError as error:
                self._broken = error
                results += [Failure(one_line(error.what), passing=True)] * size
        if self._broken and all(isinstance(result, Failure) for result in results):
            raise self._broken
        return results

    def _asked(self, segments: Sequence[Segment]) -> list[Segment | Failure]:
        """One request."""
        if any(map(collides, segments)):
            return [Failure("the text holds tags like ours")] * len(segments)
        numbers = numbers_of(segments)
        reply = self._complete(f"{self.instruction}\n\n{request_text(numbers, segments)}")
        if isinstance(reply, Failure):
            return [reply] * len(segments)
        self._count(reply.value)
        content = _content(reply.value)
        if isinstance(content, Failure):
            return [content] * len(segments)
        return read_answer(content, numbers, segments)

    def _complete(self, prompt: str) -> Reply | Failure:
        """One answer; held to the schema unless the server has refused one that it answers to without."""
        schema = self._structured is not False
        reply = self.service.send("POST", PATH, self._body(prompt, schema))
        if isinstance(reply, Reply) and reply.status in (400, 422) and self._structured is None:
            schema = False
            reply = self.service.send("POST", PATH, self._body(prompt, schema))
        if isinstance(reply, Failure):
            return reply
        if reply.status < 300:
            self._structured = schema
        return self._judged(reply)

    def _body(self, prompt: str, schema: bool) -> dict[str, Any]:
        chosen = self.options
        body: dict[str, Any] = {"model": chosen.model, "messages": [{"role": "user", "content": prompt}]}
        if chosen.greedy:
            body |= {"temperature": 0, "seed": chosen.seed}
        if schema:
            body["response_format"] = SCHEMA
        return body | chosen.extra

    def _judged(self, reply: Reply) -> Reply | Failure:
        if reply.status == 429 and reply.codes & USED_UP:
            raise over_quota(f"HTTP 429: {reply.message}", self.service.base_url)
        named = [name for name in ("temperature", "seed", *self.options.extra) if name in reply.codes]
        if reply.status in (400, 422) and named:
            raise UserError(
                f"the server refuses {', '.join(named)}: {reply.message}",
                self.service.base_url,
                "set greedy to false, or mend the option extra",
            )
        return judged(reply, self.service.base_url, self.service.variable)

    def _count(self, value: Any) -> None:
        usage = value.get("usage") if isinstance(value, dict) else None
        if isinstance(usage, dict):
            tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
            with self._counting:
                self.tokens_in += tokens[0] if isinstance(tokens[0], int) else 0
                self.tokens_out += tokens[1] if isinstance(tokens[1], int) else 0


def _content(value: Any) -> str | Failure:
    """The text of the first choice."""
    try:
        choice = value["choices"][0]
        content, reason = choice["message"]["content"], choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Failure("the answer holds no choice", passing=True)
    if isinstance(content, str):
        return content
    return Failure(f"the model said nothing ({one_line(str(reason))})", passing=True)


def _chunks(segments: Sequence[Segment], options: Options) -> Iterator[list[Segment]]:
    """What goes into one request each; a segment that cannot share one, alone."""
    chunk, characters = list[Segment](), 0
    for segment in segments:
        length = sum(len(part.text if isinstance(part, Kept) else part) for part in segment)
        full = len(chunk) == options.sentences or characters + length > CHARACTERS
        if chunk and (full or collides(segment) or collides(chunk[-1])):
            yield chunk
            chunk, characters = [], 0
        chunk.append(segment)
        characters += length
    if chunk:
        yield chunk


def _name(tag: str) -> str:
    """What the instruction calls a language."""
    code, variety = parsed(tag)
    return f"{language(code).name} ({tag})" if variety else engine_code("openai", tag)
