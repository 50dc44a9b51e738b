"""A translation service on this machine that misbehaves on request, and remembers what it was asked.

Every request takes the next act of the script; when there is none left, the service behaves. Requests that only look
around (``GET``) take theirs from ``opening``. It ends with its ``with`` block, and no act outlives that.
"""

import json
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

LIFETIME = 20.0  # seconds after which any act gives up by itself

Entries = list[dict[str, Any] | None]


@dataclass(frozen=True)
class Asked:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Dialect:
    """How one service speaks when it behaves.

    entries: the translations of a request, one object each, whose text is called ``name``.
    wrapped: the whole answer around them.
    pages: what ``GET`` of a path answers.
    """

    name: str
    entries: Callable[[Any], Entries]
    wrapped: Callable[[Entries], Any]
    pages: dict[str, Any] = field(default_factory=dict)


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, handler: BaseHTTPRequestHandler, asked: Asked, service: "Misbehaving") -> None:
        self.handler, self.asked, self.service = handler, asked, service

    def send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.handler.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.handler.send_header(name, value)
        self.handler.send_header("Content-Length", str(len(content) if length is None else length))
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def well(self, change: Callable[[Entries], Entries] = lambda entries: entries) -> bytes:
        """The proper answer, its entries changed by ``change``."""
        dialect = self.service.dialect
        if self.asked.method == "GET":
            return json.dumps(dialect.pages[self.asked.path]).encode()
        return json.dumps(dialect.wrapped(change(dialect.entries(self.asked.json)))).encode()

    def wait(self) -> None:
        self.service.ended.wait(LIFETIME)


Act = Callable[[Exchange], None]


def behave(exchange: Exchange) -> None:
    known = exchange.asked.method != "GET" or exchange.asked.path in exchange.service.dialect.pages
    exchange.send(200, exchange.well()) if known else exchange.send(404, b"{}")


def status(code: int, value: Any = None, **headers: str) -> Act:
    """An error; ``retry_after="2"`` becomes the header Retry-After."""
    named = {name.replace("_", "-").title(): text for name, text in headers.items()}
    return lambda exchange: exchange.send(code, json.dumps(value or {}).encode(), named)


def text(content: bytes, code: int = 200, kind: str = "application/json") -> Act:
    return lambda exchange: exchange.send(code, content, {"Content-Type": kind})


def error_page(code: int = 502) -> Act:
    return text(b"<html><body><h1>Bad Gateway</h1>\x1b[31m</body></html>", code, "text/html")


def hang(exchange: Exchange) -> None:
    exchange.wait()


def drip(exchange: Exchange) -> None:
    """A proper start, then a byte now and then, for ever."""
    exchange.send(200, b"{", length=1 << 20)
    _drip(exchange)


def drip_headers(exchange: Exchange) -> None:
    exchange.handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(exchange)


def _drip(exchange: Exchange) -> None:
    while not exchange.service.ended.wait(0.05):
        try:
            exchange.handler.wfile.write(b" ")
        except OSError:
            return


def broken_off(exchange: Exchange) -> None:
    """Half of the bytes that were promised."""
    content = exchange.well()
    exchange.send(200, content[: len(content) // 2], length=len(content))


def half_a_chunk(exchange: Exchange) -> None:
    exchange.handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}")


def half_json(exchange: Exchange) -> None:
    """Complete as a reply, cut as JSON."""
    content = exchange.well()
    exchange.send(200, content[: len(content) // 2])


def reset(exchange: Exchange) -> None:
    """Throws the connection away (RST)."""
    connection = exchange.handler.connection
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.handler.rfile.close()
    connection.close()


def changed(change: Callable[[Entries], Entries]) -> Act:
    """The proper answer with other entries: shuffled, shortened, with None among them."""
    return lambda exchange: exchange.send(200, exchange.well(change))


def retold(change: Callable[[str], str]) -> Act:
    """The proper answer with every text changed."""

    def act(exchange: Exchange) -> None:
        name = exchange.service.dialect.name
        exchange.send(
            200, exchange.well(lambda entries: [entry and entry | {name: change(entry[name])} for entry in entries])
        )

    return act


def without_tags(spelt: str) -> str:
    return re.sub(r"<[^>]*>", "", spelt)


def shouted(spelt: str) -> str:
    """What the service's "translation" is: upper case, tags and entities left alone."""
    return re.sub(r"(<[^>]*>|&#?\w+;)|([^<&]+)", lambda found: found[1] or found[2].upper(), spelt)


class Misbehaving:
    """``with Misbehaving(DEEPL, [status(429, retry_after="2"), hang]) as service: ... service.url``"""

    def __init__(
        self,
        dialect: Dialect,
        script: Iterable[Act] = (),
        opening: Iterable[Act] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.dialect, self.script, self.opening = dialect, deque(script), deque(opening)
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def work(self) -> list[Asked]:
        """The requests that were not mere looking around."""
        return [asked for asked in self.asked if asked.method != "GET"]

    def __enter__(self) -> "Misbehaving":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _next(self, asked: Asked) -> Act:
        with self._lock:
            self.asked.append(asked)
            acts = self.opening if asked.method == "GET" else self.script
            return acts.popleft() if acts else behave

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = LIFETIME

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                self.close_connection = True
                service._next(asked)(Exchange(self, asked, service))

            do_GET = do_POST = answer

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the other side has gone
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Silent."""

        return Handler
