"""The HTTP server of `python -m handler serve`, with limits on each connection.

The application limits a request's body (`handler.http.requests`) under any server. Only the server can limit what
happens before the application gets the request. So these limits do not hold under `uvicorn handler.http.app:app`:

- The headers of a request must be complete in time, and the client must read its response in time.
- A body must not arrive in tiny pieces. Headers, chunk sizes, chunk extensions and trailers have a limit, which grows
  with the body.
- Only a few requests may wait on one connection. When there are too many connections, the server closes the one that
  has kept it waiting longest.
- After SIGTERM the server waits for its requests for a limited time.
"""

import asyncio
import os
import sys
from functools import partial
from typing import Any, NoReturn, cast

import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from handler.errors import HandlerError, MalformedRequest, SlowRequest
from handler.http.problems import MEDIA_TYPE, kind_of, problem_of
from handler.http.requests import REQUIRED_PIECE_BYTES, UNCOUNTED_PIECES
from handler.http.responses import encoded
from handler.settings import Settings

MAX_CONNECTIONS = 500
"""A process may usually have 1024 open files. At that limit a server can only log errors."""

_MAX_OVERHEAD_BYTES = 64 << 10
"""Maximum number of bytes of headers, framing and trailers, in addition to a sixteenth of the body."""

_MAX_HEADERS = 200
_MAX_PIPELINED = 16

_INVALID = MalformedRequest("This is not a valid HTTP/1.1 request. Check its headers and the framing of its body.")


def serve(app: Any, settings: Settings, host: str, port: int) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then end the process.

    Args:
        app: an ASGI application.
        settings: the server uses `header_timeout_s`, `shutdown_timeout_s`, `min_bytes_per_s` and `max_body_bytes`.
    """
    protocol = partial(BoundedProtocol, settings=settings, waiting={})
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        access_log=False,  # the application already logs one JSON line per request
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS + 1,  # one more is accepted, and a waiting one is closed instead
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )
    # A normal exit would wait for threads that still score, although no client can get their results.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    A timer runs while the server waits for the client. It starts with the connection or at the end of a response, and
    ends when the headers of the next request are complete. It also runs while the client does not read. The rest of the
    previous request's body must arrive in the same time.

    Args:
        waiting: the connections whose timer runs, in the order of their start; shared by all connections.
    """

    def __init__(self, *, settings: Settings, waiting: "dict[BoundedProtocol, None]", **named: Any) -> None:
        super().__init__(**named)
        self._timeout_s = settings.header_timeout_s
        self._required_bytes = settings.min_bytes_per_s * settings.header_timeout_s
        self._max_discarded = settings.max_body_bytes
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0  # bytes of the response that the client had not read when the timer started
        self._reason = _INVALID
        self._reading_head = False
        self._running: RequestResponseCycle | None = None
        self._begin_counting()

    def _begin_counting(self) -> None:
        """Reset the counters of a request: bytes on the wire, bytes and pieces of its body, bytes after the
        response."""
        self._wire = self._payload = self._pieces = self._discarded = 0

    # Called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS and self._waiting:
            next(iter(self._waiting))._abort()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._disconnect()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # This replaces uvicorn's method, which logs a line for every invalid request.
        self._unset_keepalive_if_required()
        self._wire += len(data)
        try:
            self._parse(data)
        except HttpParserError:
            self._refuse(self._reason)
            return
        if self._wire - self._payload > _MAX_OVERHEAD_BYTES + self._payload // 16 and not self.transport.is_closing():
            self._refuse(MalformedRequest("The headers or the framing of the body are too long. Send shorter ones."))

    def _parse(self, data: bytes) -> None:
        """Parse. Ignore the upgrade that some clients offer, such as Java's.

        The parser would skip the body of such a request. So a new parser gets the request without the upgrade header.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                method = self.parser.get_method()
                if method == b"CONNECT":
                    raise HttpParserError from upgrade
                headers = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
                data = b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method, self.url, headers, data[upgrade.args[0] :])
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            else:
                return

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_counting()
        self._reading_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._reading_head:
            return  # trailers are not used
        if len(self.headers) == _MAX_HEADERS:
            raise self._because(f"The request has more than {_MAX_HEADERS} headers. Send fewer headers.")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # see `_parse`
        if len(self.pipeline) == _MAX_PIPELINED:
            raise self._because("Too many requests wait on this connection. Use several connections.")
        super().on_headers_complete()
        self._reading_head = False
        if not self.flow.write_paused:
            self._stop_waiting()

    def on_body(self, body: bytes) -> None:
        self._pieces += 1
        self._payload += len(body)
        if self._pieces > UNCOUNTED_PIECES and self._payload < self._pieces * REQUIRED_PIECE_BYTES:
            raise self._because("The body arrives in too many small pieces. Send larger pieces.")
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > self._max_discarded:
                raise self._because("The rest of the body is too long.")
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    # Called by uvicorn

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # otherwise the next request has already begun
            self._wait()

    # Waiting and refusing

    def _because(self, detail: str) -> MalformedRequest:
        """An exception that stops the parser. The connection is then refused."""
        self._reason = MalformedRequest(detail)
        return MalformedRequest(detail)

    def _wait(self) -> None:
        self._stop_waiting()
        self._unsent = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self._timeout_s, self._expire)
        self._waiting[self] = None

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            del self._waiting[self]

    def _expire(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent and self._unsent - unsent >= self._required_bytes:
            self._wait()
        elif self._reading_head and not unsent and not self.transport.is_closing():
            self._refuse(SlowRequest(f"The headers were not complete within {self._timeout_s} s. Send them again."))
        else:
            self._abort()

    def _abort(self) -> None:
        """Close immediately: `close` would wait until the client has read the rest of the response."""
        self._stop_waiting()
        self._disconnect()
        self.connections.discard(self)  # `connection_lost` comes after the next connection has counted them
        self.transport.abort()

    def _disconnect(self) -> None:
        """Tell the application that the client has disconnected. uvicorn tells this only to the last of several
        requests."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _refuse(self, error: HandlerError) -> None:
        """Send the error if no response has begun, and close the connection."""
        cycle = self.cycle
        if cycle is None or (self._reading_head and cycle.response_complete):
            unanswered = True
        else:
            # This may answer a request whose body is complete. If its content length is too small, the rest of its body
            # looks like the head of another request.
            unanswered = not (cycle.response_started or self.pipeline)
        self._disconnect()
        if unanswered:
            body = encoded(problem_of(error))
            headers = [
                *self.server_state.default_headers,
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            lines = [STATUS_LINE[kind_of(error).status], *(b"%s: %s\r\n" % header for header in headers), b"\r\n", body]
            self.transport.write(b"".join(lines))
        self.transport.close()
        self._wait()
