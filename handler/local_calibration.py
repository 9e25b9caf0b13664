"""The calibration of a bundle for the hospital where it is deployed, fitted on labelled images of this hospital.

python -m handler calibrate FOLDER --out calibration.json
CALIBRATION=calibration.json python -m handler serve
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.calibration import (
    Array,
    Labels,
    calibrate,
    calibration_error,
    fit_scaling,
    least_images,
    select_ood_threshold,
    select_set_thresholds,
    select_threshold,
)
from handler.contract import Contract, decide
from handler.errors import LocalCalibrationError
from handler.strict import parsed

FOLDS = 5
"""Number of cross-validation folds: results are measured on images that the calibration was not fitted on."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LocalCalibration:
    """Values that replace the calibration of one bundle. The fields have the same meaning as in
    `handler.contract.Contract`."""

    sha256: str
    """Hash of the weights that it was fitted for."""
    labels: tuple[str, ...]
    temperature: float
    """The logarithms of the bundle's probabilities, plus `biases`, are divided by this."""
    biases: tuple[float, ...]
    threshold: float | None
    set_thresholds: tuple[float, ...]
    set_coverage: float
    ood_threshold: float
    images: Mapping[str, int]
    """Number of images by label."""
    measured: Mapping[str, Any]
    """Results `before` and `after`, cross-validated: see `_measured`."""

    def applied_to(self, contract: Contract) -> Contract:
        """Return the contract of the bundle with this calibration.

        Raises:
            LocalCalibrationError: it was fitted for another bundle.
        """
        if (self.sha256, self.labels) != (contract.sha256, contract.labels):
            raise LocalCalibrationError(
                f"the calibration was fitted for a bundle with SHA-256 {self.sha256[:12]}, the served one is "
                f"{contract.sha256[:12]}: run `python -m handler calibrate` with this bundle"
            )
        return dataclasses.replace(
            contract,
            threshold=self.threshold,
            set_thresholds=self.set_thresholds,
            set_coverage=self.set_coverage,
            ood_threshold=self.ood_threshold,
        )

    def calibrated(self, probabilities: Array) -> Array:
        """Calibrate the probabilities `[N, K]` of the bundle."""
        return calibrate(probabilities, self.temperature, np.array(self.biases))


def load_calibration(file: Path) -> LocalCalibration:
    """Read a calibration that `python -m handler calibrate` wrote.

    Raises:
        LocalCalibrationError: the file cannot be read or is not a calibration.
    """

    def require(condition: bool, wrong: str) -> None:
        if not condition:
            raise LocalCalibrationError(f"{file}: {wrong}: write it again with `python -m handler calibrate`")

    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise LocalCalibrationError(f"{file} cannot be read ({exc.strerror}): check CALIBRATION") from exc
    except ValueError as exc:
        raise LocalCalibrationError(
            f"{file} is not JSON: give the file that `python -m handler calibrate` wrote"
        ) from exc
    require(isinstance(values, dict), "it must hold one JSON object")
    found = parsed(LocalCalibration, values, require)
    require(
        len(found.labels) == len(found.biases) == len(found.set_thresholds)
        and all(map(math.isfinite, (*found.biases, *found.set_thresholds)))
        and 0 < found.temperature < math.inf,
        "its numbers contradict each other",
    )
    return found


