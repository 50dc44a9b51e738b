"""What the network does to a request: always a value or a ``UserError``, always in time, never with the key in it."""

import shutil
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olhar.core.errors import UserError
from olhar.translators import Failure, Kept, Segment
from olhar.translators._http import Key, Service, key_in
from olhar.translators._http_marks import in_requests, put_back, read_each, tagged
from olhar.translators._http_replies import Reply, judged, one_line, read_reply
from tests.translators import misbehaving as bad

SECRET = "s3cret-Key_0123456789"
KEY = Key("SOME_KEY", SECRET)
ECHO = bad.Dialect("text", lambda body: [{"text": body}], lambda entries: {"got": entries}, {"/there": {"a": 1}})


def one(act: bad.Act, seconds: float = 5.0) -> Reply | Failure:
    """What comes of one request that is answered by ``act``."""
    with bad.Misbehaving(ECHO, [act]) as service:
        return Service(service.url, KEY, seconds).ask("POST", "/do", "hello")


def test_a_request_carries_the_key_in_one_header_and_nothing_else_of_it() -> None:
    with bad.Misbehaving(ECHO) as service:
        reply = Service(service.url, KEY, 5.0).ask("POST", "/do?x=1", {"q": "olá ✓"})
    assert isinstance(reply, Reply) and reply.value == {"got": [{"text": {"q": "olá ✓"}}]}
    (asked,) = service.asked
    assert asked.path == "/do?x=1" and asked.json == {"q": "olá ✓"}
    assert [name for name, value in asked.headers.items() if SECRET in value] == ["authorization"]
    assert asked.headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (bad.reset, "connection failed"),
        (bad.broken_off, "broke off"),
        (bad.half_a_chunk, "connection failed"),
        (bad.half_json, "not JSON"),
        (bad.error_page(200), "not JSON"),
        (bad.error_page(502), "HTTP 502"),
        (bad.text(b"[" * 100_000), "not JSON"),
        (bad.text(b'{"a": "\xff"}'), "not JSON"),
        (bad.text(b""), "not JSON"),
        (bad.status(500, {"error": {"message": "oops"}}), "HTTP 500: oops"),
        (bad.status(529), "HTTP 529"),
        (bad.status(408), "HTTP 408"),
    ],
)
def test_what_may_pass_is_said_to_pass(act: bad.Act, reason: str) -> None:
    failure = one(act)
    assert isinstance(failure, Failure) and failure.passing and reason in failure.reason


@pytest.mark.parametrize("code", [400, 413, 414, 422])
def test_what_cannot_pass_is_not_said_to(code: int) -> None:
    failure = one(bad.status(code, {"message": "text too long"}, retry_after="5"))
    assert failure == Failure(f"HTTP {code}: text too long")


@pytest.mark.parametrize("act", [bad.hang, bad.drip, bad.drip_headers])
def test_a_service_that_hangs_or_drips_is_left_in_time(act: bad.Act) -> None:
    began = time.monotonic()
    failure = one(act, seconds=0.5)
    assert time.monotonic() - began < 2.0
    assert failure == Failure("no whole reply within 0.5 s", passing=True)


def test_nobody_there_is_a_failure_that_may_pass_and_an_error_at_opening() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        service = Service(f"http://127.0.0.1:{taken.getsockname()[1]}", KEY, 2.0)
        failure = service.ask("GET", "/there")
        assert isinstance(failure, Failure) and failure.passing
        with pytest.raises(UserError, match="does not answer"):
            service.ask_at_opening("GET", "/there")


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("asked", "wait"), [("7", 7.0), ("0", 0.0), ("1.5", 1.5), ("soon", None), ("", None), ("nan", None)]
)
def test_seconds_to_wait(code: int, asked: str, wait: float | None) -> None:
    failure = one(bad.status(code, retry_after=asked))
    assert isinstance(failure, Failure) and failure.passing and failure.wait == wait


