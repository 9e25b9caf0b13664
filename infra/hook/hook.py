"""CodeDeploy's pre-traffic hook: no caller reaches a new version that does not score the golden image as it should.

Runs on Lambda's own Python with what is beside this file: `golden.json`, made by `python -m infra.golden`.
"""

import json
import os
from pathlib import Path
from typing import Any

TOLERANCE = 0.02
"""On probabilities; int8 arithmetic differs a little between kinds of CPU."""


def lambda_handler(event: dict[str, Any], _context: Any) -> None:
    """Score, compare, and tell CodeDeploy.

    Args:
        event: `DeploymentId` and `LifecycleEventHookExecutionId`.
    """
    import boto3

    golden = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
    try:
        reply = boto3.client("lambda").invoke(
            FunctionName=os.environ["NEW_VERSION"], Payload=json.dumps(golden["event"]).encode()
        )
        # What a model from the Hub, or a calibration, says of the golden image is not known.
        unknown = os.environ.get("MODEL_REPO") or os.environ.get("CALIBRATION")
        expected = None if unknown else golden["expected"]
        trouble = difference(json.load(reply["Payload"]), expected)
    except Exception as exc:  # whatever it is, the deployment must not wait for an hour to learn of it
        trouble = f"{type(exc).__name__}: {exc}"
    print(json.dumps({"golden_image": trouble or "scored as expected"}))  # noqa: T201
    boto3.client("codedeploy").put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status="Failed" if trouble else "Succeeded",
    )


def difference(answer: dict[str, Any], expected: dict[str, Any] | None) -> str:
    """What is wrong with the answer of the function, in words; nothing if it is as expected, or an answer at all."""
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
    # Compared as if all classes were equally frequent: at a small prevalence any difference would be small.
    prevalence = found["prevalence"]
    scale = sum(right[label] * prevalence[label] for label in right)
    neutral = {label: p / prevalence[label] * scale for label, p in probabilities.items()}
    off = {label: p for label, p in neutral.items() if not abs(p - right[label]) <= TOLERANCE}
    return f"probabilities {off}, expected {right}" if off else ""
