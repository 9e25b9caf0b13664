"""The HTTP service with its description: `python -m handler serve`, or any ASGI server with `handler.http.app:app`."""

from fastapi import FastAPI

from handler import startup
from handler.http import openapi
from handler.http.endpoints import Service
from handler.scoring import Predictor
from handler.settings import Settings


def create_app(settings: Settings, predictor: Predictor) -> FastAPI:
    """Build the service around a loaded model.

    Raises:
        SettingsError: see `handler.http.endpoints.Service`.
    """
    service = Service(settings, predictor)
    app = FastAPI(
        title=openapi.TITLE,
        version=openapi.API_VERSION,
        description=openapi.ABOUT,
        openapi_url=None,  # the service itself serves the document, with the labels of its bundle
        middleware=service.middleware,
        exception_handlers=service.exception_handlers,
        redirect_slashes=False,  # see `handler.http.endpoints.create_service`
    )
    for endpoint in service.endpoints:
        described = openapi.PATHS.get(endpoint.path, {"include_in_schema": False})
        app.add_api_route(endpoint.path, endpoint.answer, methods=[endpoint.method], **described)
        if endpoint.method == "GET":  # by default, Starlette answers GET and HEAD
            app.add_api_route(endpoint.path, endpoint.answer, methods=["HEAD"], include_in_schema=False)
    app.router.routes.append(service.files)
    return app


app = create_app(startup.settings, startup.predictor())
