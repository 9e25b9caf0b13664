"""CodeDeploy's pre-traffic hook: a new version gets traffic only if it scores the golden image as expected.

It runs on Lambda's Python, with the file `golden.json` beside it, which `python -m infra.golden` writes.
"""

import json
import os
from pathlib import Path
from typing import Any

TOLERANCE = 0.02
"""Tolerance of probabilities: int8 arithmetic differs slightly between CPUs."""


def lambda_handler(event: dict[str, Any], _context: Any) -> None:
    """Score the golden image, compare the answer, and report to CodeDeploy.

    Args:
        event: `DeploymentId` and `LifecycleEventHookExecutionId`.
    """
    import boto3

    golden = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
    try:
        reply = boto3.client("lambda").invoke(
            FunctionName=os.environ["NEW_VERSION"], Payload=json.dumps(golden["event"]).encode()
        )
        # The expected answer of a model from the Hub, or with a calibration, is unknown.
        unknown = os.environ.get("MODEL_REPO") or os.environ.get("CALIBRATION")
        expected = None if unknown else golden["expected"]
        trouble = difference(json.load(reply["Payload"]), expected)
    except Exception as exc:  # after any error, CodeDeploy would wait an hour for the report
        trouble = f"{type(exc).__name__}: {exc}"
    print(json.dumps({"golden_image": trouble or "scored as expected"}))  # noqa: T201
    boto3.client("codedeploy").put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status="Failed" if trouble else "Succeeded",
    )


def difference(answer: dict[str, Any], expected: dict[str, Any] | None) -> str:
    """Return the error of the function's answer; "" if the answer is as expected, or if the expected one is unknown."""
    if answer.get("statusCode") != 200:
        return f"status {answer.get('statusCode')}: {answer.get('body') or answer.get('errorMessage')}"
    body = json.loads(answer["body"])
    found = body["predictions"][0]
    if expected is None:
        return ""
    if body["model"]["sha256"] != expected["sha256"]:
        model = body["model"]["sha256"]
        return f"the model is {model}, expected {expected['sha256']}: run `python -m infra.golden` after a new bundle"
    probabilities, right = found["probabilities"], expected["probabilities"]
    if probabilities.keys() != right.keys():
        named = f"the labels are {', '.join(probabilities)}, expected {', '.join(right)}"
        return f"{named}: run `python -m infra.golden` after a new bundle"
    # Compare for equally frequent classes, because at a low prevalence every difference would be small.
    prevalence = found["prevalence"]
    scale = sum(right[label] * prevalence[label] for label in right)
    neutral = {label: p / prevalence[label] * scale for label, p in probabilities.items()}
    off = {label: p for label, p in neutral.items() if not abs(p - right[label]) <= TOLERANCE}
    return f"probabilities {off}, expected {right}" if off else ""
