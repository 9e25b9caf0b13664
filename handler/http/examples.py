"""The examples of the OpenAPI document. `handler.http.description` gives those of answers the labels of the bundle."""

from typing import Any

from handler.errors import (
    BucketNotAllowed,
    DecodingTooCostly,
    EmptyInput,
    HandlerError,
    InputArchived,
    InputNotFound,
    InputTooLarge,
    MalformedRequest,
    NotAnXray,
    Overloaded,
    SeveralFrames,
    SlowRequest,
    StorageError,
    UnreadableImage,
    UnsupportedFormat,
    UnsupportedMedia,
    UploadsDisabled,
)
from handler.http.problems import Kind, problem, problem_of
from handler.http.requests import JSON, MULTIPART, RAW
from handler.imaging.limits import Limits

_REQUEST_ID = "5f2c8c1e9b7d4a6f8e3d2c1b0a9f8e7d"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_KEY = "uploads/0b9f3c5e6d7a4812b3c4d5e6f7081920"
_S3_URI = f"s3://my-bucket/{_KEY}"
_PIXEL_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="

_PREDICTION = {
    "index": 0,
    "label": "B",
    "probabilities": {"A": 0.03, "B": 0.97},
    "prevalence": {"A": 0.5, "B": 0.5},
    "threshold": 0.5,
    "prediction_set": ["B"],
    "uncertain": False,
    "warnings": [],
    "distance": 0.912,
    "timings": {"decode_ms": 9.1, "inference_ms": 4.7},
}
_EXPLANATION = {
    "label": "B",
    "map": [
        [0.0121, -0.0204, 0.0310, 0.0027, -0.0113, 0.0064],
        [0.0518, 0.2109, 0.1186, 0.0392, 0.0871, 0.0105],
        [0.0934, 0.6127, 0.4015, 0.0526, 0.1408, 0.0233],
        [0.1102, 1.2043, 0.7310, 0.0418, 0.1977, 0.0342],
        [0.0415, 0.3852, 0.2266, 0.0109, 0.0633, 0.0071],
        [-0.0087, 0.0214, 0.0152, -0.0031, 0.0048, 0.0012],
    ],
    "floor": 0.3,
    "full": 1.0,
    "overlay": _PIXEL_PNG,
}


def _answer(*predictions: dict[str, Any]) -> dict[str, Any]:
    model = {"name": "chest-xray", "version": "1.0.0", "sha256": _SHA256}
    return {"model": model, "request_id": _REQUEST_ID, "predictions": list(predictions)}


_TOO_SLOW = "The body did not arrive within 30 s, or at less than 1,000 bytes per second. Send it again."
_BUSY = "64 requests are already in progress. Try again in a moment."
_S3_IS_OFFLINE = "S3 cannot be reached. Try again later."

Details = dict[type[HandlerError], str]
"""The errors that a path can answer with, and for each an example of its `detail`."""

PREDICTIONS_DETAILS: Details = {
    EmptyInput: "The file has 0 bytes. Send the bytes of an image.",
    MalformedRequest: "The query parameter `explain` must be true or false.",
    BucketNotAllowed: "This deployment does not read that bucket; of its upload bucket, only uploads. Its operator can "
    "add a bucket to S3_BUCKETS.",
    InputNotFound: "The object does not exist, or this service has no access to it. Check the address.",
    SlowRequest: _TOO_SLOW,
    InputArchived: "Restore the object from the archive first, or send a copy.",
    InputTooLarge: "The form has more than 32 files. Send several requests.",
    DecodingTooCostly: str(Limits(cpu_s=4, wall_s=6, memory_mb=256).exceeded()),
    UnsupportedMedia: f"Send {MULTIPART}, {JSON}, or the bare file as one of {', '.join(RAW)}.",
    UnsupportedFormat: "The DICOM file does not contain an image. Send an image object, such as CR or DX.",
    UnreadableImage: "The JPEG ends before its last row. Send the whole file.",
    SeveralFrames: "The file is an animation or has several pages. Send one image per file.",
    NotAnXray: "Its distance from the training X-rays is 2.9, the limit is 1.8; send a frontal chest X-ray, or use "
    "force=true to score it anyway.",
    Overloaded: _BUSY,
    StorageError: _S3_IS_OFFLINE,
}
UPLOADS_DETAILS: Details = {
    MalformedRequest: "Send a JSON object with `content_type` alone.",
    UploadsDisabled: "This deployment has no upload bucket. Its operator can set UPLOAD_BUCKET.",
    SlowRequest: _TOO_SLOW,
    InputTooLarge: "The body has more than 33,554,432 bytes. Send fewer or smaller files.",
    UnsupportedMedia: f"`content_type` must be one of {', '.join(RAW)}.",
    Overloaded: _BUSY,
    StorageError: _S3_IS_OFFLINE,
}
STATIC_DETAILS: Details = {MalformedRequest: "The query parameter 'verbose' is unknown. This path takes none."}
"""Of paths that read nothing from the request."""

READY_DETAILS: Details = STATIC_DETAILS | {Overloaded: _BUSY}

REQUESTS = {
    "base64": {
        "summary": "One grey pixel. Add `force=true`: it is not an X-ray.",
        "value": {"image": _PIXEL_PNG},
    },
    "s3": {"summary": "An object in S3.", "value": {"s3_uri": _S3_URI}},
    "several": {"summary": "Two images.", "value": {"items": [{"image": _PIXEL_PNG}, {"s3_uri": _S3_URI}]}},
}
ANSWERS = {
    "one": {"summary": "One image.", "value": _answer(_PREDICTION)},
    "explained": {
        "summary": "One image, with `explain=true`.",
        "value": _answer(_PREDICTION | {"explanation": _EXPLANATION}),
    },
    "several": {
        "summary": "A form with two files. The second one is empty.",
        "value": _answer(
            _PREDICTION | {"filename": "first.jpg"},
            {
                "index": 1,
                "filename": "second.jpg",
                "error": problem_of(EmptyInput(PREDICTIONS_DETAILS[EmptyInput]), _REQUEST_ID),
            },
        ),
    },
}
UPLOAD_REQUESTS = {"jpeg": {"summary": "A JPEG file.", "value": {"content_type": "image/jpeg"}}}
UPLOAD = {
    "url": "https://my-bucket.s3.amazonaws.com/",
    "fields": {
        "Content-Type": "image/jpeg",
        "key": _KEY,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20261126/us-east-1/s3/aws4_request",
        "x-amz-date": "20261126T120000Z",
        "policy": "eyJleHBpcmF0aW9uIjogIjIwMjYtMTEtMjZUMTI6MDU6MDBaIn0=",
        "x-amz-signature": _SHA256,
    },
    "s3_uri": _S3_URI,
    "max_bytes": 33554432,
    "expires_in_s": 300,
}


def problem_example(kind: Kind, detail: str) -> dict[str, Any]:
    """A problem of this kind, as an entry of `examples`."""
    return {"summary": kind.title, "value": problem(kind, detail, _REQUEST_ID)}
