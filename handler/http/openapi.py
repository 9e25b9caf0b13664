"""What the OpenAPI document says beyond the code: requests, answers and problems, each with an example.

It holds for every bundle. `handler.http.description` adds the labels of the bundle that is served.
"""

from typing import Any

from handler.http.problems import KINDS, MEDIA_TYPE, problem
from handler.http.requests import IMAGES, JSON, MULTIPART, RAW
from handler.http.schemas import Answer, Base64Item, Health, ModelCard, S3Item, Upload, UploadRequest

TITLE = "Classification of chest X-rays"
API_VERSION = "1.0.0"
ABOUT = (
    "Send chest X-rays, get calibrated probabilities of the model's labels. **This is no medical device.** Errors are "
    "problem details (RFC 9457). Several images in one request are answered one by one, in order: what is wrong with "
    "one stands in its place and does not spoil the others."
)

_REQUEST_ID = "5f2c8c1e9b7d4a6f8e3d2c1b0a9f8e7d"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_PIXEL_PNG = (  # one grey pixel, so that the example can be sent as it stands: it is no X-ray, and refused as such
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
_BINARY = {"type": "string", "format": "binary"}

_PREDICTION = {
    "label": "B",
    "probabilities": {"A": 0.03, "B": 0.97},
    "prevalence": {"A": 0.5, "B": 0.5},
    "threshold": 0.5,
    "prediction_set": ["B"],
    "uncertain": False,
    "warnings": [],
    "distance": 11.2,
    "timings": {"decode_ms": 9.1, "inference_ms": 4.7},
}
_EXPLANATION = {"label": "B", "map": [[-0.2, 0.1], [0.7, 1.2]], "floor": 0.3, "full": 1.0, "overlay": _PIXEL_PNG}


def _answer(*predictions: dict[str, Any]) -> dict[str, Any]:
    model = {"name": "chest-xray", "version": "1.0.0", "sha256": _SHA256}
    return {"model": model, "request_id": _REQUEST_ID, "predictions": list(predictions)}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a path for these statuses, with an example for each kind of problem."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        kinds = [kind for kind in KINDS.values() if kind.status == status]
        examples = {
            kind.slug: {
                "value": problem(kind, "What is wrong with this request, and what to do about it.", _REQUEST_ID)
            }
            for kind in kinds
        }
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}}
        found[status] = {"description": "; ".join(kind.title for kind in kinds), "content": content}
        if status == 503:
            header = {"description": "Seconds to wait.", "required": True, "schema": {"type": "string"}}
            found[status]["headers"] = {"Retry-After": header}
    return found


def _body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": content}}


def _json_item(model: type[Base64Item] | type[S3Item]) -> dict[str, Any]:
    return model.model_json_schema()


_ITEM = {"oneOf": [_json_item(Base64Item), _json_item(S3Item)]}
_ITEMS = {
    "title": "Items",
    "type": "object",
    "properties": {"items": {"type": "array", "minItems": 1, "items": _ITEM}},
    "required": ["items"],
    "additionalProperties": False,
}
_WAYS_IN: dict[str, Any] = {
    MULTIPART: {
        "schema": {
            "type": "object",
            "properties": {"file": {"type": "array", "minItems": 1, "items": _BINARY}},
            "required": ["file"],
            "additionalProperties": False,
        }
    },
    JSON: {
        "schema": {"oneOf": [*_ITEM["oneOf"], _ITEMS]},
        "examples": {
            "base64": {"value": {"image": _PIXEL_PNG}},
            "s3": {"value": {"s3_uri": "s3://my-bucket/uploads/1c9d"}},
            "several": {"value": {"items": [{"image": _PIXEL_PNG}, {"s3_uri": "s3://my-bucket/uploads/1c9d"}]}},
        },
    },
    **{media_type: {"schema": _BINARY} for media_type in RAW},
}


def _flag(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "boolean", "default": False}}


_PREDICTIONS: dict[str, Any] = {
    "summary": "Score one or several images",
    "description": "As a form with one or several parts called `file`, as the bare bytes of one file, or as JSON with "
    "the file in base64 or its address in S3. Of which kind a file is, is read off its content.",
    "openapi_extra": _body(_WAYS_IN)
    | {
        "parameters": [
            _flag("explain", "Add an occlusion map."),
            _flag("force", "Score images that do not look like a chest X-ray as well."),
            _flag("preview", "Add what the network saw of each image, for clients that cannot show DICOM."),
        ]
    },
    "response_description": "One prediction, or one error, for each image.",
    "responses": {
        200: {
            "model": Answer,
            "content": {
                JSON: {
                    "examples": {
                        "one": {"value": _answer(_PREDICTION)},
                        "explained": {"value": _answer(_PREDICTION | {"explanation": _EXPLANATION})},
                        "several": {
                            "summary": "The second of two files is empty.",
                            "value": _answer(
                                _PREDICTION,
                                {"error": problem(next(iter(KINDS.values())), "the file is empty", _REQUEST_ID)},
                            ),
                        },
                    }
                }
            },
        },
        **_problems(400, 403, 404, 408, 409, 413, 415, 422, 503),
    },
}
_UPLOADS: dict[str, Any] = {
    "status_code": 201,
    "summary": "Get a form to upload one large file with",
    "description": "For files beyond the limit on request bodies. The form is valid for a short time and for one file "
    "of the type that was named.",
    "openapi_extra": _body(
        {
            JSON: {
                "schema": UploadRequest.model_json_schema()
                | {"properties": {"content_type": {"type": "string", "enum": [*IMAGES, RAW[-1]]}}},
                "examples": {"jpeg": {"value": {"content_type": "image/jpeg"}}},
            }
        },
        required=False,
    ),
    "responses": {
        201: {
            "model": Upload,
            "content": {
                JSON: {
                    "example": {
                        "url": "https://my-bucket.s3.amazonaws.com/",
                        "fields": {
                            "Content-Type": "image/jpeg",
                            "key": "uploads/1c9d",
                            "policy": "eyJl...",
                            "...": "...",
                        },
                        "s3_uri": "s3://my-bucket/uploads/1c9d",
                        "max_bytes": 33554432,
                        "expires_in_s": 300,
                    }
                }
            },
        },
        **_problems(400, 404, 408, 413, 415, 503),
    },
}
_MODEL: dict[str, Any] = {
    "summary": "The model's card: contract, measured results, intended use and limits",
    "responses": {200: {"model": ModelCard}},
}
_HEALTH: dict[str, Any] = {"summary": "Is the process there?", "responses": {200: {"model": Health}}}
_READY: dict[str, Any] = {
    "summary": "Does the network answer?",
    "responses": {200: {"model": Health}, **_problems(503)},
}

PATHS: dict[str, dict[str, Any]] = {
    "/v1/predictions": _PREDICTIONS,
    "/v1/uploads": _UPLOADS,
    "/v1/model": _MODEL,
    "/healthz": _HEALTH,
    "/readyz": _READY,
}
"""What FastAPI is told of each path; what is not here, such as the page, is not part of the interface."""
