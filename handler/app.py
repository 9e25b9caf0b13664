"""The HTTP service: `python -m handler serve`, or any ASGI server with `handler.app:app`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from handler import openapi, startup
from handler.card import card
from handler.classifier import Classifier, granted_threads
from handler.envelope import REQUEST_ID, Envelope, Exchange
from handler.errors import HandlerError, MalformedRequest, TemporaryError, UnsupportedMedia
from handler.gate import Gate
from handler.inputs import RAW, read_json, read_sources
from handler.problems import kind_of_status, problem, problem_of
from handler.responses import ProblemResponse, encoded
from handler.scoring import Prediction, Source, attempt, identity
from handler.settings import Settings
from handler.storage import Storage
from handler.telemetry import Telemetry

PAGE = Path(__file__).with_name("page")


def create_app(settings: Settings, classifier: Classifier) -> FastAPI:
    """Build the service around a loaded model.

    Raises:
        SettingsError: S3 is to be used but its client is not installed.
    """
    contract = classifier.contract
    storage = Storage(settings)
    gate = Gate(settings.workers or granted_threads(), settings.max_in_flight)
    model, model_card = identity(contract), encoded(card(contract, settings))
    blank = np.zeros((1, contract.input_size, contract.input_size), np.uint8)
    # The usual documentation page would load its scripts from another site.
    app = FastAPI(
        title=openapi.TITLE, version=openapi.API_VERSION, description=openapi.ABOUT, docs_url=None, redoc_url=None
    )
    _refuse_by_problem(app, settings)

    @app.post("/v1/predictions", **openapi.PREDICTIONS)
    async def predictions(request: Request, explain: bool = False, force: bool = False) -> Response:
        exchange: Exchange = request.state.exchange
        with gate.admitted():
            sources = await read_sources(request, settings, storage)
            work = partial(_score_all, classifier, sources, explain=explain, force=force)
            outcomes = await gate.run(work)
        if len(outcomes) == 1 and isinstance(outcomes[0], HandlerError):
            raise outcomes[0]
        exchange.outcomes = outcomes
        answers = [
            {"error": problem_of(outcome, exchange.request_id)} if isinstance(outcome, HandlerError) else outcome
            for outcome in outcomes
        ]
        return _json({"model": model, "request_id": exchange.request_id, "predictions": answers})

    @app.post("/v1/uploads", **openapi.UPLOADS)
    async def uploads(request: Request) -> Response:
        with gate.admitted():
            wanted = await read_json(request, settings)
            media_type = _upload_type(wanted)
            return _json(await gate.run(partial(storage.upload_form, media_type)), 201)

    @app.get("/v1/model", **openapi.MODEL)
    async def the_model() -> Response:
        return Response(model_card, media_type="application/json")

    @app.get("/healthz", **openapi.HEALTH)
    async def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz", **openapi.READY)
    async def readyz() -> Response:
        with gate.admitted():
            scores = await gate.run(partial(classifier.score, blank))
        if not np.isclose(scores.probabilities.sum(), 1.0, atol=1e-3):
            raise RuntimeError("the network's probabilities do not sum to 1")
        return _json({"status": "ready"})

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_middleware(Envelope, settings=settings, telemetry=Telemetry(settings, contract))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Api-Key", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    return app


def _score_all(
    classifier: Classifier, sources: list[Source], *, explain: bool, force: bool
) -> list[Prediction | HandlerError]:
    return [attempt(classifier, source, explain=explain, force=force) for source in sources]


def _upload_type(wanted: Any) -> str:
    """The content type in the body of a request for an upload."""
    if not isinstance(wanted, dict) or wanted.keys() - {"content_type"}:
        raise MalformedRequest("expected a JSON object with nothing but `content_type`")
    media_type = wanted.get("content_type", RAW[-1])
    if media_type not in RAW:
        raise UnsupportedMedia(f"`content_type` must be one of {', '.join(RAW)}")
    return str(media_type)


def _json(value: Any, status: int = 200) -> Response:
    return Response(encoded(value), status, media_type="application/json")


def _refuse_by_problem(app: FastAPI, settings: Settings) -> None:
    """Answer every error with problem details."""

    @app.exception_handler(HandlerError)
    async def handler_error(request: Request, exc: HandlerError) -> Response:
        exchange: Exchange = request.state.exchange
        exchange.outcomes.append(exc)
        retry = {"retry-after": str(settings.retry_after_s)} if isinstance(exc, TemporaryError) else None
        return ProblemResponse(problem_of(exc, exchange.request_id), retry)

    @app.exception_handler(RequestValidationError)
    async def invalid_parameter(request: Request, exc: RequestValidationError) -> Response:
        wrong = "; ".join(f"{error['loc'][-1]}: {error['msg']}" for error in exc.errors())
        return await handler_error(request, MalformedRequest(f"a query parameter cannot be used: {wrong}"))

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, exc: HTTPException) -> Response:
        kind = kind_of_status(exc.status_code)
        detail = "there is no such path, or not with this method: see /openapi.json for what there is"
        headers = dict(exc.headers) if exc.headers else None
        return ProblemResponse(problem(kind, detail, request.state.exchange.request_id), headers)


app = create_app(startup.settings, startup.classifier())
