"""POST /v1/predictions: all forms of requests, and their answers."""

import base64
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from handler.classifier import Classifier
from handler.explain import FLOOR, overlay
from handler.http.schemas import Answer
from handler.imaging.decode import decode
from handler.occlusion import log_odds, occlusion_map
from handler.scoring import prediction_of
from tests.handler.images import bomb, dicom, encode, jpeg, noise, phantom, png

PATH = "/v1/predictions?force=true"
"""What the tests draw is no X-ray, and most of them are not about that."""


def answered(response) -> list[dict]:
    assert response.status_code == 200, response.text
    TypeAdapter(Answer).validate_json(response.content, strict=True)
    return response.json()["predictions"]


def test_a_form_with_one_file_is_scored(client: TestClient, classifier: Classifier) -> None:
    response = client.post(PATH, files={"file": ("chest.jpg", jpeg(), "image/jpeg")})

    [prediction] = answered(response)
    contract = classifier.contract
    assert prediction["label"] in contract.labels
    assert prediction["threshold"] == contract.threshold
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    positive = prediction["probabilities"][contract.positive]
    assert prediction["label"] == contract.labels[positive >= contract.threshold]
    assert prediction["label"] in prediction["prediction_set"]
    assert prediction["uncertain"] == (len(prediction["prediction_set"]) == 2)
    assert prediction["timings"].keys() == {"decode_ms", "inference_ms"}
    assert "explanation" not in prediction
    body = response.json()
    assert body["model"] == {"name": contract.name, "version": contract.version, "sha256": contract.sha256}
    assert body["request_id"] == response.headers["x-request-id"]


def test_an_image_is_uncertain_if_only_another_label_than_the_most_probable_one_remains(classifier: Classifier) -> None:
    contract = dataclasses.replace(
        classifier.contract, labels=("A", "B", "C"), threshold=None, set_thresholds=(0.6, 0.3, 0.9)
    )

    def decided(*probabilities: float) -> tuple[str, list[str], bool]:
        prediction = prediction_of(contract, np.array(probabilities), np.full(3, 1 / 3), [], distance=1.0, timings={})
        return prediction["label"], prediction["prediction_set"], prediction["uncertain"]

    assert decided(0.7, 0.2, 0.1) == ("A", ["A"], False)
    assert decided(0.65, 0.35, 0.0) == ("A", ["A", "B"], True)
    assert decided(0.5, 0.4, 0.1) == ("A", ["B"], True)
    assert decided(0.1, 0.2, 0.7) == ("C", [], True)


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "image/png", "application/dicom", "application/octet-stream", "IMAGE/JPEG; x=y", None],
)
def test_a_bare_body_is_scored_with_any_content_type(client: TestClient, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}

    [prediction] = answered(client.post(PATH, content=jpeg(), headers=headers))

    [same] = answered(client.post(PATH, files={"file": jpeg()}))
    assert prediction["probabilities"] == same["probabilities"]


def test_base64_in_json_is_scored(client: TestClient) -> None:
    [prediction] = answered(client.post(PATH, json={"image": base64.b64encode(jpeg()).decode()}))

    [same] = answered(client.post(PATH, content=jpeg()))
    assert prediction["probabilities"] == same["probabilities"]


def test_a_dicom_file_is_scored_like_the_image_in_it(client: TestClient) -> None:
    shades = np.asarray(phantom())

    [prediction] = answered(client.post(PATH, content=dicom(shades)))

    [same] = answered(client.post(PATH, content=png()))
    assert prediction["probabilities"] == same["probabilities"]


def test_several_files_are_answered_in_order_and_a_bad_one_in_its_place(client: TestClient) -> None:
    # GIVEN five files of which three cannot be scored
    files = [jpeg(), b"", png(phantom(seed=7)), b"no image", bomb()]

    predictions = answered(client.post(PATH, files=[("file", (f"{i}.jpg", data)) for i, data in enumerate(files)]))

    statuses = [prediction.get("error", {}).get("status") for prediction in predictions]
    assert statuses == [None, 400, None, 415, 413]
    assert [(each["index"], each["filename"]) for each in predictions] == [(i, f"{i}.jpg") for i in range(5)]
    [alone] = answered(client.post(PATH, content=files[2]))
    assert predictions[2]["probabilities"] == alone["probabilities"]


def test_several_items_of_json_fail_one_by_one(client: TestClient) -> None:
    items = [
        {"image": base64.b64encode(jpeg()).decode()},
        {"image": "%%%"},
        {"s3_uri": "s3://other/x"},
        {"s3_uri": "x"},
    ]

    predictions = answered(client.post(PATH, json={"items": items}))

    statuses = [prediction.get("error", {}).get("status") for prediction in predictions]
    assert statuses == [None, 400, 403, 400]
    assert [prediction["index"] for prediction in predictions] == [0, 1, 2, 3]
    assert not [prediction for prediction in predictions if "filename" in prediction]


