"""Logs and metrics as CloudWatch gets them: the standard output of a process that thinks it is in Lambda."""

import base64
import json
import os
import subprocess
import sys

import pytest

from tests.handler.images import noise

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


def metrics(written: list[dict]) -> list[dict]:
    return [line for line in written if "_aws" in line]


def test_every_request_has_one_line_and_one_set_of_metrics(written: list[dict]) -> None:
    lines = [line for line in written if "_aws" not in line]

    assert [line["status"] for line in lines] == [200, 200, 415, 422]
    assert [line["cold_start"] for line in lines] == [True, False, False, False]
    assert [line["problems"] for line in lines] == [[], [], ["unsupported-format"], ["not-an-xray"]]
    assert {line["route"] for line in lines} == {"/v1/predictions"}
    assert {line["request_id"] for line in lines} == {"8476a536-e9f4-11e8-9739-2dfe598c3fcd"}
    assert len(metrics(written)) == 4


def test_metrics_are_embedded_as_cloudwatch_wants_them(written: list[dict]) -> None:
    first, _, failed, refused = metrics(written)

    [directive] = first["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "XrayInference"
    assert directive["Dimensions"] == [["model_version", "service"]]
    names = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {name: names[name] for name in ("DecodeTime", "InferenceTime", "TotalTime")} == dict.fromkeys(
        ("DecodeTime", "InferenceTime", "TotalTime"), "Milliseconds"
    )
    assert {"ColdStart", "Uncertain", "Score", "Distance"} < set(names)
    assert {"PredictedNormal", "PredictedPneumonia"} & set(names)
    assert all(name in first for name in names)
    assert (first["ColdStart"], failed["ColdStart"]) == ([1.0], [0.0])
    assert (failed["Failed"], refused["Refused"]) == ([1.0], [1.0])


def test_the_namespace_and_the_level_can_be_set() -> None:
    [only] = output_of("load('rest_api')", METRICS_NAMESPACE="Ward3", LOG_LEVEL="ERROR")

    assert only["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Ward3"
