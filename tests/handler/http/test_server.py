"""Limits on connections: sockets connect to `python -m handler serve` in another process."""

import base64
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import pytest

from tests.handler.fuzz import resident_mb
from tests.handler.images import png
from tests.handler.load import serving

TIMEOUT_S = 1
PATIENCE_S = 20
"""Time limit in seconds, long enough for a busy machine."""

HEAD = b"POST /v1/predictions HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(HEADER_TIMEOUT_S=str(TIMEOUT_S), MIN_BYTES_PER_S="1000000") as (address, _):
        yield address


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def rest(connection: socket.socket) -> bytes:
    """Read until the server closes the connection; otherwise there is a `TimeoutError`."""
    received = b""
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionResetError:  # the server closed the connection while more data was sent
        pass
    return received


def said(url: str, *pieces: bytes) -> bytes:
    """Send data as long as the server accepts it, and wait until the server closes the connection."""
    with connect(url) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return rest(connection)


def assert_problem(answer: bytes, status: int, slug: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in head.lower()
    assert json.loads(body)["type"].endswith(slug)


def assert_well(url: str) -> None:
    assert httpx2.get(f"{url}/healthz", timeout=PATIENCE_S).status_code == 200


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\nx: ", b"GET ", CHUNKED[:-2]])
def test_headers_that_do_not_end_are_given_up(url: str, begin: bytes) -> None:
    assert_problem(said(url, begin), 408, "slow-request")


def test_a_client_that_sends_nothing_is_told_nothing(url: str) -> None:
    assert said(url) == b""
    assert said(url, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").count(b"HTTP/1.1") == 1


def test_the_rest_of_a_refused_body_is_not_waited_for(url: str) -> None:
    answer = said(url, b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404 ")


def test_a_body_that_is_too_slow_is_given_up(url: str) -> None:
    assert_problem(said(url, HEAD + b"content-length: 1000\r\n\r\nabc"), 408, "slow-request")


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        HEAD + b"transfer-encoding: gzip\r\n\r\nabc",
        HEAD + b"a: b\r\n" * 300 + b"\r\n",
        HEAD + b"a: " + b"b" * 1_000_000,
        b"GET /" + b"a" * 1_000_000,
        b"\r\n" * 1_000_000,
        CHUNKED + b"1;" + b"a" * 1_000_000,
        CHUNKED + b"0\r\na: " + b"b" * 1_000_000,
        CHUNKED + b"1\r\nx\r\n" * 1_000_000,
        b"nonsense\r\n\r\n",
    ],
    ids=[
        *("length and chunks", "chunks and length", "two lengths", "no chunks", "many headers", "long header"),
        *("long path", "empty lines", "chunk extension", "trailer", "one-byte chunks", "nonsense"),
    ],
)
def test_senseless_framing_is_refused_and_the_connection_closed(url: str, request_: bytes) -> None:
    answer = said(url, *(request_[start : start + 10_000] for start in range(0, len(request_), 10_000)))

    if answer:  # it may be lost if more data was sent
        assert_problem(answer, 400, "malformed-request")
    assert_well(url)


def test_a_content_length_that_is_too_small_is_a_problem_of_framing(url: str) -> None:
    answer = said(url, HEAD + b"content-length: 100\r\n\r\n" + png())

    assert_problem(answer, 400, "malformed-request")
    assert b"framing of its body" in answer
    assert answer.count(b"content-length") == 1


def test_trailers_are_not_headers(url: str) -> None:
    answer = said(url, CHUNKED + b"3\r\nabc\r\n0\r\ncontent-type: text/html\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"unsupported-format" in answer


@pytest.mark.parametrize(
    "body", [b"content-length: 3\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
def test_an_offer_to_upgrade_loses_no_body(url: str, body: bytes) -> None:
    request = HEAD + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n" + body

    assert said(url, request * 2).count(b"unsupported-format") == 2
    assert_problem(said(url, b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n"), 400, "malformed-request")


def test_a_few_requests_may_wait_on_a_connection_and_no_more(url: str) -> None:
    get = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"

    assert said(url, get * 10).count(b"HTTP/1.1 200") == 10
    assert said(url, get * 1000).count(b"HTTP/1.1 200") < 1000


def test_tiny_chunks_from_a_crowd_leave_the_server_free(url: str) -> None:
    def drip() -> None:
        while not enough.is_set():
            said(url, CHUNKED, b"1\r\nx\r\n" * 50_000)

    enough, taken = threading.Event(), []
    with ThreadPoolExecutor(12) as pool:
        for _ in range(12):
            pool.submit(drip)
        for _ in range(30):
            begin = time.monotonic()
            assert_well(url)
            taken.append(time.monotonic() - begin)
        enough.set()

    assert max(taken) < 5


def test_silent_connections_do_not_block_other_clients() -> None:
    with serving(HEADER_TIMEOUT_S="600") as (url, _), ExitStack() as opened:
        for _ in range(600):
            opened.enter_context(connect(url)).sendall(b"GET / HTTP/1.1\r\nx: ")
        assert_well(url)


@pytest.mark.parametrize("timeout_s", [1, 600])
def test_the_server_stops_though_bodies_are_on_their_way(timeout_s: int) -> None:
    with serving(SHUTDOWN_TIMEOUT_S="1", MIN_BYTES_PER_S="1", BODY_TIMEOUT_S=str(timeout_s)) as (url, process):
        connections = [connect(url) for _ in range(5)]
        for connection in connections:
            connection.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: 1000\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # the service waits for the body
            connection.sendall(b"x")
        begin = time.monotonic()
        os.kill(process, signal.SIGTERM)
        for connection in connections:
            rest(connection)
            connection.close()

        assert time.monotonic() - begin < 10


def test_requests_that_the_shutdown_interrupts_are_told_to_come_again(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(SHUTDOWN_TIMEOUT_S="1", LOG_LEVEL="INFO") as (url, process), connect(url) as connection:
        # GIVEN a request whose body does not end
        connection.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: 1000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        # WHEN the server stops
        os.kill(process, signal.SIGTERM)
        answer = rest(connection)

    # THEN the client and the log get a usual error
    assert_problem(answer, 503, "overloaded")
    assert b"retry-after: 2\r\n" in answer
    written = capfd.readouterr()
    assert '"status":503,"problems":["overloaded"]' in written.out
    assert "Traceback" not in written.err


LARGE = 50_000_000
OTHER = f"""
from concurrent.futures import ThreadPoolExecutor
from handler.http.server import serve
from handler.settings import Settings
import sys, threading

pool = ThreadPoolExecutor(1)

async def app(scope, receive, send):
    if scope["type"] == "http":
        if scope["path"] == "/work":
            pool.submit(threading.Event().wait)
        body = bytes({LARGE} if scope["path"] == "/long" else 0)
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": body}})

serve(app, Settings.from_environment(), "127.0.0.1", int(sys.argv[-1]))
"""


def test_a_client_that_does_not_read_is_given_up() -> None:
    with serving(start=OTHER, HEADER_TIMEOUT_S="1") as (url, _), connect(url) as reader:
        # GIVEN a client that reads the beginning of a long answer
        reader.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n")
        assert reader.recv(10)
        # WHEN the server has closed other connections, which became silent later
        for _ in range(3):
            assert said(url) == b""
        # THEN it has also closed the first one
        assert len(rest(reader)) < LARGE


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid to wait for a process without its Popen")
def test_the_server_stops_though_a_thread_works() -> None:
    with serving(start=OTHER) as (url, process):
        assert httpx2.get(f"{url}/work").status_code == 200
        # Unlike SIGTERM, which kills at last any process but a container's first, this one lets it end by itself.
        os.kill(process, signal.SIGINT)
        end = threading.Thread(target=os.waitid, args=(os.P_PID, process, os.WEXITED | os.WNOWAIT), daemon=True)
        end.start()
        end.join(10)

        assert not end.is_alive()


SIZE = 32 << 20
GARBAGE = b"no image" + bytes(SIZE - 1000)
FORM = b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + GARBAGE[1000:]


@pytest.fixture(scope="module")
def without_collector() -> Iterator[tuple[str, int]]:
    """A server that frees only what nothing refers to."""
    with serving(start="import gc; gc.disable(); from handler.__main__ import main; main()") as server:
        yield server


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("image/png", GARBAGE, 415),
        ("image/png", GARBAGE + bytes(2000), 413),
        ("application/json", b'{"image": "' + base64.b64encode(GARBAGE[: SIZE // 8 * 5]) + b'"}', 415),
        ("application/json", b'{"image": "' + b"A" * (SIZE - 100) + b'!"}', 400),
        ("application/json", b'{"image": "' + b"A" * (SIZE - 100), 400),
        ("multipart/form-data; boundary=x", FORM + b"\r\n--x--\r\n", 415),
        ("multipart/form-data; boundary=x", FORM + b"\r\n--x\r\ncontent-disposition: form-data\r\n\r\n", 400),
    ],
    ids=["no image", "too long", "no image in base64", "no base64", "no JSON", "no image in a form", "another part"],
)
def test_a_refused_body_is_forgotten(
    without_collector: tuple[str, int], content_type: str, body: bytes, status: int
) -> None:
    url, process = without_collector
    before = resident_mb(process)
    for _ in range(10):
        answer = httpx2.post(
            f"{url}/v1/predictions", content=body, headers={"content-type": content_type}, timeout=PATIENCE_S
        )
        assert answer.status_code == status

    assert resident_mb(process) - before < 70
