"""The front doors of `template.yaml` on this machine: convert HTTP requests to Lambda events, and answers to responses.

`sam local` emulates only API Gateway. The events have the form that AWS documents for each front door, with the fields
that the service reads.
"""

import base64
import contextlib
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.infra.http_server import answering

Request = tuple[str, str, dict[str, str], bytes]
"""Method, path with query, headers and body."""


def rest_api_event(request: Request) -> dict[str, Any]:
    """Make an event of the template's REST API, with every body in base64."""
    method, target, headers, body = request
    url = urlsplit(target)
    query = parse_qs(url.query)
    resource = "/{proxy+}" if url.path != "/" else "/"
    return {
        "resource": resource,
        "path": url.path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": url.path[1:]} if resource != "/" else None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": f"/prod{url.path}",
            "stage": "prod",
            "requestId": str(uuid.uuid4()),
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def function_url_event(request: Request) -> dict[str, Any]:
    """Make an event of a function URL, with header names in lower case and text bodies unchanged."""
    method, target, headers, body = request
    url = urlsplit(target)
    small = {name.lower(): value for name, value in headers.items()}
    is_text = small.get("content-type", "").startswith(("text/", "application/json"))
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(url.path),
        "rawQueryString": url.query,
        "headers": small,
        "requestContext": {
            "domainName": "abc.lambda-url.us-east-1.on.aws",
            "http": {"method": method, "path": unquote(url.path), "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
        },
        **({"body": body.decode() if is_text else base64.b64encode(body).decode()} if body else {}),
        "isBase64Encoded": bool(body) and not is_text,
    }


EVENTS = {"REST_API": rest_api_event, "FUNCTION_URL": function_url_event}


@contextlib.contextmanager
def front_door(name: str, invoke: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[str]:
    """Serve a function over HTTP; yields the address.

    Args:
        name: a key of `EVENTS`.
        invoke: sends an event to the function and returns its answer.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = invoke(EVENTS[name]((self.command, self.path, dict(self.headers.items()), body)))
            text = answer.get("body") or ""
            data = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
            self.send_response(answer.get("statusCode", 502))
            headers = answer.get("headers") or {k: v[0] for k, v in answer.get("multiValueHeaders", {}).items()}
            for header, value in {**headers, "content-length": str(len(data))}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_OPTIONS = _answer  # noqa: N815

    with answering(Handler) as url:
        yield url
