"""What the OpenAPI document says beyond the code: requests, answers and problems, each with an example.

It holds for every bundle and address. `handler.http.description` adds the labels of the bundle and the prefix of the
service.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from handler.errors import EmptyInput
from handler.http.multipart import FILE_PART
from handler.http.problems import KINDS, MEDIA_TYPE, problem, problem_of
from handler.http.requests import JSON, MULTIPART, RAW
from handler.http.schemas import (
    Answer,
    Base64Item,
    FilesForm,
    Health,
    Items,
    ModelCard,
    Problem,
    S3Item,
    Upload,
    UploadRequest,
)

TITLE = "Classification of chest X-rays"
API_VERSION = "1.1.0"
"""Semantic version of the interface. The first number is that of the paths (`/v1`) and changes when a documented request
is no longer valid, or when a documented field changes or disappears. The second one changes when something is added.
Clients must ignore fields that they do not know."""

ABOUT = (
    "Send chest X-rays, get calibrated probabilities of the model's labels. **This is no medical device.**\n\n"
    "Errors are problem details (RFC 9457). Several images in one request are scored one by one, in order: an image "
    "that cannot be scored has an error in its place, and the others are scored. Unknown query parameters are refused. "
    "Answers can get new fields: ignore those that you do not know."
)
LICENSE = {"name": "MIT", "identifier": "MIT"}
SERVERS: list[dict[str, Any]] = [{"url": "/", "description": "The service that sent this document."}]
TAGS = [
    {"name": "predictions", "description": "Score images."},
    {"name": "uploads", "description": "Send files that are too large for a request to S3."},
    {"name": "model", "description": "What the model is, and how well it does."},
    {"name": "status", "description": "For load balancers and monitoring."},
]

_SECURITY_SCHEMES = {
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "A key of API Gateway, in deployments with `AuthMode=API_KEY`.",
    },
    "aws_sigv4": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "x-amazon-apigateway-authtype": "awsSigv4",
        "description": "AWS Signature Version 4 of the request, in deployments with `AuthMode=AWS_IAM`. The service "
        "name is `execute-api` for API Gateway, and `lambda` for a function URL. Use a client that signs, such as "
        "`curl --aws-sigv4`.",
    },
    "jwt": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An ID token of the Cognito user pool, in deployments with `AuthMode=JWT`.",
    },
}
_SECURITY: list[dict[str, list[str]]] = [{}, *({name: []} for name in _SECURITY_SCHEMES)]
"""Which one holds depends on the deployment, and the service itself checks none of them."""

_REQUEST_ID = "5f2c8c1e9b7d4a6f8e3d2c1b0a9f8e7d"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_PIXEL_PNG = (  # one grey pixel, so that the example can be sent as it stands: it is no X-ray, and refused as such
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
_BINARY = {"type": "string", "format": "binary"}
_REFERENCE = "#/components/schemas/{model}"
_BODIES = (FilesForm, Base64Item, S3Item, Items, UploadRequest)

_PREDICTION = {
    "index": 0,
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
        content = {MEDIA_TYPE: {"schema": _schema(Problem), "examples": examples}}
        found[status] = {"description": "; ".join(kind.title for kind in kinds), "content": content}
        if status == 503:
            header = {"description": "Seconds to wait.", "required": True, "schema": {"type": "string"}}
            found[status]["headers"] = {"Retry-After": header}
    return found


def _body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": content}}


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


_WAYS_IN: dict[str, Any] = {
    MULTIPART: {
        "schema": _schema(FilesForm),
        "encoding": {FILE_PART: {"contentType": ", ".join(RAW)}},
    },
    JSON: {
        "schema": {"anyOf": [_schema(Base64Item), _schema(S3Item), _schema(Items)]},
        "examples": {
            "base64": {
                "summary": "One grey pixel. It is refused without `force`, because it is no X-ray.",
                "value": {"image": _PIXEL_PNG},
            },
            "s3": {"summary": "An object in S3.", "value": {"s3_uri": "s3://my-bucket/uploads/1c9d"}},
            "several": {
                "summary": "Two images.",
                "value": {"items": [{"image": _PIXEL_PNG}, {"s3_uri": "s3://my-bucket/uploads/1c9d"}]},
            },
        },
    },
    **{media_type: {"schema": _BINARY} for media_type in RAW},
}


def _flag(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "boolean", "default": False}}


_PREDICTIONS: dict[str, Any] = {
    "operation_id": "predict",
    "tags": ["predictions"],
    "summary": "Score one or several images",
    "description": "Send a form with one or several parts named `file`, or the bytes of one file, or JSON with base64 "
    "or an address in S3. The format of an image is detected from its content, not from its content type.",
    "openapi_extra": _body(_WAYS_IN)
    | {
        "parameters": [
            _flag("explain", "Add an occlusion map to each prediction."),
            _flag("force", "Also score images that do not look like a chest X-ray."),
        ]
    },
    "response_description": "One prediction or one error for each image, in the order of the request.",
    "responses": {
        200: {
            "model": Answer,
            "content": {
                JSON: {
                    "examples": {
                        "one": {"summary": "One image.", "value": _answer(_PREDICTION)},
                        "explained": {
                            "summary": "With `explain=true`.",
                            "value": _answer(_PREDICTION | {"explanation": _EXPLANATION}),
                        },
                        "several": {
                            "summary": "A form with two files, the second one is empty.",
                            "value": _answer(
                                _PREDICTION | {"filename": "first.jpg"},
                                {
                                    "index": 1,
                                    "filename": "second.jpg",
                                    "error": problem_of(EmptyInput("the file is empty"), _REQUEST_ID),
                                },
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
    "operation_id": "create_upload",
    "tags": ["uploads"],
    "summary": "Get a form that uploads one file to S3",
    "description": "For files that are too large for a request. The form is valid for a short time, for one file of "
    "the given type. Without a body the type is `application/octet-stream`. Only deployments with an upload bucket "
    "have this, others answer 404.",
    "openapi_extra": _body(
        {
            JSON: {
                "schema": _schema(UploadRequest),
                "examples": {"jpeg": {"value": {"content_type": "image/jpeg"}}},
            }
        },
        required=False,
    ),
    "response_description": "The form.",
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
    "operation_id": "get_model",
    "tags": ["model"],
    "summary": "Get the model card",
    "description": "Labels, thresholds, measured results, intended use and limits.",
    "response_description": "The model card.",
    "responses": {200: {"model": ModelCard}, **_problems(400)},
}
_HEALTH: dict[str, Any] = {
    "operation_id": "health",
    "tags": ["status"],
    "summary": "Check that the process runs",
    "response_description": "The process runs.",
    "responses": {200: {"model": Health, "content": {JSON: {"example": {"status": "ok"}}}}, **_problems(400)},
}
_READY: dict[str, Any] = {
    "operation_id": "ready",
    "tags": ["status"],
    "summary": "Check that the network computes",
    "description": "Scores a blank image.",
    "response_description": "The network computes.",
    "responses": {200: {"model": Health, "content": {JSON: {"example": {"status": "ready"}}}}, **_problems(400, 503)},
}

PATHS: dict[str, dict[str, Any]] = {
    "/v1/predictions": _PREDICTIONS,
    "/v1/uploads": _UPLOADS,
    "/v1/model": _MODEL,
    "/healthz": _HEALTH,
    "/readyz": _READY,
}
"""What FastAPI is told of each path; what is not here, such as the page, is not part of the interface."""


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add to the document that FastAPI generates what FastAPI cannot know: the schemas of bodies that it does not read,
    and how deployments authenticate callers."""
    _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REFERENCE)
    schemas = document["components"]["schemas"] | bodies["$defs"]
    components = {"schemas": dict(sorted(schemas.items())), "securitySchemes": _SECURITY_SCHEMES}
    return document | {"components": components, "security": _SECURITY}
