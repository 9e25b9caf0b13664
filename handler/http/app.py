"""The HTTP service with its description: `python -m handler serve`, or any ASGI server with `handler.http.app:app`."""

from typing import Any

from fastapi import FastAPI

from handler import startup
from handler.http import openapi
from handler.http.endpoints import Service
from handler.scoring import Predictor
from handler.settings import Settings


class _Described(FastAPI):
    def openapi(self) -> dict[str, Any]:
        return openapi.completed(super().openapi())


def create_app(settings: Settings, predictor: Predictor) -> FastAPI:
    """Build the service around a loaded model.

    Raises:
        SettingsError: see `handler.http.endpoints.Service`.
    """
    service = Service(settings, predictor)
    app = _Described(
        title=openapi.TITLE,
        version=openapi.API_VERSION,
        description=openapi.ABOUT,
        servers=openapi.SERVERS,
        openapi_tags=openapi.TAGS,
        openapi_url=None,  # the service serves the document, with the labels of its bundle
        middleware=service.middleware,
        exception_handlers=service.exception_handlers,
        redirect_slashes=False,  # see `handler.http.endpoints.create_service`
    )
    for endpoint in service.endpoints:
        described = openapi.PATHS.get(endpoint.path, {"include_in_schema": False})
        app.add_api_route(endpoint.path, endpoint.handle, methods=[endpoint.method], **described)
        if endpoint.method == "GET":  # which Starlette answers to HEAD as well, unasked
            app.add_api_route(endpoint.path, endpoint.handle, methods=["HEAD"], include_in_schema=False)
    app.router.routes.extend(service.files)
    return app


app = create_app(startup.settings, startup.predictor())