def named(client: TestClient, *names: bytes) -> list[str | None]:
    """The names in the answer to a form whose files have these names as they stand. The files are empty."""
    parts = [b'--B\r\ncontent-disposition: form-data; name="file"; filename="%s"\r\n\r\n\r\n' % name for name in names]
    headers = {"content-type": "multipart/form-data; boundary=B"}
    response = client.post(PATH, content=b"".join(parts) + b"--B--\r\n", headers=headers)
    return [prediction.get("filename") for prediction in answered(response)]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("Thorax Übersicht.dcm", "Thorax Übersicht.dcm"),
        ("ward/3/a.png", "a.png"),
        ("C:\\ward\\a.png", "a.png"),
        ("../../", None),
        ("", None),
        ("a\tb\x00c\x7f\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe", "abcgnp.exe"),
        ("x" * 300 + ".png", "x" * 255),
    ],
)
def test_a_file_name_comes_back_as_bounded_text(client: TestClient, sent: str, answered: str | None) -> None:
    assert named(client, sent.encode(), b"other.png") == [answered, "other.png"]


@given(st.binary(max_size=80).filter(lambda name: not set(name) & set(b'\r\n"')))
def test_any_file_name_comes_back_as_printable_text(app: FastAPI, sent: bytes) -> None:
    name, _ = named(TestClient(app), sent, b"other.png")

    assert name is None or (name.isprintable() and "/" not in name and 0 < len(name) <= 255)


def test_an_explanation_is_numbers_and_an_image(client: TestClient, classifier: Classifier) -> None:
    [prediction] = answered(client.post(f"{PATH}&explain=true", content=jpeg()))

    explanation = prediction["explanation"]
    pixels = decode(jpeg(), classifier.contract.input_size)
    expected = occlusion_map(lambda images: log_odds(classifier.score(images).probabilities), pixels)
    np.testing.assert_allclose(explanation["map"], expected, atol=1e-3)
    assert explanation["label"] == classifier.contract.labels[1]
    overlay = Image.open(io.BytesIO(base64.b64decode(explanation["overlay"])))
    assert (overlay.format, overlay.mode) == ("PNG", "RGBA")
    assert overlay.size == (classifier.contract.input_size,) * 2


@pytest.mark.parametrize("data", [jpeg(), dicom()], ids=["jpeg", "dicom"])
def test_a_preview_is_what_the_network_saw(client: TestClient, classifier: Classifier, data: bytes) -> None:
    [prediction] = answered(client.post(f"{PATH}&preview=true", content=data))
    [usual] = answered(client.post(PATH, content=data))

    preview = Image.open(io.BytesIO(base64.b64decode(prediction["preview"])))
    assert (preview.format, preview.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(preview), decode(data, classifier.contract.input_size))
    assert "preview" not in usual


def test_an_overlay_shows_nothing_below_the_floor() -> None:
    faint, strong = (np.full((6, 6), value, np.float32) for value in (0.9 * FLOOR, 1.1 * FLOOR))

    opacities = [np.asarray(Image.open(io.BytesIO(overlay(found, 60))))[..., 3].max() for found in (faint, strong)]

    assert opacities[0] == 0
    assert opacities[1] > 0


def test_an_ood_image_is_refused_unless_forced(client: TestClient) -> None:
    refused = client.post("/v1/predictions", content=noise())

    assert refused.status_code == 422
    assert refused.json()["type"].endswith(":not-an-xray")
    assert "force=true" in refused.json()["detail"]
    assert len(answered(client.post(PATH, content=noise()))) == 1


def test_a_forced_answer_carries_a_warning(client: TestClient) -> None:
    [prediction] = answered(client.post(PATH, content=noise()))

    assert "forced" in codes(prediction)
    assert all(warning["detail"].endswith(".") for warning in prediction["warnings"])


@pytest.fixture(scope="module")
def training_xrays(xrays: Path) -> list[Image.Image]:
    """Two X-rays of each class."""
    folders = sorted((xrays / "train").iterdir())
    return [Image.open(file).convert("L") for folder in folders for file in sorted(folder.glob("*.jpeg"))[:2]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (ImageOps.mirror, "mirrored"),
        (ImageOps.flip, "flipped"),
        (ImageOps.invert, "inverted"),
        (lambda image: image.point(lambda grey: 90 + grey // 4), "grey_range"),
    ],
    ids=["mirrored", "flipped", "inverted", "low contrast"],
)
def test_a_changed_xray_gets_its_warning(
    client: TestClient, training_xrays: list[Image.Image], change: Callable[[Image.Image], Image.Image], code: str
) -> None:
    for image in training_xrays:
        [plain] = answered(client.post("/v1/predictions", content=encode(image, "PNG")))
        [changed] = answered(client.post(PATH, content=encode(change(image), "PNG")))

        assert plain["warnings"] == []
        assert code in codes(changed)


def codes(prediction: dict) -> list[str]:
    return [warning["code"] for warning in prediction["warnings"]]


def test_a_real_xray_is_accepted(client: TestClient, xray: bytes) -> None:
    [prediction] = answered(client.post("/v1/predictions", content=xray))

    assert 0 <= prediction["distance"] <= client.get("/v1/model").json()["ood_threshold"]


def test_an_answer_has_the_time_of_each_part(client: TestClient) -> None:
    large = encode(phantom(1200, 1000), "PNG")

    [prediction] = answered(client.post(PATH, content=large))

    assert prediction["timings"]["decode_ms"] > 1
