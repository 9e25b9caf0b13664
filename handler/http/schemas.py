"""Requests and answers as types, for the OpenAPI document alone: nothing is validated with these while serving. Tests
validate real answers with them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypeAliasType

from handler.http.multipart import LONGEST_NAME
from handler.http.requests import RAW

Fraction = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]

# Schemas of their own, so that `handler.http.description` can give them the labels of a bundle.
Label = TypeAliasType("Label", Annotated[str, Field(description="A class name of the model.")])
ByLabel = TypeAliasType("ByLabel", Annotated[dict[str, Fraction], Field(description="A number for each label.")])
Threshold = TypeAliasType(
    "Threshold",
    Annotated[
        Fraction | None,
        Field(
            description="The positive one of two labels is given from this probability on. Null with more than two "
            "labels: the most probable one is given."
        ),
    ],
)


def _simplify(schema: dict[str, Any]) -> None:
    """Remove what code generators would repeat: the titles of fields, which are their names again, and the default of
    fields that can be absent, but are never null."""
    for field in schema["properties"].values():
        field.pop("title", None)
        if "default" in field and field["default"] is None:
            del field["default"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=_simplify)


class Problem(Strict):
    """RFC 9457 problem details."""

    type: str = Field(
        description="Names the sort of problem, for programs.", examples=["urn:problem-type:xray:not-an-xray"]
    )
    title: str = Field(description="Names the sort of problem, for people.")
    status: int | SkipJsonSchema[None] = Field(
        default=None, ge=400, le=599, description="The HTTP status. Problems of API Gateway do not repeat it."
    )
    detail: str = Field(description="What is wrong with this very request and what to do about it.")
    request_id: str = Field(description="What the service's log calls this request.")


class ModelIdentity(Strict):
    """The model that answered."""

    name: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the ONNX file.")


class Explanation(Strict):
    """An occlusion map: how much each region of the image adds to the log odds of a label."""

    label: Label = Field(
        description="The label that `map` is about: the positive one of two, even if the prediction is the other one, "
        "or the most probable one of more."
    )
    map: list[list[float]] = Field(
        description="Rows of numbers, top to bottom, over the whole image: by how many nats the log odds of `label` "
        "fall if the region is blurred. Numbers of different images can be compared."
    )
    floor: float = Field(description="Nats. The overlay shows nothing below this.")
    full: float = Field(description="Nats. The overlay has its strongest colour from this on.")
    overlay: str = Field(
        description="PNG in base64: a heat map without the image, transparent below `floor`. Stretch it "
        "over the original image.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )


class Timings(Strict):
    """How long the parts of the work took."""

    decode_ms: Milliseconds
    inference_ms: Milliseconds


class ImageWarning(Strict):
    """What makes an answer less reliable."""

    code: str = Field(description="For programs.", examples=["unlike_training", "mirrored", "grey_range", "forced"])
    detail: str = Field(description="For people.")


Index = Annotated[int, Field(ge=0, description="Position of the image in the request, from 0.")]
Filename = Annotated[
    str,
    Field(
        max_length=LONGEST_NAME,
        description="Name of the file, if the form has one: printable characters, without folders.",
    ),
]


class Prediction(Strict):
    """The result for one image."""

    index: Index
    filename: Filename | SkipJsonSchema[None] = None
    label: Label
    probabilities: ByLabel = Field(description="By label, calibrated; they sum to 1.")
    prevalence: ByLabel = Field(description="The share of each class that the probabilities assume.")
    threshold: Threshold
    prediction_set: list[Label] = Field(
        description="The labels that cannot be excluded at the model's `set_coverage`. It can be empty."
    )
    uncertain: bool = Field(description="The prediction set is not `label` alone: have the image read.")
    warnings: list[ImageWarning] = Field(description="What makes this answer less reliable; empty if nothing does.")
    distance: float = Field(
        ge=0,
        description="How far the image is from the X-rays that the network knows; see `ood_threshold` of the model.",
    )
    timings: Timings
    explanation: Explanation | SkipJsonSchema[None] = Field(default=None, description="Only with `explain=true`.")
    preview: str | SkipJsonSchema[None] = Field(
        default=None,
        description="Only with `preview=true`: what the network saw, as a greyscale PNG in base64. It is a square of "
        "`input.size` pixels of the model, without the uniform frame of the image.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )


class Failure(Strict):
    """Takes the place of a prediction if one of several images cannot be scored."""

    index: Index
    filename: Filename | SkipJsonSchema[None] = None
    error: Problem


class Answer(Strict):
    """One prediction or one failure for each image."""

    model: ModelIdentity
    request_id: str
    predictions: list[Prediction | Failure] = Field(min_length=1, description="In the order of the images.")


class InputLimits(Strict):
    """What the service takes."""

    size: int
    formats: list[str]
    max_pixels: int
    max_body_bytes: int
    max_items: int
    uploads: bool


class PredictiveValues(Strict):
    """What a label is worth at one prevalence of the positive class."""

    prevalence: Fraction
    positive_predictive_value: Fraction
    negative_predictive_value: Fraction


class LocalCalibration(Strict):
    """A calibration with images of the place of this deployment."""

    images: dict[str, int] = Field(description="Number of images by label.")
    measured: dict[str, object] = Field(description="Cross-validated results before and after.")


class ModelCard(ModelIdentity):
    """What the model is, what it was measured on, and what it is for."""

    title: str = Field(description="What the model reads from what, for people.")
    contract_version: int
    labels: list[Label] = Field(description="In the order of the network's outputs.")
    positive_label: Label | None = Field(description="The second of two labels; null with more.")
    threshold: Threshold
    set_thresholds: ByLabel = Field(description="By label: from this probability on it is in the prediction set.")
    set_coverage: Fraction = Field(
        description="Share of the images of each class whose prediction set contains that class, measured on "
        "validation images."
    )
    prevalence: ByLabel = Field(description="The share of each class that the probabilities of this service assume.")
    predictive_values: list[PredictiveValues] = Field(description="Of two labels, at several prevalences.")
    calibration: LocalCalibration | None = Field(description="Null: the bundle's own.")
    temperature: float
    ood_threshold: float
    unlike_threshold: float
    input: InputLimits
    metrics: dict[str, object] = Field(description="Measured results by split.")
    intended_use: str
    limits: list[str]
    source: str = Field(description="Name of the training data.")
    license: str = Field(description="SPDX identifier of the licence of the weights.")
    disclaimer: str


class FilesForm(Strict):
    """A form with one or several files."""

    file: list[bytes] = Field(min_length=1, description="One part for each image. All parts are named `file`.")


class Base64Item(Strict):
    """An image in JSON."""

    image: str = Field(
        description="The bytes of an image in base64, standard alphabet with padding.",
        json_schema_extra={"contentEncoding": "base64"},
    )


class S3Item(Strict):
    """An image in S3."""

    s3_uri: str = Field(
        description="s3://BUCKET/KEY of an object in a bucket that this deployment reads, or of an upload."
    )


class Items(Strict):
    """Several images in JSON."""

    items: list[Base64Item | S3Item] = Field(min_length=1)


class UploadRequest(Strict):
    """What will be uploaded."""

    content_type: str | SkipJsonSchema[None] = Field(
        default=None,
        description=f"Type of the file that will be uploaded; {RAW[-1]} if it is not given.",
        json_schema_extra={"enum": list(RAW)},
    )


class Upload(Strict):
    """A presigned S3 POST: send `fields`, then the file as `file`, to `url` as a multipart form."""

    url: str
    fields: dict[str, str]
    s3_uri: str = Field(description="What to send to POST /v1/predictions once the file is there.")
    max_bytes: int
    expires_in_s: int


class Health(Strict):
    """The state of the service."""

    status: Literal["ok", "ready"]
