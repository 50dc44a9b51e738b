"""One answer while it grows: ids come from a thread that generates, pieces of text go to whoever listens."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers.generation.streamers import BaseStreamer

BROKEN = "\ufffd"  # what a decoder writes for the bytes of a character that is not whole yet


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, and how.

    ids: all that was generated, the end token included. tokens_in: length of the prompt, features included.
    stopped: ``end`` of the answer, ``length`` by ``max_new_tokens`` or the model's limit, ``left`` by the listener.
    seconds: from the question to the last token, ``seconds_to_first_token`` to the first.
    """

    text: str
    ids: tuple[int, ...]
    tokens_in: int
    stopped: Literal["end", "length", "left"]
    seconds: float
    seconds_to_first_token: float


@dataclass(frozen=True, slots=True)
class Ending:
    """Where an answer ends and how its ids are read. ``texts`` end it too: stop strings that are no single token."""

    tokenizer: Tokenizer
    ids: frozenset[int]
    texts: tuple[str, ...]

    def cut(self, ids: Sequence[int]) -> list[int]:
        """The ids up to the first end token, that one included: what follows in a batch is padding."""
        end = next((index for index, token in enumerate(ids) if token in self.ids), len(ids))
        return list(ids[: end + 1])

    def reached(self, ids: Sequence[int]) -> bool:
        return bool(ids) and (ids[-1] in self.ids or self._found(self._decoded(ids)) is not None)

    def text(self, ids: Sequence[int]) -> str:
        """The whole answer."""
        text = self._decoded(ids)
        return text[: self._found(text)].strip()

    def settled(self, ids: Sequence[int]) -> str:
        """What of the answer no later token changes: no broken character, blank or beginning of a stop text at its
        end."""
        text = self._decoded(ids)
        text = text[: self._found(text)].rstrip(BROKEN)
        for stop in self.texts:
            begun = next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
            text = text[: len(text) - begun]
        return text.strip()

    def _decoded(self, ids: Sequence[int]) -> str:
        kept = ids[:-1] if ids and ids[-1] in self.ids else ids
        return str(self.tokenizer.decode(list(kept), skip_special_tokens=True))

    def _found(self, text: str) -> int | None:
        places = [text.find(stop) for stop in self.texts if stop in text]
        return min(places, default=None)


class Stopping:
    """transformers' criterion: a row ends with a stop text, all rows as soon as nobody listens any more."""

    def __init__(self, ending: Ending) -> None:
        self.left = Event()
        self._ending = ending

    def __call__(self, ids: torch.Tensor, scores: Any) -> torch.Tensor:
        """(rows, generated) ids -> (rows,) whether each has ended."""
        done = [self.left.is_set()] * len(ids)
        if self._ending.texts and not done[0]:
            done = [self._ending.reached(row) for row in ids.tolist()]
        return torch.tensor(done, device=ids.device)


Generate = Callable[[BaseStreamer, Stopping], list[int]]
"""Generates one answer's ids and returns them; the streamer gets each as soon as it is known, if that is possible."""


class Stream(Iterator[str]):
    """The pieces of one answer; joined, they are its text. ``close`` ends the generation; then ``answer`` is there."""

    def __init__(
        self,
        generate: Generate,
        ending: Ending,
        tokens_in: int,
        began: float,
        finished: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        self.answer: Answer | None = None
        self._generate, self._ending, self._finished = generate, ending, finished
        self._tokens_in, self._began = tokens_in, began
        self._ids: list[int] = []
        self._pieces = self._listen()

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Listen no longer; returns when the generation has ended."""
        self._pieces.close()

    def text(self) -> str:
        """Everything at once."""
        for _ in self:
            pass
        return self.result.text

    @property
    def result(self) -> Answer:
        """The finished answer; raises ``RuntimeError`` while it is not."""
        if self.answer is None:
            raise RuntimeError("the answer is not finished: iterate to its end, or close the stream")
        return self.answer

    def _listen(self) -> Generator[str, None, None]:
        job = _Job(self._generate, Stopping(self._ending))
        said, first = "", None
        whole = False
        job.start()
        try:
            while (token := job.tokens.get()) is not None:
                first = first or time.monotonic()
                self._ids.append(token)
                text = self._ending.settled(self._ids)
                if len(text) > len(said) and text.startswith(said):
                    piece, said = text[len(said) :], text
                    yield piece
            whole = True
        finally:
            job.stop()
            if not job.failures:
                self._finish(self._ids if whole else None, said, first)
        if job.failures:
            raise job.failures[0]
        if rest := self.result.text[len(said) :]:
            yield rest

    def _finish(self, ids: Sequence[int] | None, said: str, first: float | None) -> None:
        now = time.monotonic()
        stopped: Literal["end", "length", "left"] = "left"
        if ids is not None:
            stopped = "end" if self._ending.reached(ids) else "length"
        text = said if ids is None else self._ending.text(ids)
        seconds, to_first = now - self._began, (first or now) - self._began
        self.answer = Answer(text, tuple(self._ids), self._tokens_in, stopped, seconds, to_first)
        self._finished(self.answer)


class _Job(BaseStreamer):
    """The generation in its thread; its tokens, then None, come out of ``tokens``."""

    def __init__(self, generate: Generate, stopping: Stopping) -> None:
        self.tokens: SimpleQueue[int | None] = SimpleQueue()
        self.failures: list[BaseException] = []
        self._generate, self._stopping = generate, stopping
        self._given = 0
        self._thread = Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended, soon."""
        self._stopping.left.set()
        self._thread.join()

    def put(self, value: torch.Tensor) -> None:
        """transformers gives the prompt's ids first, of which embeddings have none, then (1,) new ones."""
        for token in value.flatten().tolist():
            self._given += 1
            self.tokens.put(token)

    def end(self) -> None:
        """transformers' word that nothing more comes; the thread's own end says so after a failure too."""

    def _work(self) -> None:
        try:
            for token in self._generate(self, self._stopping)[self._given :]:
                self.tokens.put(token)
        except BaseException as error:
            self.failures.append(error)
        finally:
            self.tokens.put(None)  # else whoever waits for a piece waits for ever
