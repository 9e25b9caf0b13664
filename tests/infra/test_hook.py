"""The pre-traffic hook accepts only a version that scores the golden image as expected."""

import io
import json
from typing import Any

import pytest

from handler import lambda_entry
from handler.classifier import Classifier
from handler.imaging.decode import decode
from handler.prevalence import POSITIVE
from handler.scoring import Predictor
from infra.golden import GOLDEN_FILE, IMAGE, golden
from infra.hook import hook
from tests.handler.events import Context

CALL = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"}


class Aws:
    """The parts of Lambda and CodeDeploy that the hook calls."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.status: str | None = None

    def client(self, _service: str) -> "Aws":
        return self

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "arn:of:version"
        event = json.loads(Payload)
        answer = self.answer(event) if callable(self.answer) else self.answer
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def put_lifecycle_event_hook_execution_status(self, **said: str) -> None:
        assert said["deploymentId"] == "d-1"
        assert said["lifecycleEventHookExecutionId"] == "e-1"
        self.status = said["status"]


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The report of the hook to CodeDeploy for a version with this answer."""
    monkeypatch.setenv("NEW_VERSION", "arn:of:version")

    def of(answer: Any) -> str | None:
        aws = Aws(answer)
        monkeypatch.setattr("boto3.client", aws.client)
        hook.lambda_handler(CALL, None)
        return aws.status

    return of


def real(event: dict[str, Any]) -> Any:
    return lambda_entry.lambda_handler(event, Context())


def spoiled(**changes: Any) -> Any:
    def answer(event: dict[str, Any]) -> Any:
        reply = real(event)
        body = json.loads(reply["body"])
        for name, change in changes.items():
            change(body[name])
        return reply | {"body": json.dumps(body)}

    return answer


def test_the_embedded_bundle_is_let_through(verdict: Any) -> None:
    assert verdict(real) == "Succeeded"


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": 500, "body": "{}"},
        {"errorType": "Runtime.ExitError", "errorMessage": "exited"},
        {"statusCode": 200, "body": "no JSON"},
        spoiled(model=lambda model: model.update(sha256="0" * 64)),
        spoiled(predictions=lambda found: found[0]["probabilities"].update(PNEUMONIA=float("nan"))),
        spoiled(predictions=lambda found: found[0]["probabilities"].update(NORMAL=0.5001 + 1)),
        spoiled(predictions=lambda found: found[0]["probabilities"].update(OTHER=0.0)),
    ],
)
def test_anything_else_is_held_back(verdict: Any, answer: Any) -> None:
    assert verdict(answer) == "Failed"


def test_a_model_from_the_hub_need_only_answer(verdict: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_REPO", "radiology/chest")
    assert verdict(spoiled(model=lambda model: model.update(sha256="0" * 64))) == "Succeeded"
    assert verdict({"statusCode": 503, "body": "{}"}) == "Failed"


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_a_version_is_checked_at_any_prevalence(verdict: Any, classifier: Classifier, share: float) -> None:
    made = Predictor(classifier, decode, {POSITIVE: share}).predict(IMAGE.read_bytes(), force=True)
    assert made["prevalence"]["PNEUMONIA"] == pytest.approx(share)
    assert verdict(spoiled(predictions=lambda found: found[0].update(made))) == "Succeeded"
    # The answer of the same version with equal probabilities.
    undecided = dict(made) | {"probabilities": made["prevalence"]}
    assert verdict(spoiled(predictions=lambda found: found[0].update(undecided))) == "Failed"


def test_with_a_calibration_of_its_own_a_version_need_only_answer(
    verdict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spoiled(predictions=lambda found: found[0]["probabilities"].update(NORMAL=0.5, PNEUMONIA=0.5))
    assert verdict(other) == "Failed"
    monkeypatch.setenv("CALIBRATION", "handler/model/calibration.json")
    assert verdict(other) == "Succeeded"


def test_the_golden_image_was_scored_by_the_embedded_bundle(classifier: Classifier) -> None:
    stored, now = json.loads(GOLDEN_FILE.read_text(encoding="utf-8")), golden(classifier)
    assert stored["expected"]["sha256"] == now["expected"]["sha256"], "the bundle changed: python -m infra.golden"
    assert stored["expected"]["probabilities"] == pytest.approx(now["expected"]["probabilities"], abs=hook.TOLERANCE)
