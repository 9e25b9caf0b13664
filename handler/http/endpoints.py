"""The endpoints of the service and their routes. They need Starlette alone, so that a cold start on Lambda does
not import FastAPI (0.2 s). `handler.http.app` serves the same endpoints with FastAPI.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from handler.card import card
from handler.errors import (
    HandlerError,
    InputTooLarge,
    MalformedRequest,
    Overloaded,
    SlowRequest,
    TemporaryError,
    UnsupportedMedia,
)
from handler.http.admission import AdmissionLimiter
from handler.http.description import describe
from handler.http.middleware import REQUEST_ID, ContextMiddleware, ErrorMiddleware, RequestContext
from handler.http.prefix import PrefixMiddleware
from handler.http.problems import kind_of_status, problem, problem_of
from handler.http.requests import RAW, read_items, read_json
from handler.http.responses import ProblemResponse, encoded
from handler.imaging.isolation import MAX_SLOW
from handler.scoring import Outcome, Predictor, Source, identity
from handler.settings import Settings
from handler.storage import Storage
from handler.telemetry import Telemetry

PAGE = Path(__file__).parents[1] / "page"
DOCS = Path(__file__).parents[1] / "docs"
SWAGGER_UI = ("fastapi_swagger", "resources")
"""Package and folder of Swagger UI's files. The package is not imported."""

_FLAGS = ("explain", "force", "preview")
"""Query parameters of a prediction request."""

