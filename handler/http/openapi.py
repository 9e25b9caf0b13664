"""What the OpenAPI document says beyond the code: requests, answers and problems, each with an example.

It holds for every bundle and address. `handler.http.description` adds the labels of the bundle and the prefix of the
service.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from handler.http.examples import (
    ANSWERS,
    PREDICTIONS_DETAILS,
    READY_DETAILS,
    REQUESTS,
    STATIC_DETAILS,
    UPLOAD,
    UPLOAD_REQUESTS,
    UPLOADS_DETAILS,
    Details,
    problem_example,
)
from handler.http.multipart import FILE_PART
from handler.http.problems import KINDS, MEDIA_TYPE
from handler.http.requests import IMAGES, JSON, MULTIPART, RAW
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
"""Semantic version of the interface.

The first number is that of the paths (`/v1`). It changes when a documented request becomes invalid, or when a
documented field changes or disappears. The second one changes when something is added, such as a field. So clients must
ignore fields that they do not know.
"""

ABOUT = (
    "Send chest X-rays, get calibrated probabilities of the model's labels. **This is not a medical device.**\n\n"
    "Errors are problem details (RFC 9457). Several images in one request are scored one by one, in order: an image "
    "that cannot be scored has an error in its place, and the others are scored. Unknown query parameters are refused. "
    "Answers can get new fields: ignore those that you do not know.\n\n"
    "In deployments that authenticate callers, API Gateway can also answer 401, 403 and 429."
)
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
_SECURITY: list[dict[str, list[str]]] = [{}, {"api_key": []}, {"aws_sigv4": []}, {"jwt": []}]
"""Which one holds depends on the deployment, and the service itself checks none of them."""

_REFERENCE = "#/components/schemas/{model}"
_BODIES = (FilesForm, Base64Item, S3Item, Items, UploadRequest)


def _schema(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _problems(details: Details) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a path for these errors, with an example for each."""
    found: dict[int | str, dict[str, Any]] = {}
    kinds = {KINDS[error]: detail for error, detail in details.items()}
    for status in sorted({kind.status for kind in kinds}):
        alike = {kind: detail for kind, detail in kinds.items() if kind.status == status}
        examples = {kind.slug: problem_example(kind, detail) for kind, detail in alike.items()}
        content = {MEDIA_TYPE: {"schema": _schema(Problem), "examples": examples}}
        found[status] = {"description": "; ".join(kind.title for kind in alike), "content": content}
        if status == 503:
            header = {"description": "Seconds to wait.", "required": True, "schema": {"type": "string"}}
            found[status]["headers"] = {"Retry-After": header}
    return found


def _body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {"requestBody": {"required": required, "content": content}}


_WAYS_IN: dict[str, Any] = {
    MULTIPART: {
        "schema": _schema(FilesForm),
        "encoding": {FILE_PART: {"contentType": ", ".join(RAW)}},
    },
    JSON: {
        "schema": {"anyOf": [_schema(Base64Item), _schema(S3Item), _schema(Items)]},
        "examples": REQUESTS,
    },
    # One for all of `RAW`: generators make a body of each, or know none but this one.
    RAW[-1]: {"schema": {"type": "string", "format": "binary"}},
}


def _flag(name: str, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "boolean", "default": False}}


_PREDICTIONS: dict[str, Any] = {
    "operation_id": "predict",
    "tags": ["predictions"],
    "summary": "Score one or several images",
    "description": "Send a form with one or several parts named `file`, or JSON with base64 or an address in S3, or "
    f"the bytes of one file. The content type of these bytes is `{RAW[-1]}` or that of the image: "
    f"{', '.join(f'`{media_type}`' for media_type in IMAGES)}. The format is always detected from the content.",
    "openapi_extra": _body(_WAYS_IN)
    | {
        "parameters": [
            _flag("explain", "Add an occlusion map to each prediction."),
            _flag("force", "Also score images that do not look like a chest X-ray."),
            _flag("preview", "Add what the network saw of each image, for clients that cannot show DICOM."),
        ]
    },
    "response_description": "One prediction or one error for each image, in the order of the request.",
    "responses": {
        200: {
            "model": Answer,
            "content": {JSON: {"examples": ANSWERS}},
        },
        **_problems(PREDICTIONS_DETAILS),
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
    "openapi_extra": _body({JSON: {"schema": _schema(UploadRequest), "examples": UPLOAD_REQUESTS}}, required=False),
    "response_description": "The form.",
    "responses": {
        201: {
            "model": Upload,
            "content": {JSON: {"example": UPLOAD}},
        },
        **_problems(UPLOADS_DETAILS),
    },
}
_MODEL: dict[str, Any] = {
    "operation_id": "get_model",
    "tags": ["model"],
    "summary": "Get the model card",
    "description": "Labels, thresholds, measured results, intended use and limits.",
    "response_description": "The model card.",
    "responses": {200: {"model": ModelCard}, **_problems(STATIC_DETAILS)},
}
_HEALTH: dict[str, Any] = {
    "operation_id": "health",
    "tags": ["status"],
    "summary": "Check that the process runs",
    "response_description": "The process runs.",
    "responses": {
        200: {"model": Health, "content": {JSON: {"example": {"status": "ok"}}}},
        **_problems(STATIC_DETAILS),
    },
}
_READY: dict[str, Any] = {
    "operation_id": "ready",
    "tags": ["status"],
    "summary": "Check that the network computes",
    "description": "Scores a blank image.",
    "response_description": "The network computes.",
    "responses": {
        200: {"model": Health, "content": {JSON: {"example": {"status": "ready"}}}},
        **_problems(READY_DETAILS),
    },
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
