"""The path prefix in front of the service's own paths: of a proxy, a custom domain, or a stage.

In ASGI, `root_path` is the prefix, and `path` includes it.
"""

from typing import Any
from urllib.parse import unquote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PrefixMiddleware:
    """Serves the paths below a prefix, whether the proxy keeps or strips the prefix."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = scope.get("root_path", "")
        if scope["type"] == "http" and known != self._prefix:
            if scope["path"] == self._prefix:
                # The relative links of the page need the trailing slash.
                await RedirectResponse(f"{self._prefix.rpartition('/')[2]}/")(scope, receive, send)
                return
            path = scope["path"]
            if _is_below(path, known):  # a stage, which is not part of the URL that callers use
                path = path[len(known) :]
            scope["path"] = path if _is_below(path, self._prefix) else self._prefix + path
            scope["root_path"] = self._prefix
        await self._app(scope, receive, send)


def prefix_of_event(event: dict[str, Any], path: str) -> tuple[str, str]:
    """Split the path of an HTTP event of Lambda.

    With payload 1.0 and REST APIs, `resource` and `pathParameters` give the service's own path. The part of the called
    path before it is the prefix: a stage, the base path of a custom domain, or both. Payload 2.0 gives only the stage.

    Args:
        path: the event's path, decoded.

    Returns:
        The prefix, and the path including the prefix.
    """
    context = event["requestContext"]
    own = str(event.get("resource", ""))
    for name, value in (event.get("pathParameters") or {}).items():
        own = own.replace(f"{{{name}+}}", value).replace(f"{{{name}}}", value)
    if own.startswith("/"):
        tail = unquote(own).rstrip("/")
        # SAM's local server writes the resource into `requestContext.path`, and no stage into `path`.
        for whole in (unquote(context.get("path") or ""), path):
            if whole.startswith("/") and whole.rstrip("/").endswith(tail):
                prefix = whole.rstrip("/").removesuffix(tail)
                return prefix, whole if whole != prefix else f"{prefix}/"
    stage = f"/{context.get('stage')}"
    return (stage if _is_below(path, stage) else ""), path


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(f"{prefix}/")
