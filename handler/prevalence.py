"""The prevalence of each class where a deployment is used.

A bundle is calibrated for equally frequent classes. `PREVALENCE` sets other frequencies, and the probabilities are
adapted to them. The labels and prediction sets do not change, because they do not depend on frequencies.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from handler.calibration import Array, shift_prevalence
from handler.contract import Contract
from handler.errors import SettingsError

if TYPE_CHECKING:
    from handler.local_calibration import LocalCalibration

POSITIVE = ""
"""Key of the positive label in the setting, so that one number is enough for two labels."""

EXAMPLES = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Prevalences of the positive class for which the model card gives predictive values."""


def prevalence_of(shares: Mapping[str, float], contract: Contract) -> Array:
    """Return the prevalence `[K]` of each label.

    Args:
        shares: shares by label, or of `POSITIVE`; empty for equally frequent classes.

    Raises:
        SettingsError: the shares do not belong to the labels of the contract.
    """
    labels = contract.labels
    if not shares:
        return np.full(len(labels), 1 / len(labels))
    if contract.positive and shares.keys() == {POSITIVE}:
        return np.array([1 - shares[POSITIVE], shares[POSITIVE]])
    if shares.keys() != set(labels) or not 0.999 < sum(shares.values()) < 1.001:
        example = ",".join(f"{label}={1 / len(labels):.2g}" for label in labels)
        short = f"the share of {contract.positive}, such as 0.1, or " if contract.positive else ""
        raise SettingsError(f"PREVALENCE must be {short}a share for each label with a sum of 1, such as {example}")
    found = np.array([shares[label] for label in labels])
    return np.asarray(found / found.sum())


def predictive_values(contract: Contract, local: "LocalCalibration | None" = None) -> list[dict[str, float]]:
    """Compute positive and negative predictive value of two labels at each of `EXAMPLES`, from the sensitivity and
    specificity in the bundle (on the test split, or otherwise on validation), or in the calibration of the deployment.
    The list is empty with more labels, or without results."""
    metrics = contract.metrics
    measured: Any = metrics.get("test") or metrics.get("validation_int8") or {}
    if local and contract.positive:
        negative, positive = (local.measured["after"]["correct"][label][0] for label in contract.labels)
        measured = {"sensitivity": positive, "specificity": negative}
    if contract.positive is None or not {"sensitivity", "specificity"} <= measured.keys():
        return []
    sensitivity, specificity = measured["sensitivity"], measured["specificity"]
    rows = []
    for share in EXAMPLES:
        found, missed = share * sensitivity, share * (1 - sensitivity)
        cleared, false = (1 - share) * specificity, (1 - share) * (1 - specificity)
        rows.append(
            {
                "prevalence": share,
                "positive_predictive_value": _ratio(found, found + false),
                "negative_predictive_value": _ratio(cleared, cleared + missed),
            }
        )
    return rows


def shifted(probability: float, prevalence: Array) -> float:
    """Adapt a probability of the second of two classes to another prevalence `[2]`."""
    return float(shift_prevalence(np.array([[1 - probability, probability]]), prevalence)[0, 1])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