def test_a_date_to_wait_for_is_read_against_the_clock_of_the_service() -> None:
    failure = one(bad.status(429, retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)))
    assert isinstance(failure, Failure) and failure.wait is not None and 37 <= failure.wait <= 41
    headers = Message()
    headers["Date"], headers["Retry-After"] = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:29:30 GMT"
    assert read_reply(429, headers, b"", "").wait == 90.0
    headers.replace_header("Retry-After", "Wed, 21 Oct 2015 07:00:00 GMT")
    assert read_reply(429, headers, b"", "").wait == 0.0


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_refused(code: int) -> None:
    with bad.Misbehaving(ECHO) as elsewhere, pytest.raises(UserError, match="elsewhere"):
        one(bad.status(code, location=elsewhere.url + "/steal"))
    assert elsewhere.asked == []


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_key_names_its_variable_and_never_itself(code: int) -> None:
    with pytest.raises(UserError, match="SOME_KEY") as caught:
        one(bad.status(code, {"error": {"message": f"bad key {SECRET}"}}))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("code", [400, 429, 500])
def test_a_service_that_quotes_the_key_is_not_quoted(code: int) -> None:
    failure = one(bad.status(code, {"message": "x" * 190 + SECRET}))
    assert isinstance(failure, Failure) and SECRET[:4] not in failure.reason and len(failure.reason) < 250


@pytest.mark.parametrize("code", [402, 456])
def test_over_quota(code: int) -> None:
    with pytest.raises(UserError, match="over quota"):
        one(bad.status(code))


def test_a_service_without_key_says_how_to_give_one() -> None:
    with bad.Misbehaving(ECHO, [bad.status(401)]) as service, pytest.raises(UserError, match="key_variable"):
        Service(service.url, None, 5.0).ask("POST", "/do", 1)
    assert "authorization" not in service.asked[0].headers


def test_nothing_prints_the_key() -> None:
    assert SECRET not in repr(KEY) + repr(Service("https://service.example", KEY, 1.0))


