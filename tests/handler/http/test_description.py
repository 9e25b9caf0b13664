"""The served OpenAPI document has the labels of its bundle, and the answers of the bundle match the document."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from handler.classifier import Classifier
from handler.http.app import create_app
from handler.http.description import STATIC
from handler.http.endpoints import create_service
from handler.imaging.decode import decode
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import jpeg
from tests.tiny_bundle import write_tiny_bundle

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: install the extra `dev`")


@pytest.fixture(
    params=[("healthy", "ill"), ("NORMAL", "BACTERIA", "VIRUS"), ("1", "0", "a \N{EM DASH} b", "x" * 200)],
    ids=["two", "three", "four"],
)
def labels(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def predictor(tmp_path: Path, labels: tuple[str, ...]) -> Predictor:
    return Predictor(Classifier(write_tiny_bundle(tmp_path / "tiny", labels), threads=1), decode)


@pytest.fixture
def fronts(predictor: Predictor) -> list[ASGIApp]:
    return [create_app(Settings(), predictor), create_service(Settings(), predictor)]


def holds(value: Any, document: dict[str, Any], name: str) -> bool:
    """Assert that the value matches the schema of this name in the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def test_the_document_has_the_title_and_labels_of_the_bundle(fronts: list[ASGIApp], labels: tuple[str, ...]) -> None:
    first, second = (TestClient(front).get("/openapi.json") for front in fronts)

    assert first.content == second.content
    document = first.json()
    assert document["info"]["title"] == f"{', '.join(labels[:-1])} or {labels[-1]} from chest X-rays"
    schemas = document["components"]["schemas"]
    assert schemas["Label"]["enum"] == list(labels)
    assert list(schemas["ByLabel"]["properties"]) == list(labels)
    assert [option["type"] for option in schemas["Threshold"]["anyOf"]] == ["number" if len(labels) == 2 else "null"]


def test_answers_card_and_examples_match_the_document(fronts: list[ASGIApp], labels: tuple[str, ...]) -> None:
    client = TestClient(fronts[1])
    document = client.get("/openapi.json").json()
    answer = client.post("/v1/predictions?explain=true", content=jpeg()).json()
    card = client.get("/v1/model").json()

    assert holds(answer, document, "Answer")
    assert holds(card, document, "ModelCard")
    ok = document["paths"]["/v1/predictions"]["post"]["responses"]["200"]["content"]["application/json"]
    examples = [example["value"] for example in ok["examples"].values()]
    assert len(examples) == 3
    for example in examples:
        assert holds(example, document, "Answer")
        assert example["model"] == {name: card[name] for name in ("name", "version", "sha256")}
        prediction = example["predictions"][0]
        assert prediction["threshold"] == card["threshold"]
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)
        assert prediction["label"] == max(labels, key=prediction["probabilities"].__getitem__)
        assert prediction["prediction_set"] == [prediction["label"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "other"},
        {"prediction_set": ["other"]},
        {"probabilities": {"other": 1.0}},
        {"probabilities": {}},
        {"threshold": "0.5"},
    ],
)
def test_what_the_bundle_cannot_answer_is_not_in_the_document(fronts: list[ASGIApp], changes: dict[str, Any]) -> None:
    client = TestClient(fronts[0])
    document = client.get("/openapi.json").json()
    [prediction] = client.post("/v1/predictions", content=jpeg()).json()["predictions"]

    assert holds(prediction, document, "Prediction")
    assert not holds(prediction | changes, document, "Prediction")


def test_the_static_document_names_no_class_and_no_disease() -> None:
    text = json.dumps(json.loads(STATIC.read_bytes())).casefold()

    assert not [name for name in ("pneumonia", "normal", "bacteria", "virus", "covid") if name in text]
