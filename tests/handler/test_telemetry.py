"""Logs and metrics as CloudWatch gets them: the standard output of a process that thinks it is in Lambda."""

import base64
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.contract import CONTRACT_FILE, EMBEDDED_BUNDLE, Contract
from handler.scoring import Prediction
from handler.settings import Settings
from handler.telemetry import Telemetry, label_metrics
from tests.handler.images import noise

EMBEDDED = EMBEDDED_BUNDLE / CONTRACT_FILE

MOST_BYTES = 700
"""Of all lines about one image."""

ACCESS_LOG_BYTES = 90
"""Of them the line that API Gateway adds: see `tests/infra/test_template.py`."""

CODE = """
import handler.lambda_entry as entry
from tests.handler.events import Context, load
for event in {events}:
    entry.lambda_handler(event, Context())
"""


def output_of(*events: str, **environment: str) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(events=f"[{', '.join(events)}]")],
        env={**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "xray", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def written() -> list[dict]:
    """Two images that are scored, one that is no image, one that is no X-ray."""
    text = "load('function_url', body='dGV4dA==')"
    unlike = f"load('function_url', body='{base64.b64encode(noise()).decode()}')"
    unforced = f"{unlike} | {{'rawQueryString': ''}}"
    return output_of("load('rest_api')", "load('http_api')", text, unforced)


def directive(line: dict) -> dict:
    [found] = line["_aws"]["CloudWatchMetrics"]
    return found


def test_every_request_has_one_line_that_is_log_and_metrics(written: list[dict]) -> None:
    assert [line["status"] for line in written] == [200, 200, 415, 422]
    assert [line.get("ColdStart") for line in written] == [1, None, None, None]
    assert [line.get("problems") for line in written] == [None, None, ["unsupported-format"], ["not-an-xray"]]
    assert {line["route"] for line in written} == {"/v1/predictions"}
    assert {line["request_id"] for line in written} == {"8476a536-e9f4-11e8-9739-2dfe598c3fcd"}
    assert {line["model_version"] for line in written} == {Contract.from_json(EMBEDDED.read_text()).version}


def test_a_line_is_short(written: list[dict]) -> None:
    cold, *warm = (len(json.dumps(line, separators=(",", ":"))) for line in written)
    assert cold <= MOST_BYTES
    assert max(warm) <= MOST_BYTES - ACCESS_LOG_BYTES


def test_metrics_are_embedded_as_cloudwatch_wants_them(written: list[dict]) -> None:
    first, second, failed, refused = written

    assert directive(first)["Namespace"] == "XrayInference"
    assert directive(first)["Dimensions"] == [["model_version"]]
    names = {metric["Name"] for metric in directive(first)["Metrics"]}
    assert {"TotalMs", "ColdStart", "Predictions", "Score", "Distance", "DecodeMs", "InferenceMs"} < names
    assert len({"Predicted_NORMAL", "Predicted_PNEUMONIA"} & names) == 1
    for line in written:
        values = [line[metric["Name"]] for metric in directive(line)["Metrics"]]
        assert all(isinstance(value, int | float) for value in values)
    assert (first["Predictions"], second["Predictions"]) == (1, 1)
    assert (failed["Failed"], refused["Refused"]) == (1, 1)
    assert "Predictions" not in failed


def test_the_namespace_and_the_level_can_be_set() -> None:
    [only] = output_of("load('rest_api')", METRICS_NAMESPACE="Ward3", LOG_LEVEL="ERROR")

    assert directive(only)["Namespace"] == "Ward3"
    # Metrics are no log: they are written at any level, and nothing else is.
    assert set(only) == {"model_version", "_aws", *(metric["Name"] for metric in directive(only)["Metrics"])}


def test_debug_adds_a_line_about_the_images() -> None:
    line, more = output_of("load('rest_api')", LOG_LEVEL="DEBUG")

    assert line["level"] == "INFO"
    assert (more["level"], more["request_id"]) == ("DEBUG", line["request_id"])
    [image] = more["images"]
    assert image["label"] in image["probabilities"]
    assert set(image["timings"]) == {"decode_ms", "inference_ms"}


def prediction(probabilities: dict[str, float]) -> Prediction:
    label = max(probabilities, key=lambda name: probabilities[name])
    timings = {"decode_ms": 1.0, "inference_ms": 2.0}
    return Prediction(
        label=label, probabilities=probabilities, threshold=0.5, uncertain=False, distance=1.0, timings=timings
    )


def lines_about(labels: tuple[str, ...], outcomes: list[Prediction], monkeypatch: Any, capsys: Any) -> list[dict]:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "xray")
    contract = SimpleNamespace(version="1.0.0", labels=labels)
    Telemetry(Settings(), contract).request(  # type: ignore[arg-type]
        request_id="8476a536", method="EVENT", route="map", status=200, total_ms=1, outcomes=outcomes
    )
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("probabilities", "score", "count"),
    [
        ({"CATS": 0.7, "DOGS": 0.3}, 0.3, "Predicted_CATS"),
        ({"CATS": 0.2, "DOGS": 0.5, "BIRDS": 0.3}, 0.5, "Predicted_DOGS"),
    ],
)
def test_any_classes_are_counted(
    probabilities: dict[str, float], score: float, count: str, monkeypatch: Any, capsys: Any
) -> None:
    [line] = lines_about(tuple(probabilities), [prediction(probabilities)], monkeypatch, capsys)
    assert (line["Score"], line["Predictions"], line[count]) == (score, 1, 1)


def test_a_batch_has_no_more_values_in_a_line_than_cloudwatch_takes(monkeypatch: Any, capsys: Any) -> None:
    outcomes = [prediction({"CATS": share, "DOGS": 1 - share}) for share in (0.25, 0.75)] * 120
    lines = lines_about(("CATS", "DOGS"), outcomes, monkeypatch, capsys)
    assert [line["Predictions"] for line in lines] == [100, 100, 40]
    assert [len(line["Score"]) for line in lines] == [100, 100, 40]
    assert sum(line["Predicted_CATS"] for line in lines) == sum(line["Predicted_DOGS"] for line in lines) == 120
    assert [line.get("status") for line in lines] == [200, None, None]
    assert {line["request_id"] for line in lines} == {"8476a536"}


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=5, unique=True))
def test_every_label_has_a_metric_that_cloudwatch_takes(labels: list[str]) -> None:
    names = label_metrics(labels)
    assert len(set(names.values())) == len(labels)
    for name in names.values():
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 255


def test_a_usual_label_is_in_the_metric_s_name_as_it_is() -> None:
    assert label_metrics(["NORMAL", "lung opacity"]) == {
        "NORMAL": "Predicted_NORMAL",
        "lung opacity": "Predicted_lung opacity",
    }
