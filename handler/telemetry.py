"""JSON logs and CloudWatch metrics.

What is written is fixed here: counts, times, scores and names of our own. Never a file name, an address, a pixel, a
message of a decoder, or anything else that came with an image.
"""

import os
import traceback
from collections.abc import Sequence

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics

from handler.contract import Contract
from handler.errors import HandlerError, NotAnXray, Overloaded
from handler.http.problems import kind_of
from handler.scoring import Outcome
from handler.settings import Settings

SERVICE = "xray-inference"


class Telemetry:
    """Writes to standard output, which Lambda carries to CloudWatch. Safe to share between threads."""

    _cold = True  # of the process, whichever part of it answers first

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._logger = Logger(service=SERVICE, level=settings.log_level, location=None, use_rfc3339=True)
        self._namespace = settings.metrics_namespace
        self._version = contract.version
        self._in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ

    def request(
        self, *, request_id: str, method: str, route: str, status: int, total_ms: float, outcomes: Sequence[Outcome]
    ) -> None:
        """One HTTP request or batch is done.

        Args:
            route: the pattern that matched, such as `/v1/model`, never the path that was asked for.
        """
        cold, Telemetry._cold = self._cold, False
        problems = [kind_of(outcome).slug for outcome in outcomes if isinstance(outcome, HandlerError)]
        self._logger.info(
            "request",
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            total_ms=round(total_ms, 3),
            images=len(outcomes),
            problems=problems,
            model_version=self._version,
            cold_start=cold,
        )
        if self._in_lambda:
            self._measure(cold, total_ms, outcomes)

    def failure(self, request_id: str, exc: BaseException) -> None:
        """An unexpected exception: its type and where it was raised, but not its message, which may quote the input."""
        frames = traceback.extract_tb(exc.__traceback__)
        self._logger.error(
            "unexpected exception",
            request_id=request_id,
            error=type(exc).__qualname__,
            where=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        )

    def _measure(self, cold: bool, total_ms: float, outcomes: Sequence[Outcome]) -> None:
        # One object per request: Powertools' usual one is shared by all threads.
        metrics = EphemeralMetrics(namespace=self._namespace, service=SERVICE)
        metrics.add_dimension("model_version", self._version)
        metrics.add_metric("ColdStart", "Count", int(cold))
        metrics.add_metric("TotalTime", "Milliseconds", total_ms)
        for outcome in outcomes:
            for name, unit, value in _figures(outcome):
                metrics.add_metric(name, unit, value)
        metrics.flush_metrics()


def _figures(outcome: Outcome) -> list[tuple[str, str, float]]:
    if isinstance(outcome, NotAnXray):
        return [("Refused", "Count", 1)]
    if isinstance(outcome, Overloaded):
        return [("Overloaded", "Count", 1)]
    if isinstance(outcome, HandlerError):
        return [("Failed", "Count", 1)]
    figures: list[tuple[str, str, float]] = [
        (f"Predicted{outcome['label'].title()}", "Count", 1),
        ("Uncertain", "Count", int(outcome["uncertain"])),
        ("Score", "None", list(outcome["probabilities"].values())[-1]),
        ("Distance", "None", outcome["distance"]),
        ("DecodeTime", "Milliseconds", outcome["timings"]["decode_ms"]),
        ("InferenceTime", "Milliseconds", outcome["timings"]["inference_ms"]),
    ]
    return figures
