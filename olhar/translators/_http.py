"""HTTP for the engines that are services: one request, one reply, always within the time allowed.

Nothing is tried again here, no redirect is followed, certificates are verified, and the key stands in one header of
the request and nowhere else: not in an address, a reason or an error. ``https_proxy`` and ``no_proxy`` are heeded.
"""

import base64
import http.client
import ipaddress
import json
import os
import socket
import ssl
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from olhar import __version__
from olhar.core.errors import UserError
from olhar.translators import Failure
from olhar.translators._http_replies import Reply, judged, one_line, read_reply

CONNECT_SECONDS = 10.0
LARGEST = 1 << 25  # bytes of a reply


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and the header that carries it. ``variable``: the environment variable it is from."""

    variable: str
    secret: str = field(repr=False)
    header: str = "Authorization"
    scheme: str = "Bearer "


def key_in(variable: str, header: str = "Authorization", scheme: str = "Bearer ") -> Key:
    """The key in an environment variable; ``UserError`` where there is none or it cannot be one."""
    secret = os.environ.get(variable, "")
    if not secret:
        raise UserError(f"no key in the environment variable {variable}", "environment", f"export {variable}=...")
    if not all("!" <= char <= "~" for char in secret):
        raise UserError(
            f"the key in {variable} holds a blank, a line end or a character outside ASCII",
            "environment",
            f"set {variable} to the key alone",
        )
    return Key(variable, secret, header, scheme)


@dataclass(frozen=True)
class Service:
    """Where a service is, the key it wants, and how many seconds one reply may take, from connecting to its end."""

    base_url: str
    key: Key | None
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    running: "set[_Alarm]" = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ``UserError`` for an address that is none, or over which the key would travel for all to read."""
        try:
            url, port = urlsplit(self.base_url), urlsplit(self.base_url).port
        except ValueError:
            url, port = SplitResult("", "", "", "", ""), None
        if url.username or url.password:
            raise UserError("base_url holds a user or password", "base_url", "put the key into an environment variable")
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or port == 0:
            raise UserError("base_url is no address", repr(self.base_url), "write it as https://host/path")
        if self.key and url.scheme == "http" and not _near(url.hostname):
            raise UserError(
                "the key would travel unencrypted", self.base_url, "use https://, or a tunnel that ends at localhost"
            )

    @property
    def variable(self) -> str:
        return self.key.variable if self.key else ""

    def ask(self, method: str, path: str, body: Any = None) -> Reply | Failure:
        """The answer to one request, or why there is none; ``UserError`` as of ``judged``."""
        reply = self.send(method, path, body)
        return reply if isinstance(reply, Failure) else judged(reply, self.base_url, self.variable)

    def ask_at_opening(self, method: str, path: str, body: Any = None) -> Reply:
        """The same before any work, when every failure is a ``UserError``."""
        reply = self.ask(method, path, body)
        if isinstance(reply, Failure):
            raise unreachable(reply, self.base_url)
        return reply

    def send(self, method: str, path: str, body: Any = None) -> Reply | Failure:
        """One request and its reply, whatever its status; a ``Failure`` where none came whole and in time.

        Args:
            path: appended to ``base_url``.
            body: what is sent as JSON; None for nothing.

        Raises:
            UserError: a certificate that cannot be verified.
        """
        url = urlsplit(self.base_url.rstrip("/") + path)
        target = url.path + (f"?{url.query}" if url.query else "")
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        connection = _connection(url)
        try:
            with _Alarm(connection, self.seconds, self.running) as alarm:
                connection.request(method, target, content, self._headers(content is not None))
                response = connection.getresponse()
                received = response.read(LARGEST + 1)
        except ssl.SSLCertVerificationError as error:
            raise UserError(
                f"the certificate of the service is not trusted: {error.verify_message}",
                self.base_url,
                "check the address; if your network has its own authority, point SSL_CERT_FILE to its certificates",
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Failure(self._broken(error), passing=True)
        finally:
            connection.close()
        if alarm.rang:
            return Failure(f"no whole reply within {self.seconds:g} s", passing=True)
        if len(received) > LARGEST:
            return Failure("the reply is too long", passing=False)
        if response.length:
            return Failure("the reply broke off", passing=True)
        return read_reply(response.status, response.headers, received, self.key.secret if self.key else "")

    def cut(self) -> None:
        """End what other threads are waiting for, as if its time were over."""
        for alarm in tuple(self.running):
            alarm.ring()

    def _headers(self, sends: bool) -> dict[str, str]:
        headers = {"User-Agent": f"olhar/{__version__}", "Accept": "application/json", "Connection": "close"}
        if sends:
            headers["Content-Type"] = "application/json; charset=utf-8"
        if self.key:
            headers[self.key.header] = self.key.scheme + self.key.secret
        return headers | self.headers

    def _broken(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no whole reply within {self.seconds:g} s"
        return f"the connection failed: {one_line(getattr(error, 'strerror', None) or type(error).__name__)}"


def unreachable(failure: Failure, where: str) -> UserError:
    return UserError(f"the service does not answer: {failure.reason}", where, "check the address and the network")


class _Alarm:
    """Connects, and cuts the connection when the time is over.

    A time limit of a socket starts anew with each byte; a reply that drips would never end.
    """

    def __init__(self, connection: http.client.HTTPConnection, seconds: float, running: "set[_Alarm]") -> None:
        self.connection, self.seconds, self.running, self.rang = connection, seconds, running, False

    def __enter__(self) -> "_Alarm":
        self.connection.timeout = min(CONNECT_SECONDS, self.seconds)
        self.connection.connect()
        self.socket = self.connection.sock
        self.socket.settimeout(self.seconds)
        self.timer = threading.Timer(self.seconds, self.ring)
        self.timer.daemon = True
        self.timer.start()
        self.running.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.timer.cancel()
        self.running.discard(self)
        if self.rang and isinstance(error, Exception):
            raise TimeoutError from error

    def ring(self) -> None:
        self.rang = True
        with suppress(OSError):  # of the plain socket: that of SSL would change state under the reader's feet
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


def _connection(url: SplitResult) -> http.client.HTTPConnection:
    """Not connected yet; through the environment's proxy if it names one for this host."""
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    named = urllib.request.getproxies().get("https") if url.scheme == "https" else None
    proxy = urlsplit(named if "://" in named else f"http://{named}") if named else None
    if proxy is None or not proxy.hostname or urllib.request.proxy_bypass(host):
        return _opened_to(url.scheme, host, port)
    connection = _opened_to(url.scheme, proxy.hostname, proxy.port or 8080)
    login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}"
    headers = {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if proxy.username else {}
    connection.set_tunnel(host, port, headers)
    return connection


def _opened_to(scheme: str, host: str, port: int) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port)


def _near(host: str) -> bool:
    """Whether a host is this machine or in the same private network: a cluster's node, an address of a laboratory."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
