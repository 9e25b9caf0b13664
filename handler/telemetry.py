"""JSON logs and CloudWatch metrics.

Each request writes one line. The line is its log entry and, on Lambda, also its metrics (CloudWatch's embedded metric
format). The level DEBUG adds a line for each image. The lines contain counts, times, scores and names that this
project or the bundle defines. They never contain a file name, an address, a pixel, a decoder's message, or anything
else from the request.
"""

import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from handler.contract import Contract
from handler.errors import HandlerError, NotAnXray, Overloaded
from handler.http.problems import kind_of
from handler.scoring import Outcome, Prediction
from handler.settings import Settings

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_MOST_VALUES = 100
"""Maximum number of values of one metric in one line of the embedded metric format.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""

_LONGEST_NAME = 255
"""Maximum number of characters in a metric's name. CloudWatch accepts only ASCII."""

Figures = dict[str, float | list[float]]
"""Values by name of the metric."""


class Telemetry:
    """Writes to standard output, which Lambda sends to CloudWatch. Safe to share between threads."""

    _cold = True  # for the process, because the batches and the web application each have a `Telemetry`

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._level = _LEVELS.index(settings.log_level)
        self._namespace = settings.metrics_namespace
        self._contract = contract
        self._counts = label_metrics(contract.labels)
        self._in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ

    def request(
        self, *, request_id: str, method: str, route: str, status: int, total_ms: float, outcomes: Sequence[Outcome]
    ) -> None:
        """Write the line of a finished HTTP request or batch.

        Args:
            route: the pattern that matched, such as `/v1/model`, never the requested path.
        """
        cold, Telemetry._cold = self._cold, False
        logged = {"request_id": request_id, "method": method, "route": route, "status": status}
        if problems := [kind_of(outcome).slug for outcome in outcomes if isinstance(outcome, HandlerError)]:
            logged["problems"] = problems
        figures: Figures = {"TotalMs": round(total_ms, 3)}
        if cold:
            figures["ColdStart"] = 1
        # A line without a level counts as INFO, the lowest level that `template.yaml` accepts.
        fields = self._stamped("INFO") | logged if self._logs("INFO") else {}
        for start in range(0, len(outcomes) or 1, _MOST_VALUES):
            figures |= self._figures(outcomes[start : start + _MOST_VALUES])
            if fields or self._in_lambda:
                _write(fields | {"model_version": self._contract.version} | figures | self._directive(figures))
            fields, figures = ({"request_id": request_id} if fields else {}), {}
        if outcomes and self._logs("DEBUG"):
            _write(self._stamped("DEBUG") | {"request_id": request_id, "images": [*map(_detail, outcomes)]})

    def failure(self, request_id: str, exc: BaseException) -> None:
        """Write the type and the place of an unexpected exception, but not its message, which may quote the input."""
        frames = traceback.extract_tb(exc.__traceback__)
        _write(
            self._stamped("ERROR")
            | {
                "message": "unexpected exception",
                "request_id": request_id,
                "error": type(exc).__qualname__,
                "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )

    def _logs(self, level: str) -> bool:
        return _LEVELS.index(level) >= self._level

    def _stamped(self, level: str) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"level": level, "timestamp": now}

    def _figures(self, outcomes: Sequence[Outcome]) -> Figures:
        """Return the metrics of the images. Counts of zero are left out."""
        predictions = [outcome for outcome in outcomes if not isinstance(outcome, HandlerError)]
        counts = Counter[str]()
        for outcome in outcomes:
            counts.update(self._counted(outcome))
        figures: Figures = dict(counts)
        if predictions:
            figures |= {
                "Score": _values(round(score_of(self._contract, each), 4) for each in predictions),
                "Distance": _values(round(each["distance"], 3) for each in predictions),
                "DecodeMs": _values(each["timings"]["decode_ms"] for each in predictions),
                "InferenceMs": _values(each["timings"]["inference_ms"] for each in predictions),
            }
        return figures

    def _counted(self, outcome: Outcome) -> list[str]:
        if isinstance(outcome, NotAnXray):
            return ["Refused"]
        if isinstance(outcome, Overloaded):
            return ["Overloaded"]
        if isinstance(outcome, HandlerError):
            return ["Failed"]
        found = ["Predictions", self._counts[outcome["label"]]]
        if outcome["uncertain"]:
            found.append("Uncertain")
        if outcome["warnings"]:
            found += ["Warned", *(warning_metric(each["code"]) for each in outcome["warnings"])]
        return found

    def _directive(self, figures: Figures) -> dict[str, Any]:
        if not self._in_lambda:
            return {}
        # Units are optional: the names contain the unit, and a unit would add 22 bytes to each line.
        metrics = [{"Name": name} for name in figures]
        # By version, and for all versions: an alarm can only watch a version that it names.
        directive = {"Namespace": self._namespace, "Dimensions": [["model_version"], []], "Metrics": metrics}
        return {"_aws": {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]}}


def label_metrics(labels: Sequence[str]) -> dict[str, str]:
    """Return, by label, the name of the metric that counts its predictions: `Predicted_` and the encoded label."""
    names = {label: f"Predicted_{quote(label, safe=' ')}" for label in labels}
    return {
        label: name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 8]}~{index}"
        for index, (label, name) in enumerate(names.items())
    }


def score_of(contract: Contract, prediction: Prediction) -> float:
    """Return the probability of the positive class, or of the label if there are more than two classes.

    It assumes equally frequent classes, so that its distribution does not depend on `PREVALENCE`.
    """
    prevalence = prediction["prevalence"]
    shares = {label: share / prevalence[label] for label, share in prediction["probabilities"].items()}
    return shares[contract.labels[-1] if len(contract.labels) == 2 else prediction["label"]] / sum(shares.values())


def warning_metric(code: str) -> str:
    """Return the name of the metric that counts the images with a warning."""
    return f"Warning_{quote(code, safe=' ')}"[:_LONGEST_NAME]


def _values(values: Iterator[float]) -> float | list[float]:
    found = list(values)
    return found if len(found) > 1 else found[0]


def _detail(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, HandlerError):
        return {"problem": kind_of(outcome).slug}
    names = ("label", "probabilities", "uncertain", "distance", "timings")
    codes = [each["code"] for each in outcome["warnings"]]
    return {name: outcome[name] for name in names} | {"warnings": codes}  # type: ignore[literal-required]


def _write(line: dict[str, Any]) -> None:
    # In one call, so that lines of several threads are not mixed.
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()
