"""Send queries to a server at the times of a Poisson process, whether or not earlier ones were answered.

The latency of a query counts from the time at which it was due. A server that stalls is charged for every query that
was due meanwhile, and a generator that sends late cannot make the server look faster.
"""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from httptools import HttpParserError, HttpResponseParser
from numpy.typing import NDArray

TIMEOUT_S = 10.0
"""A query that is not answered within this time after it was sent has failed."""

MAX_UNANSWERED = 400
"""Queries beyond this number fail at once. Each takes a connection: the server accepts 500 of them, and `select` takes
file descriptors below 1024."""

_MAX_IDLE_S = 2.0
"""Older connections are replaced, because the server closes them after 5 s."""

_LEAD_S = 0.05
"""The event loop and the first connection are ready by then."""


@dataclass(frozen=True, slots=True)
class Query:
    """What became of one query.

    Args:
        late_ms: how much later than due the generator took it up.
        latency_ms: from the time at which it was due to the end of its answer, or of the attempt.
        failure: empty if the answer has the status 200.
    """

    late_ms: float
    latency_ms: float
    failure: str = ""


def poisson_arrivals(rate: float, count: int, seed: int) -> NDArray[np.float64]:
    """The times of a Poisson process in seconds, float64 `[count]`, rising; `rate` is in queries per second.

    The last one is at `count / rate`. Otherwise the rate of 1,000 arrivals would differ from `rate` by 3 %.
    """
    times: NDArray[np.float64] = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
    times *= count / rate / times[-1]
    return times


def post(path: str, body: bytes, content_type: str) -> bytes:
    """An HTTP request to 127.0.0.1."""
    headers = ("host: 127.0.0.1", f"content-type: {content_type}", f"content-length: {len(body)}")
    return "\r\n".join((f"POST {path} HTTP/1.1", *headers, "", "")).encode() + body


def send(
    port: int, request: bytes, arrivals_s: Sequence[float] | NDArray[np.float64], on_sent: Callable[[], object]
) -> list[Query]:
    """Send the request to 127.0.0.1 at each of the times, and wait for the last answer.

    Args:
        port: where the server listens.
        request: a whole HTTP/1.1 request.
        arrivals_s: when a query is due, in seconds from the start, rising.
        on_sent: called once for each query.

    Returns:
        The queries in the order of their arrival.
    """
    with _runner() as runner:
        return runner.run(_send(port, request, arrivals_s, on_sent))


def send_in_turn(port: int, request: bytes, count: int) -> list[Query]:
    """Send the request so many times, each after the answer to the one before. A query is due when it is sent."""
    with _runner() as runner:
        return runner.run(_send_in_turn(port, request, count))


def _runner() -> asyncio.Runner:
    # `select` waits for microseconds. `epoll`, asyncio's default, rounds up to milliseconds, so it would send late.
    return asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()))


async def _send(
    port: int, request: bytes, arrivals_s: Sequence[float] | NDArray[np.float64], on_sent: Callable[[], object]
) -> list[Query]:
    loop = asyncio.get_running_loop()
    connections = _Connections(port)
    start = loop.time() + _LEAD_S

    async def query(due: float) -> Query:
        late = loop.time() - due
        on_sent()
        failure = await connections.ask(request)
        return Query(late * 1e3, (loop.time() - due) * 1e3, failure)

    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            for due in arrivals_s:
                await asyncio.sleep(start + due - loop.time())
                tasks.append(group.create_task(query(start + due)))
    finally:
        connections.close()
    return [task.result() for task in tasks]


async def _send_in_turn(port: int, request: bytes, count: int) -> list[Query]:
    loop = asyncio.get_running_loop()
    connections = _Connections(port)
    queries = []
    try:
        for _ in range(count):
            start = loop.time()
            failure = await connections.ask(request)
            queries.append(Query(0.0, (loop.time() - start) * 1e3, failure))
    finally:
        connections.close()
    return queries


class _Connections:
    """Connections to one server. A query takes an idle one, or opens another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[_Connection, float]] = []
        self._busy = 0

    async def ask(self, request: bytes) -> str:
        """Send a request and wait for its answer; returns the reason if it failed, or an empty string."""
        if self._busy >= MAX_UNANSWERED:
            return f"not sent: {MAX_UNANSWERED} others had no answer yet"
        self._busy += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await self._ask(request)
        except TimeoutError:
            return f"no answer within {TIMEOUT_S:.0f} s"
        except (OSError, HttpParserError) as exc:
            return type(exc).__name__
        finally:
            self._busy -= 1
        return "" if status == 200 else f"status {status}"

    async def _ask(self, request: bytes) -> int:
        loop = asyncio.get_running_loop()
        connection = self._take_idle(loop.time())
        if connection is None:
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        try:
            status = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        self._idle.append((connection, loop.time()))
        return status

    def _take_idle(self, now: float) -> "_Connection | None":
        """The connection that was used last."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.open and now - since < _MAX_IDLE_S:
                return connection
            connection.close()
        return None

    def close(self) -> None:
        for connection, _ in self._idle:
            connection.close()


class _Connection(asyncio.Protocol):
    """One connection, on which one request at a time is under way."""

    open = False

    def __init__(self) -> None:
        self._answer: asyncio.Future[int] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request; returns the status of its answer once the whole answer has arrived.

        Raises:
            ConnectionResetError: the server closed the connection before that.
            HttpParserError: the answer is not HTTP/1.1.
        """
        self._parser = HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.abort()

    # Called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self.open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as exc:
            self._fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    # Called by the parser

    def on_message_complete(self) -> None:
        self.open = self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def _fail(self, exc: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc)
