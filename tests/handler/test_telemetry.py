"""Logs and metrics for CloudWatch: the standard output of a process with the environment of Lambda."""

import base64
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.contract import CONTRACT_FILE, EMBEDDED_BUNDLE, Contract
from handler.prevalence import shifted
from handler.scoring import Prediction
from handler.settings import Settings
from handler.telemetry import Telemetry, label_metrics, score_of, warning_metric
from handler.warnings import CODES
from tests.handler.images import noise

EMBEDDED = EMBEDDED_BUNDLE / CONTRACT_FILE

MOST_BYTES = 700
"""Maximum number of bytes of all lines for one image without warnings."""

WARNED_BYTES, WARNING_BYTES = 30, 64
"""Bytes that an image with warnings adds to its line, and that each warning adds with a code of up to 15 characters."""

ACCESS_LOG_BYTES = 90
"""Bytes of the line that API Gateway adds, as a part of these: see `tests/infra/test_template.py`."""

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
    """Two images that are scored, one file that is not an image, and one image that is not an X-ray."""
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
    cold, *warm = (len(json.dumps(line, separators=(",", ":"))) - warning_bytes(line) for line in written)
    assert cold <= MOST_BYTES
    assert max(warm) <= MOST_BYTES - ACCESS_LOG_BYTES


def warning_bytes(line: dict) -> int:
    codes = sum(name.startswith("Warning_") for name in line)
    return WARNED_BYTES * ("Warned" in line) + WARNING_BYTES * codes


def test_metrics_are_embedded_as_cloudwatch_wants_them(written: list[dict]) -> None:
    first, second, failed, refused = written

    assert directive(first)["Namespace"] == "XrayInference"
    assert directive(first)["Dimensions"] == [["model_version"], []]
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
    # Metrics are written at every level, and logs are not.
    assert set(only) == {"model_version", "_aws", *(metric["Name"] for metric in directive(only)["Metrics"])}


def test_debug_adds_a_line_about_the_images() -> None:
    line, more = output_of("load('rest_api')", LOG_LEVEL="DEBUG")

    assert line["level"] == "INFO"
    assert (more["level"], more["request_id"]) == ("DEBUG", line["request_id"])
    [image] = more["images"]
    assert {f"Warning_{code}" for code in image["warnings"]} == {name for name in line if name.startswith("Warning_")}
    assert image["label"] in image["probabilities"]
    assert set(image["timings"]) == {"decode_ms", "inference_ms"}


def prediction(probabilities: dict[str, float], *codes: str, **changes: Any) -> Prediction:
    label = max(probabilities, key=lambda name: probabilities[name])
    made: Prediction = {
        "label": label,
        "probabilities": probabilities,
        "prevalence": dict.fromkeys(probabilities, 1 / len(probabilities)),
        "threshold": 0.5,
        "prediction_set": [label],
        "uncertain": False,
        "warnings": [{"code": code, "detail": "For people."} for code in codes],
        "distance": 1.0,
        "timings": {"decode_ms": 1.0, "inference_ms": 2.0},
    }
    return made | changes  # type: ignore[return-value]


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


def test_images_with_warnings_are_counted_by_code(monkeypatch: Any, capsys: Any) -> None:
    shares = {"CATS": 0.7, "DOGS": 0.3}
    codes: list[tuple[str, ...]] = [("unlike_training", "mirrored"), ("unlike_training",), (), ("grey_range",)]
    outcomes = [prediction(shares, *each, uncertain=not each) for each in codes]
    [line] = lines_about(("CATS", "DOGS"), outcomes, monkeypatch, capsys)
    counted = {name: value for name, value in line.items() if name.startswith("Warn")}
    assert counted == {"Warned": 3, "Warning_unlike_training": 2, "Warning_mirrored": 1, "Warning_grey_range": 1}
    assert (line["Predictions"], line["Uncertain"]) == (4, 1)
    # A detail is for the caller.
    assert "For people." not in json.dumps(line)


def test_an_image_without_warnings_counts_none(monkeypatch: Any, capsys: Any) -> None:
    [line] = lines_about(("CATS", "DOGS"), [prediction({"CATS": 0.7, "DOGS": 0.3})], monkeypatch, capsys)
    assert not [name for name in line if name.startswith("Warn")]


@pytest.mark.parametrize("code", CODES)
def test_a_warning_is_few_bytes(code: str, monkeypatch: Any, capsys: Any) -> None:
    without, warned = (
        lines_about(("CATS", "DOGS"), [prediction({"CATS": 0.7, "DOGS": 0.3}, *codes)], monkeypatch, capsys)[0]
        for codes in ((), (code,))
    )
    more = set(warned) - set(without)
    added = json.dumps({name: warned[name] for name in more} | {"_": [{"Name": name} for name in more]})
    assert len(added.replace(" ", "")) - len('{"_":[]}') <= WARNED_BYTES + WARNING_BYTES


@given(st.text(min_size=1, max_size=300))
def test_every_warning_has_a_metric_that_cloudwatch_takes(code: str) -> None:
    name = warning_metric(code)
    assert name.isascii()
    assert name.isprintable()
    assert len(name) <= 255


@given(st.floats(0.001, 0.999), st.floats(0.01, 0.99))
def test_a_score_does_not_depend_on_the_prevalence(score: float, share: float) -> None:
    contract: Any = SimpleNamespace(labels=("CATS", "DOGS"))
    prevalence = np.array([1 - share, share])
    shown = shifted(score, prevalence)
    made = prediction({"CATS": 1 - shown, "DOGS": shown}, prevalence={"CATS": 1 - share, "DOGS": share})
    assert score_of(contract, made) == pytest.approx(score, abs=1e-6)


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