def fit_local(
    contract: Contract, probabilities: Array, distances: Array, labels: Labels, *, coverage: float, sensitivity: float
) -> LocalCalibration:
    """Fit a calibration.

    Args:
        contract: the contract of the bundle itself.
        probabilities: `[N, K]`, the probabilities of the bundle itself.
        distances: `[N]`, the distances of the OOD detector.
        labels: `[N]`, indices of `contract.labels`.
        coverage: coverage of the prediction sets, 0..1.
        sensitivity: minimum sensitivity of the threshold, 0..1; for two classes only.

    Raises:
        LocalCalibrationError: a class has too few images for the guarantee.
    """
    counts = np.bincount(labels, minlength=len(contract.labels))
    for index, (label, count) in enumerate(zip(contract.labels, counts, strict=True)):
        least = least_images(coverage)
        if contract.threshold is not None and index == 1:
            least = max(least, least_images(sensitivity))
        if count < least:
            raise LocalCalibrationError(
                f"{label} has {count} images, and a coverage of {coverage:g} with a sensitivity of {sensitivity:g} "
                f"needs {least}: add images, or lower --coverage and --sensitivity"
            )
    temperature, biases, threshold, sets = _fit(contract, probabilities, labels, coverage, sensitivity)
    return LocalCalibration(
        sha256=contract.sha256,
        labels=contract.labels,
        temperature=temperature,
        biases=tuple(biases.tolist()),
        threshold=threshold,
        set_thresholds=sets,
        set_coverage=coverage,
        ood_threshold=select_ood_threshold(distances),
        images=dict(zip(contract.labels, counts.tolist(), strict=True)),
        measured=_measured(contract, probabilities, labels, coverage, sensitivity),
    )


def _fit(
    contract: Contract, probabilities: Array, labels: Labels, coverage: float, sensitivity: float
) -> tuple[float, Array, float | None, tuple[float, ...]]:
    temperature, biases = fit_scaling(probabilities, labels)
    found = calibrate(probabilities, temperature, biases)
    threshold = None
    if contract.threshold is not None:
        threshold = select_threshold(found[:, 1], labels, np.zeros_like(labels), sensitivity)
    return temperature, biases, threshold, select_set_thresholds(found, labels, coverage, threshold)


def _measured(
    contract: Contract, probabilities: Array, labels: Labels, coverage: float, sensitivity: float
) -> dict[str, Any]:
    """Measure the bundle without the calibration (`before`), and calibrations fitted on the other folds (`after`).

    Returns:
        For each: `log_loss` and `ece` with equal weight for each class, and by class `correct` and `covered`, the
        shares of its images that get its label and whose prediction set contains it, each with the ends of its 95 %
        Wilson interval.
    """
    after, given, sets = np.empty_like(probabilities), np.empty_like(labels), np.empty(probabilities.shape, bool)
    folds = np.empty_like(labels)
    for index in range(len(contract.labels)):
        own = np.flatnonzero(labels == index)
        folds[own] = np.arange(len(own)) % FOLDS
    for fold in range(FOLDS):
        out, rest = folds == fold, folds != fold
        temperature, biases, threshold, least = _fit(contract, probabilities[rest], labels[rest], coverage, sensitivity)
        after[out] = calibrate(probabilities[out], temperature, biases)
        given[out], sets[out] = decide(after[out], threshold), after[out] >= least
    before = decide(probabilities, contract.threshold), probabilities >= contract.set_thresholds
    return {
        "before": _results(contract, probabilities, labels, *before),
        "after": _results(contract, after, labels, given, sets),
    }


def _results(contract: Contract, probabilities: Array, labels: Labels, given: Labels, sets: Any) -> dict[str, Any]:
    weights = 1 / (len(contract.labels) * np.bincount(labels)[labels])
    rows = np.arange(len(labels))
    result: dict[str, Any] = {
        "log_loss": float(weights @ -np.log(np.clip(probabilities[rows, labels], 1e-7, 1))),
        "ece": float(np.mean([calibration_error(of, labels == k, weights) for k, of in enumerate(probabilities.T)])),
        "correct": {},
        "covered": {},
    }
    for index, label in enumerate(contract.labels):
        own = labels == index
        result["correct"][label] = _share(given[own] == index)
        result["covered"][label] = _share(sets[own, index])
    return result


def _share(hits: npt.NDArray[np.bool_]) -> list[float]:
    """Return a share and its 95 % interval (Wilson 1927)."""
    count, share, z = len(hits), float(hits.mean()), 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return [share, max(0.0, centre - half), min(1.0, centre + half)]
