"""Find the S3 objects that a message names: an S3 notification, also wrapped by SNS or EventBridge, or a message with
an `s3_uri`.

Each form has bucket and key in a different place. Only direct S3 notifications URL-encode the key.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from handler.errors import MalformedRequest

EXPECTED = "an S3 notification, one that SNS or EventBridge has wrapped, or an object with `s3_uri`"


def notified(message: Any) -> list[tuple[str, str | None]]:
    """Return the objects that a message names, each with the URI for its result if the message has one.

    Args:
        message: JSON as text, or already parsed.

    Returns:
        Pairs of `s3://BUCKET/KEY` and the URI for the result, or None. The list is empty for deleted objects, and for
        the test message that S3 sends when notifications are set up.

    Raises:
        MalformedRequest: the message has none of these forms.
    """
    return list(_told(_parsed(message) if isinstance(message, str) else message))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise MalformedRequest(f"The message is not JSON. Send {EXPECTED}.") from exc


def _told(message: Any) -> Iterator[tuple[str, str | None]]:
    match message:
        case {"s3_uri": str(uri), "output_s3_uri": str(output)}:
            yield uri, output
        case {"s3_uri": str(uri)}:
            yield uri, None
        case {"Event": "s3:TestEvent"}:
            pass
        case {"Records": list(records)}:
            for record in records:
                yield from _told(record)
        case {"Sns": {"Message": str(text)}} | {"Type": "Notification", "TopicArn": str(), "Message": str(text)}:
            yield from _told(_parsed(text))
        # Other events, such as a deletion: there is nothing to score, and an earlier result is kept.
        case {"eventName": str(name), "s3": _} if not name.startswith("ObjectCreated"):
            pass
        case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
            yield f"s3://{bucket}/{unquote_plus(key)}", None
        case {"source": "aws.s3", "detail-type": str(kind)} if kind.startswith("Object ") and kind != "Object Created":
            pass
        case {"source": "aws.s3", "detail": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
            yield f"s3://{bucket}/{key}", None
        case _:
            raise MalformedRequest(f"The message does not name an object. Send {EXPECTED}.")
