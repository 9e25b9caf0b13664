"""The numbers that turn a network into a decision, all chosen on validation alone: a shift and a temperature that
calibrate the probabilities, and the threshold from which a picture is called positive.

Plain validation saturates (AUC above 0.99) where pictures from elsewhere do not, so all of them are chosen on the
validation pictures as they are together with several corrupted copies of each: a stress test with `training.augment`.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import augment

Array = npt.NDArray[np.float64]

STRESS_COPIES = 3
STRESS_STRENGTH = 1.0
TARGET_SENSITIVITY = 0.95
CERTAIN = 0.98
"""Sensitivity below and specificity above which the abstention band ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What validation decides; goes into the contract as it is."""

    temperature: float
    threshold: float
    """On the calibrated probability of the positive class."""
    uncertain_from: float
    uncertain_to: float
    """The abstention band: below it at most one positive in fifty is missed, above it at most one negative in fifty is
    called positive, both counted on the stressed validation pictures."""


def stress(pixels: Pixels, seed: int, copies: int = STRESS_COPIES) -> Pixels:
    """The pictures `[N, S, S]` followed by corrupted versions of them: `[N * (1 + copies), S, S]`."""
    corrupted = [
        augment(picture, np.random.default_rng((seed, copy, index)), STRESS_STRENGTH)
        for copy in range(copies)
        for index, picture in enumerate(pixels)
    ]
    return np.concatenate([pixels, np.stack(corrupted)])


def logits(probabilities: Array) -> Array:
    """Log odds `[N]` of the positive class."""
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped / (1 - clipped)))


def calibrate(probabilities: Array, temperature: float = 1.0, shift: float = 0.0) -> Array:
    """Probabilities `[N]` of the positive class with `shift` added to the log odds, and at another temperature."""
    return np.asarray(1 / (1 + np.exp(-(logits(probabilities) + shift) / temperature)))


def fit_temperature(probabilities: Array, labels: npt.NDArray[np.int64]) -> float:
    """The temperature with the least log loss (Guo et al. 2017, arXiv:1706.04599), both classes weighted alike.

    Args:
        probabilities: `[N]` of the positive class, at temperature 1.
        labels: `[N]`, 1 for positive.
    """
    from scipy.optimize import minimize_scalar

    odds = logits(probabilities)
    found = minimize_scalar(
        lambda log_temperature: _balanced_log_loss(odds / np.exp(log_temperature), labels),
        bounds=(np.log(0.1), np.log(10)),
        method="bounded",
    )
    return float(np.exp(found.x))


def fit_shift(probabilities: Array, labels: npt.NDArray[np.int64]) -> float:
    """What to add to the log odds of the positive class, so that a temperature alone calibrates them afterwards: Platt
    scaling (Platt 1999) with both classes weighted alike. Distillation and averaging leave a network leaning to one
    side, which a temperature cannot set right.

    Args:
        probabilities: `[N]` of the positive class, at temperature 1.
        labels: `[N]`, 1 for positive.
    """
    from scipy.optimize import minimize

    odds = logits(probabilities)
    found = minimize(
        lambda scaling: _balanced_log_loss((odds + scaling[1]) / np.exp(scaling[0]), labels),
        (0.0, 0.0),
        bounds=((np.log(0.1), np.log(10)), (-5, 5)),
    )
    return float(found.x[1])


def _balanced_log_loss(odds: Array, labels: npt.NDArray[np.int64]) -> float:
    """Of log odds `[N]`, both classes weighted alike."""
    weights = np.where(labels == 1, 1 / max(1, (labels == 1).sum()), 1 / max(1, (labels == 0).sum()))
    return float((weights * np.logaddexp(0, -np.where(labels == 1, 1, -1) * odds)).sum())


def choose_threshold(
    probabilities: Array,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    target: float = TARGET_SENSITIVITY,
) -> float:
    """The greatest threshold with the target sensitivity in every group. It may lie above one half: a lower one would
    call more negatives positive than the target asks for.

    It lies halfway between two neighbouring predictions, so that a rounding error decides nothing.

    Args:
        probabilities: calibrated, `[N]` of the positive class.
        labels: `[N]`, 1 for positive, positives present in each group.
        groups: `[N]`, which kind of pictures each is: the large groups shall not outvote the small ones.
        target: least sensitivity, 0..1.
    """
    limit = 1.0
    for group in np.unique(groups):
        positives = np.sort(probabilities[(groups == group) & (labels == 1)])
        missed = int(len(positives) * (1 - target) + 1e-9)
        limit = min(limit, float(positives[missed]))
    below = probabilities[probabilities < limit].max(initial=0.0)
    return float(np.clip((below + limit) / 2, 1e-6, 1 - 1e-6))


def choose(probabilities: Array, labels: npt.NDArray[np.int64]) -> OperatingPoint:
    """All numbers from the uncalibrated probabilities of a stress set.

    Args:
        probabilities: `[N * (1 + STRESS_COPIES)]` of the positive class, in the order of `stress`.
        labels: `[N]`, 1 for positive.
    """
    groups = np.repeat([0, 1], [len(labels), len(labels) * STRESS_COPIES])
    labels = np.tile(labels, 1 + STRESS_COPIES)
    temperature = fit_temperature(probabilities, labels)
    calibrated = calibrate(probabilities, temperature)
    threshold = choose_threshold(calibrated, labels, groups)
    low = float(np.quantile(calibrated[labels == 1], 1 - CERTAIN))
    high = float(np.quantile(calibrated[labels == 0], CERTAIN))
    return OperatingPoint(temperature, threshold, min(low, threshold), max(high, threshold))
