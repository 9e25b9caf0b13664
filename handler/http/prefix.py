"""The path prefix that callers see before the service's own paths: of a proxy, a custom domain, or a stage.

ASGI keeps it in `root_path`, and in `path` as well.
"""

from typing import Any
from urllib.parse import unquote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PrefixMiddleware:
    """Answers below a prefix, whether the proxy before it passes the prefix on or strips it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = scope.get("root_path", "")
        if scope["type"] == "http" and known != self._prefix:
            if scope["path"] == self._prefix:
                # Relative links of the page need the slash.
                await RedirectResponse(f"{self._prefix.rpartition('/')[2]}/")(scope, receive, send)
                return
            path = scope["path"]
            if _is_below(path, known):  # a stage, which callers of this prefix do not see
                path = path[len(known) :]
            scope["path"] = path if _is_below(path, self._prefix) else self._prefix + path
            scope["root_path"] = self._prefix
        await self._app(scope, receive, send)


def prefix_of_event(event: dict[str, Any], path: str) -> tuple[str, str]:
    """Split the path of an HTTP event of Lambda.

    With payload 1.0 and REST APIs `resource` and `pathParameters` tell the service's own path, and what stands before
    it in the path that was called is the prefix: a stage, the base path of a custom domain, or both. Payload 2.0 tells
    the stage alone.

    Args:
        path: the event's path, decoded.

    Returns:
        The prefix, and the path that begins with it.
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