_TRUE, _FALSE = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path of the service.

    Args:
        query: names of the query parameters. Others are refused, so that a misspelt one is not ignored. None: the path
            is a page, which takes any and reads none.
    """

    method: str
    path: str
    answer: Callable[[Request], Awaitable[Response]]
    query: tuple[str, ...] | None = ()

    async def handle(self, request: Request) -> Response:
        if self.query is not None:
            _require_known(request.query_params, self.query)
        try:
            return await self.answer(request)
        except asyncio.CancelledError as exc:
            # The server cancels requests only at shutdown. Each request is a separate task, so no caller waits for the
            # cancellation. Without this, uvicorn sends an empty 500 and logs a traceback.
            raise Overloaded("The service is shutting down. Send the request again.") from exc


class Service:
    """The service around a loaded model: endpoints, middleware and exception handlers, for Starlette or FastAPI.

    Raises:
        SettingsError: the settings use S3, but its client is not installed.
    """

    def __init__(self, settings: Settings, predictor: Predictor) -> None:
        self._settings = settings
        self._predictor = predictor
        self._storage = Storage(settings)
        self._admission = AdmissionLimiter(
            settings.workers + MAX_SLOW, settings.max_in_flight, settings.max_bytes_in_flight
        )
        self._model = identity(predictor.contract)
        self._card = encoded(card(predictor, settings))
        self.endpoints = (
            Endpoint("POST", "/v1/predictions", self.predictions, query=_FLAGS),
            Endpoint("POST", "/v1/uploads", self.uploads),
            Endpoint("GET", "/v1/model", self.model),
            Endpoint("GET", "/healthz", self.healthz),
            Endpoint("GET", "/readyz", self.readyz),
            Endpoint("GET", "/openapi.json", self.description),
            Endpoint("GET", "/", self.page, query=None),
            Endpoint("GET", "/docs", self.docs, query=None),
        )
        self.files = (
            Mount("/page", StaticFiles(directory=PAGE)),
            Mount("/docs", StaticFiles(directory=DOCS, packages=[SWAGGER_UI])),
        )
        telemetry = Telemetry(settings, predictor.contract)
        self.middleware = [
            Middleware(ContextMiddleware, settings=settings, telemetry=telemetry),
            *([_cors(settings.cors_origins)] if settings.cors_origins else []),
            # Inside CORS, so that a page of another origin can also read its responses.
            Middleware(ErrorMiddleware, telemetry=telemetry),
            *([Middleware(PrefixMiddleware, prefix=settings.base_path)] if settings.base_path else []),
        ]
        self.exception_handlers: dict[Any, Any] = {HandlerError: self._refused, HTTPException: _refused_by_framework}

    async def predictions(self, request: Request) -> Response:
        context: RequestContext = request.state.context
        wanted: dict[str, Any] = {name: _flag(request, name) for name in _FLAGS}
        with self._admission.admitted() as charge:
            items = await read_items(request, self._settings, self._storage, charge)
            score = partial(self._predictor.score_or_error, **wanted)
            # The budget starts here, so that it includes the time in the queue.
            budget = self._settings.request_budget_s
            sources = [item.source for item in items]
            work = partial(_score_in_time, score, sources, budget, monotonic() + budget)
            outcomes = await self._admission.run(work)
        for outcome in outcomes:
            context.note(outcome)
        if len(outcomes) == 1 and isinstance(outcomes[0], HandlerError):
            return self._problem(outcomes[0], context)
        answers = [
            {"index": index}
            | ({"filename": item.filename} if item.filename else {})
            | ({"error": problem_of(outcome, context.request_id)} if isinstance(outcome, HandlerError) else outcome)
            for index, (item, outcome) in enumerate(zip(items, outcomes, strict=True))
        ]
        return _json({"model": self._model, "request_id": context.request_id, "predictions": answers})

    async def uploads(self, request: Request) -> Response:
        with self._admission.admitted() as charge:
            wanted = await read_json(request, self._settings, charge)
            media_type = _upload_type(wanted)
            return _json(await self._admission.run(partial(self._storage.upload_form, media_type)), 201)

    async def model(self, request: Request) -> Response:  # noqa: ARG002
        return Response(self._card, media_type="application/json")

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002
        size = self._predictor.contract.input_size
        blank = np.zeros((1, size, size), np.uint8)
        with self._admission.admitted():
            scores = await self._admission.run(partial(self._predictor.classifier.score, blank))
        if not np.isclose(scores.probabilities.sum(), 1.0, atol=1e-3):
            raise RuntimeError("the network's probabilities do not sum to 1")
        return _json({"status": "ready"})

    async def description(self, request: Request) -> Response:
        return _json(describe(self._predictor.contract, request.scope.get("root_path", "")))

    async def page(self, request: Request) -> Response:  # noqa: ARG002
        return FileResponse(PAGE / "index.html")

    async def docs(self, request: Request) -> Response:  # noqa: ARG002
        return FileResponse(DOCS / "index.html")

    async def _refused(self, request: Request, exc: HandlerError) -> Response:
        context: RequestContext = request.state.context
        context.note(exc)
        return self._problem(exc, context)

    def _problem(self, exc: HandlerError, context: RequestContext) -> Response:
        headers = {}
        if isinstance(exc, TemporaryError):
            headers["retry-after"] = str(self._settings.retry_after_s)
        if isinstance(exc, SlowRequest):  # the rest of the body may never come
            headers["connection"] = "close"
        return ProblemResponse(problem_of(exc, context.request_id), headers)


def create_service(settings: Settings, predictor: Predictor) -> Starlette:
    """Make the service as an ASGI application, without FastAPI.

    Raises:
        SettingsError: see `Service`.
    """
    service = Service(settings, predictor)

    routes = [Route(endpoint.path, endpoint.handle, methods=[endpoint.method]) for endpoint in service.endpoints]
    app = Starlette(
        routes=[*routes, *service.files],
        middleware=service.middleware,
        exception_handlers=service.exception_handlers,
    )
    # Behind a proxy that terminates TLS, redirects would point to an address without TLS.
    app.router.redirect_slashes = False
    return app


_SIGNATURE = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256")
"""Headers of a request that a browser signs for AWS."""


def _cors(origins: tuple[str, ...]) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "X-Api-Key", REQUEST_ID, *_SIGNATURE],
        expose_headers=[REQUEST_ID, "Retry-After"],
    )


def _score_in_time(
    score: Callable[[Source], Outcome], sources: list[Source], budget_s: int, deadline: float
) -> list[Outcome]:
    """Score the first image, and others until the deadline. Without the deadline, the gateway could time out, and the
    caller would get no result at all."""
    outcomes = [score(sources[0])]
    for source in sources[1:]:
        if monotonic() < deadline:
            outcomes.append(score(source))
        else:
            outcomes.append(
                InputTooLarge(
                    f"The {budget_s} s for one request ended before this image was scored. Send fewer or smaller "
                    "images per request."
                )
            )
    return outcomes


_SIGNED = "x-amz-"
"""Beginning of the query parameters of a presigned address. AWS checks the signature, and can pass them on."""


_SHOWN = 40
"""Characters of an unknown name that an error repeats."""


def _require_known(sent: Iterable[str], known: tuple[str, ...]) -> None:
    unknown = [name for name in sent if name not in known and not name.lower().startswith(_SIGNED)]
    if unknown:
        allowed = f"only {', '.join(f'`{name}`' for name in known)}" if known else "none"
        raise MalformedRequest(f"The query parameter {unknown[0][:_SHOWN]!r} is unknown. This path takes {allowed}.")


def _flag(request: Request, name: str) -> bool:
    """A boolean query parameter; false if it is absent."""
    value = request.query_params.get(name, "false").lower()
    if value not in _TRUE + _FALSE:
        raise MalformedRequest(f"The query parameter `{name}` must be true or false.")
    return value in _TRUE


def _upload_type(wanted: Any) -> str:
    """The content type that the body of an upload request names."""
    if not isinstance(wanted, dict) or wanted.keys() - {"content_type"}:
        raise MalformedRequest("Send a JSON object with `content_type` alone.")
    media_type = wanted.get("content_type", RAW[-1])
    if media_type not in RAW:
        raise UnsupportedMedia(f"`content_type` must be one of {', '.join(RAW)}.")
    return str(media_type)


def _json(value: Any, status: int = 200) -> Response:
    return Response(encoded(value), status, media_type="application/json")


async def _refused_by_framework(request: Request, exc: HTTPException) -> Response:
    headers = dict(exc.headers or {})
    if "Allow" in headers:
        # Starlette joins a set, so the order changes from process to process.
        detail = f"This path takes {' and '.join(sorted(headers['Allow'].split(', ')))}."
    else:
        detail = "This path does not exist. See /openapi.json."
    return ProblemResponse(problem(kind_of_status(exc.status_code), detail, request.state.context.request_id), headers)
