"""Convert exceptions to RFC 9457 problem details, with one table."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from handler import errors
from handler.errors import HandlerError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its HTTP status, its name for programs and its name for people."""

    status: int
    slug: str
    title: str


KINDS: dict[type[HandlerError], Kind] = {
    errors.EmptyInput: Kind(400, "empty-input", "The file is empty"),
    errors.MalformedRequest: Kind(400, "malformed-request", "The request is malformed"),
    errors.BucketNotAllowed: Kind(403, "bucket-not-allowed", "The S3 bucket is not on the allow-list"),
    errors.InputNotFound: Kind(404, "input-not-found", "There is no such object or file"),
    errors.UploadsDisabled: Kind(404, "uploads-disabled", "Uploads are turned off"),
    errors.SlowRequest: Kind(408, "slow-request", "The request did not arrive in time"),
    errors.InputArchived: Kind(409, "input-archived", "The object is archived"),
    errors.InputTooLarge: Kind(413, "input-too-large", "The input is too large"),
    errors.DecodingTooCostly: Kind(413, "too-costly", "The image costs too much to decode"),
    errors.UnsupportedMedia: Kind(415, "unsupported-media", "The content type is not supported"),
    errors.UnsupportedFormat: Kind(415, "unsupported-format", "The image's format is not supported"),
    errors.UnreadableImage: Kind(422, "unreadable-image", "The image cannot be read"),
    errors.SeveralFrames: Kind(422, "several-frames", "The file holds several images"),
    errors.NotAnXray: Kind(422, "not-an-xray", "The image does not look like a chest X-ray"),
    errors.Overloaded: Kind(503, "overloaded", "The service is busy"),
    errors.StorageError: Kind(503, "storage-error", "The storage did not answer"),
}
"""All errors that a caller can get. An error that is not in the table has the kind of its nearest base class."""

INTERNAL = Kind(500, "internal-error", "The service has an internal error")


def kind_of(exc: HandlerError) -> Kind:
    """Return the kind of an exception, from the table."""
    return next((KINDS[cls] for cls in type(exc).__mro__ if cls in KINDS), INTERNAL)


def kind_of_status(status: int) -> Kind:
    """Return the kind of an error of the web framework, such as an unknown path."""
    phrase = HTTPStatus(status).phrase
    return Kind(status, phrase.lower().replace(" ", "-"), phrase)


def problem(kind: Kind, detail: str, request_id: str | None = None) -> dict[str, Any]:
    """Make a problem details object.

    Args:
        detail: what is wrong with this request, and the remedy.
        request_id: the id of the HTTP request in the log, if there is one.
    """
    found = {
        "type": f"urn:problem-type:xray:{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    return found if request_id is None else {**found, "request_id": request_id}


def problem_of(exc: HandlerError, request_id: str | None = None) -> dict[str, Any]:
    """Make the problem details object of an exception."""
    return problem(kind_of(exc), str(exc), request_id)