@pytest.mark.parametrize("value", ["", " " + SECRET, SECRET + "\n", "a\x00b", "clé"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("olhar.translators._http.os.environ", {"SOME_KEY": value})
    with pytest.raises(UserError, match="SOME_KEY") as caught:
        key_in("SOME_KEY")
    assert not value or value.strip() not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://me:pass@service.example/v1", "user or password"),
        ("http://service.example/v1", "unencrypted"),
        ("http://8.8.8.8/v1", "unencrypted"),
        ("ftp://service.example", "no address"),
        ("service.example/v1", "no address"),
        ("https://service.example/v1?key=1", "no address"),
        ("https://service.example:port", "no address"),
        ("https://[1", "no address"),
        ("", "no address"),
    ],
)
def test_addresses_that_are_refused(url: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        Service(url, KEY, 1.0)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "10.1.2.3", "node7", "gpu.local"])
def test_a_near_service_may_be_without_encryption(host: str) -> None:
    Service(f"http://{host}:8000/v1", KEY, 1.0)
    Service("http://service.example/v1", None, 1.0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl to make a certificate")
def test_certificates_are_verified(tmp_path: Path) -> None:
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "own")]
    subprocess.run(["openssl", *command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own", tmp_path / "key")
    with bad.Misbehaving(ECHO, [bad.drip], tls=context) as service:
        with pytest.raises(UserError, match="not trusted"):
            Service(service.url, KEY, 5.0).ask("GET", "/there")
        assert service.asked == []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(tmp_path / "own"))
            patch.setenv("no_proxy", "127.0.0.1")
            reply = Service(service.url, KEY, 5.0).ask("GET", "/there")
            assert isinstance(reply, Reply) and reply.value == {"a": 1}
            slow = Service(service.url, KEY, 0.5).ask("POST", "/do", 1)
            assert slow == Failure("no whole reply within 0.5 s", passing=True)


def test_a_proxy_is_asked_for_a_tunnel_and_never_sees_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://me:word@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        failure = Service("https://service.example/v1", KEY, 0.5).ask("GET", "/there")
        heard = proxy.accept()[0].recv(4096).decode()
    assert isinstance(failure, Failure) and failure.passing
    assert (
        heard.startswith("CONNECT service.example:443 HTTP/1.") and "Proxy-Authorization: Basic bWU6d29yZA==" in heard
    )
    assert SECRET not in heard


def test_an_unknown_address_of_a_service_is_an_error() -> None:
    with pytest.raises(UserError, match="base_url"):
        one(bad.status(404))


def test_words_of_a_service_are_short_and_harmless() -> None:
    assert one_line("a\x1b[31m\n b\t" + "c" * 500) == "a [31m b " + "c" * 188 + "..."
    reply = read_reply(400, Message(), b'{"detail": [{"msg": "wrong", "type": "missing"}]}', "")
    assert (reply.message, reply.codes) == ("wrong", {"missing"})
    assert judged(reply, "there", "") == Failure("HTTP 400: wrong")


# --- kept spans

KEPT: Segment = ("There are ", Kept("3"), " dogs and ", Kept("3"), ".")
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
segments = st.lists(words | words.map(Kept), min_size=1, max_size=8).map(lambda parts: ("A", *parts))


@given(segments)
def test_what_comes_back_unharmed_is_put_back(segment: Segment) -> None:
    count, pieces = 0, list[str | int]()
    for part in segment:
        count += isinstance(part, Kept)
        pieces.append(count if isinstance(part, Kept) else part)
    back = put_back(segment, pieces, passing=True)
    assert not isinstance(back, Failure)
    assert tagged(back, str, lambda _, text: f"\0{text}\0") == tagged(segment, str, lambda _, text: f"\0{text}\0")
    assert [part for part in back if isinstance(part, Kept)] == [part for part in segment if isinstance(part, Kept)]


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (["Há ", 1, " cães."], "lost"),
        (["Há ", 1, " cães e ", 1, 2], "twice"),
        (["Há ", 1, 2, 3], "not sent"),
        (["Há ", 0, 1, 2], "not sent"),
        ([1, 2], "no text"),
        ([" ", 1, 2], "no text"),
        (["a\n", 1, 2], "line end"),
    ],
)
def test_what_comes_back_harmed_is_a_failure(pieces: list[str | int], reason: str) -> None:
    failure = put_back(KEPT, pieces, passing=False)
    assert isinstance(failure, Failure) and reason in failure.reason and not failure.passing


def test_order_may_change_and_neighbours_grow_together() -> None:
    assert put_back(KEPT, ["", "a", "b", 2, 1, "", "c"], True) == ("ab", Kept("3"), Kept("3"), "c")


def test_results_keep_their_places_around_what_cannot_be_sent() -> None:
    sent: list[int] = []

    def ask(some: object) -> list[Segment | Failure]:
        assert isinstance(some, list)
        sent.append(len(some))
        return list(some)

    many: list[Segment] = [("a",), ("b\x00",), ("c",), ("d\ud800",), ("e",), ("f", Kept("\x0b"))]
    results = in_requests(many, 2, ask)
    assert sent == [2, 1] and [isinstance(result, Failure) for result in results] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert [result for result in results if not isinstance(result, Failure)] == [("a",), ("c",), ("e",)]
    assert in_requests([], 2, ask) == []


def test_a_list_of_another_length_fails_for_all_and_a_hole_for_one() -> None:
    two: list[Segment] = [("a",), ("b",)]
    for entries in ([{"t": "x"}], [{"t": "x"}] * 3, None, "xy", []):
        assert all(isinstance(result, Failure) for result in read_each(entries, two, "t", lambda text, _: (text,)))
    holes: list[object] = [None, {"t": None}, {"t": 3}, {}, "x"]
    for hole in holes:
        first, second = read_each([hole, {"t": "x"}], two, "t", lambda text, _: (text,))
        assert isinstance(first, Failure) and first.passing and second == ("x",)
