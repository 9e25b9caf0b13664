"""Middleware for every HTTP response: request id, security headers, a log line, and uncaught exceptions."""

import re
import uuid
from dataclasses import dataclass, field
from http import HTTPMethod
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.errors import HandlerError
from handler.http.problems import INTERNAL, MEDIA_TYPE, kind_of_status, problem
from handler.http.responses import ProblemResponse, encoded
from handler.scoring import Outcome
from handler.settings import Settings
from handler.telemetry import Telemetry

REQUEST_ID = "x-request-id"
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_CLIENT_GONE = 499  # nginx's status for it. Only the log shows it, because the client has disconnected


@dataclass(slots=True)
class RequestContext:
    """What the log line of a request contains, collected while the request is handled."""

    request_id: str
    outcomes: list[Outcome] = field(default_factory=list)

    def note(self, outcome: Outcome) -> None:
        """Add an outcome. An error is added without its traceback: its frames refer to the request's body and to this
        object, and this reference cycle would keep the body in memory until the next cyclic garbage collection."""
        self.outcomes.append(outcome.bare() if isinstance(outcome, HandlerError) else outcome)


class ContextMiddleware:
    """Adds the request context and the headers, and writes the log line. It is pure ASGI, because Starlette's
    `BaseHTTPMiddleware` needs a task and a queue for each request."""

    def __init__(self, app: ASGIApp, settings: Settings, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry
        self._headers = {
            # Everything comes from this origin, except previews of local images.
            "content-security-policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
                "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                f"frame-ancestors {settings.frame_ancestors}"
            ),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "permissions-policy": "camera=(), geolocation=(), microphone=(), interest-cohort=()",
            "cross-origin-opener-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        context = RequestContext(_request_id(scope))
        scope.setdefault("state", {})["context"] = context
        status = 0
        body: bytes | None = None  # replaces the body that the application sends

        async def send_dressed(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if status >= 400 and headers.get("content-type", "").startswith("text/plain"):
                    body = _problem_for(status, headers, context)
                self._dress(headers, scope, context)
            elif body is not None:
                message = {"type": "http.response.body", "body": body}
            await send(message)

        try:
            await self._app(scope, receive, send_dressed)
        except ClientDisconnect:
            status = _CLIENT_GONE
        finally:
            self._telemetry.request(
                request_id=context.request_id,
                # Callers can send any string as method. Only the standard names go into the log.
                method=scope["method"] if scope["method"] in HTTPMethod.__members__ else "other",
                route=getattr(scope.get("route"), "path", "none"),
                status=status,
                total_ms=(perf_counter() - start) * 1000,
                outcomes=context.outcomes,
            )

    def _dress(self, headers: MutableHeaders, scope: Scope, context: RequestContext) -> None:
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        if scope.get("scheme") == "https":
            headers.setdefault("strict-transport-security", "max-age=31536000")
        # Caches may store files of the page if they revalidate them. They must not store responses about patients.
        headers.setdefault("cache-control", "no-cache" if "etag" in headers else "no-store")
        headers[REQUEST_ID] = context.request_id


class ErrorMiddleware:
    """Sends a problem response for an uncaught exception."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noticed(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noticed)
        except ClientDisconnect:
            raise
        except Exception as exc:
            request_id = scope["state"]["context"].request_id
            self._telemetry.failure(request_id, exc)
            if started:  # too late for another response
                raise
            detail = f"The request caused an unexpected error. Report it with the id {request_id}."
            await ProblemResponse(problem(INTERNAL, detail, request_id))(scope, receive, send)


def _problem_for(status: int, headers: MutableHeaders, context: RequestContext) -> bytes:
    """Problem details in place of the framework's plain text, such as for a refused preflight or range."""
    detail = "A header of the request asks for something that is not supported. Leave it out, or see /openapi.json."
    body = encoded(problem(kind_of_status(status), detail, context.request_id))
    headers["content-type"], headers["content-length"] = MEDIA_TYPE, str(len(body))
    return body


def _request_id(scope: Scope) -> str:
    """Lambda's request id; otherwise the caller's if it has a safe form; otherwise a new one."""
    if context := scope.get("aws.context"):
        return str(context.aws_request_id)
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
