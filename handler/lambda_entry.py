"""The entry point of AWS Lambda: `handler.lambda_entry.lambda_handler`.

HTTP events (API Gateway REST and HTTP, function URL, load balancer) go to the web application. Batches, queue messages
and notifications go to `handler.batch`. A ping keeps the function warm. The model is loaded and run once while Lambda
initializes.
"""

# This comes first, because it loads the model in a thread while the rest is imported.
from handler import startup  # isort: skip

import asyncio
import base64
import logging
from time import perf_counter
from typing import Any

from mangum import Mangum
from starlette.types import Message, Receive, Scope, Send

from handler.batch import Batches
from handler.errors import HandlerError, MalformedRequest, Unexpected, UnknownEvent
from handler.http.endpoints import create_service
from handler.http.prefix import prefix_of_event
from handler.http.problems import MEDIA_TYPE, problem_of
from handler.http.responses import ProblemResponse, encoded
from handler.scoring import Outcome, identity
from handler.storage import Storage
from handler.telemetry import Telemetry

# Lambda's runtime sets the root logger to the level of this service, which has its own logger. Libraries must not log
# below the level of a warning: their messages contain requested paths, keys, tags of images, and tokens.
logging.getLogger().setLevel(logging.WARNING)

_TEXT = ["text/", "application/json", MEDIA_TYPE]
"""Media types that are sent as text. Mangum encodes all others as base64."""


_UNDECODABLE = "undecodable"
"""Key that marks an event whose body is not base64 although it says so."""


async def _requested(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass on to the application the parts of the event that Mangum ignores."""
    event = scope["aws.event"]
    try:
        scope["root_path"], scope["path"] = prefix_of_event(event, scope["path"])
    except Exception as exc:  # Mangum would log its traceback
        await ProblemResponse(_unparsable(exc, scope["aws.context"]))(scope, receive, send)
        return
    await _service(scope, _undecodable if _UNDECODABLE in event else receive, send)


async def _undecodable() -> Message:
    """Raise an error instead of returning a body, so that the request is refused when its body is read."""
    raise MalformedRequest(
        "The event's body is not base64, but isBase64Encoded is true. Encode the body, or set it to false."
    )


_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)
_http = Mangum(_requested, lifespan="off", text_mime_types=_TEXT)
_predictor = startup.predictor()
_service = create_service(startup.settings, _predictor)
_batches = Batches(startup.settings, _predictor, Storage(startup.settings))
_telemetry = Telemetry(startup.settings, _predictor.contract)


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one event.

    Raises:
        UnknownEvent: the event has an unknown kind.
        HandlerError: a whole batch of a Distributed Map failed; Step Functions tries it again or reports it.
        RuntimeError: this code has a bug; the log names the place.
    """
    # Mangum runs the application in the current loop, which newer Python versions do not create by default.
    asyncio.set_event_loop(_loop)
    match event:
        case {"requestContext": {"elb": _}} | {"requestContext": {"http": _}, "version": "2.0"}:
            return _answered(event, context)
        case {"requestContext": _, "resource": _, "httpMethod": _}:
            return _answered(event, context)
        case {"Items": _}:
            return _logged("map", _batches.map_batch, event, context)
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            return _logged("queue", _batches.queue_messages, event, context)
        case {"Records": [{"eventSource": "aws:s3"} | {"EventSource": "aws:sns"}, *_]} | {"source": "aws.s3"}:
            return _logged("notification", _batches.notification, event, context)
        case {"warmup": True} | {"source": "aws.events"}:
            return {"warm": True, "model": identity(_predictor.contract)}
    shape = (
        f"an object with {', '.join(sorted(map(str, event))) or 'no keys'}"
        if isinstance(event, dict)
        else "not an object"
    )
    raise UnknownEvent(
        f"the event is {shape}; expected an HTTP request, a batch with `Items` and `BatchInput`, messages of an SQS "
        'queue, a notification of S3, SNS or EventBridge, or {"warmup": true}'
    )


def _answered(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer an HTTP event. An event that is not a valid request does not reach the application."""
    try:
        return _http(_decoded(event), context)
    except Exception as exc:  # Lambda would write its message to the log, which may quote the request
        body = encoded(_unparsable(exc, context)).decode()
        return {"statusCode": 400, "headers": {"content-type": MEDIA_TYPE}, "body": body, "isBase64Encoded": False}


def _unparsable(exc: Exception, context: Any) -> dict[str, Any]:
    """Log the place of the exception, and return the problem of an event that is not a valid request."""
    _telemetry.failure(context.aws_request_id, exc)
    refused = MalformedRequest("The request cannot be parsed. Check its headers, its path and its encoding.")
    return problem_of(refused, context.aws_request_id)


def _decoded(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with its body as bytes, because Mangum would ignore invalid base64."""
    if not event.get("isBase64Encoded"):
        return event
    try:
        return event | {"body": base64.b64decode(event.get("body") or "", validate=True), "isBase64Encoded": False}
    except (TypeError, ValueError):
        return event | {"body": b"", "isBase64Encoded": False, _UNDECODABLE: True}


def _logged(route: str, work: Any, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run a batch and write its log line."""
    start = perf_counter()
    outcomes: list[Outcome] = []
    status = 500
    try:
        answer, outcomes = work(event, context.get_remaining_time_in_millis() / 1000)
        status = 200
        for outcome in outcomes:
            if isinstance(outcome, Unexpected) and outcome.__cause__:
                _telemetry.failure(context.aws_request_id, outcome.__cause__)
    except HandlerError as exc:
        outcomes = [exc]
        raise
    except Exception as exc:
        # Lambda would write the message to the log, and it may quote the image.
        _telemetry.failure(context.aws_request_id, exc)
        raise RuntimeError(f"unexpected {type(exc).__name__}: see the log, and report it") from None
    finally:
        _telemetry.request(
            request_id=context.aws_request_id,
            method="EVENT",
            route=route,
            status=status,
            total_ms=(perf_counter() - start) * 1000,
            outcomes=outcomes,
        )
    return dict(answer)
