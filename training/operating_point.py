"""The operating point: logit bias, temperature, threshold and abstention band, all selected on validation images.

Plain validation images saturate (AUC above 0.99), images from elsewhere do not. So the numbers are selected on the
corrupted validation set: the validation images as they are, and several copies of each, corrupted by
`training.augment`.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import augment

Array = npt.NDArray[np.float64]

CORRUPTED_COPIES = 3
CORRUPTION_STRENGTH = 1.0
TARGET_SENSITIVITY = 0.95
CERTAIN = 0.98
"""The abstention band begins where sensitivity falls to this, and ends where specificity reaches it."""


@dataclasses.dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What validation decides; the fields are those of `handler.contract.Contract`."""

    temperature: float
    threshold: float
    """Of the calibrated probability of the positive class."""
    uncertain_from: float
    uncertain_to: float
    """The abstention band: at most one positive in fifty scores below it, at most one negative in fifty above it,
    both counted on the corrupted validation set."""
    input_size: int
    """Image size in pixels at which the other numbers hold."""


def corrupted_validation_set(pixels: Pixels, seed: int, copies: int = CORRUPTED_COPIES) -> Pixels:
    """The images followed by corrupted copies of them.

    Args:
        pixels: uint8 `[N, S, S]`.
        seed: the same seed gives the same corruptions.

    Returns:
        uint8 `[N * (1 + copies), S, S]`: the images, then the first copy of each, then the second.
    """
    corrupted = [
        augment(image, np.random.default_rng((seed, copy, index)), CORRUPTION_STRENGTH)
        for copy in range(copies)
        for index, image in enumerate(pixels)
    ]
    return np.concatenate([pixels, np.stack(corrupted)])


def logits(probabilities: Array) -> Array:
    """Log odds `[N]` of probabilities `[N]` in 0..1, clipped to finite values."""
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped / (1 - clipped)))


def calibrate(probabilities: Array, temperature: float = 1.0, logit_bias: float = 0.0) -> Array:
    """Calibrated probabilities `[N]` in 0..1: `logit_bias` is added to the log odds, the sum is divided by
    `temperature`.

    Args:
        probabilities: `[N]` of the positive class, 0..1.
    """
    return np.asarray(1 / (1 + np.exp(-(logits(probabilities) + logit_bias) / temperature)))


def fit_temperature(probabilities: Array, labels: npt.NDArray[np.int64]) -> float:
    """The temperature with the least log loss (Guo et al. 2017, arXiv:1706.04599), both classes with equal weight.

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


def fit_logit_bias(probabilities: Array, labels: npt.NDArray[np.int64]) -> float:
    """The number to add to the log odds of the positive class: the bias of Platt scaling (Platt 1999), fitted with
    equal weight for both classes. Distillation and weight averaging leave a bias that temperature scaling cannot
    correct.

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
    """Of log odds `[N]`, both classes with equal weight."""
    weights = np.where(labels == 1, 1 / max(1, (labels == 1).sum()), 1 / max(1, (labels == 0).sum()))
    return float((weights * np.logaddexp(0, -np.where(labels == 1, 1, -1) * odds)).sum())


def select_threshold(
    probabilities: Array,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    target: float = TARGET_SENSITIVITY,
) -> float:
    """The greatest threshold with the target sensitivity in every group. It may lie above one half: a lower one would
    give more false positives than the target requires.

    It lies halfway between two neighbouring predictions, so that a rounding error changes no decision.

    Args:
        probabilities: calibrated, `[N]` of the positive class.
        labels: `[N]`, 1 for positive; each group has positives.
        groups: `[N]`, the group of each image. A small group counts as much as a large one.
        target: least sensitivity, 0..1.

    Returns:
        A threshold in (0, 1).
    """
    limit = 1.0
    for group in np.unique(groups):
        positives = np.sort(probabilities[(groups == group) & (labels == 1)])
        missed = int(len(positives) * (1 - target) + 1e-9)
        limit = min(limit, float(positives[missed]))
    below = probabilities[probabilities < limit].max(initial=0.0)
    return float(np.clip((below + limit) / 2, 1e-6, 1 - 1e-6))


def select(probabilities: Array, labels: npt.NDArray[np.int64], input_size: int) -> OperatingPoint:
    """All numbers of the operating point, from uncalibrated probabilities of the corrupted validation set.

    Args:
        probabilities: `[N * (1 + CORRUPTED_COPIES)]` of the positive class, in the order of
            `corrupted_validation_set`.
        labels: `[N]`, 1 for positive.
        input_size: image size in pixels at which they were computed.
    """
    groups = np.repeat([0, 1], [len(labels), len(labels) * CORRUPTED_COPIES])
    labels = np.tile(labels, 1 + CORRUPTED_COPIES)
    temperature = fit_temperature(probabilities, labels)
    calibrated = calibrate(probabilities, temperature)
    threshold = select_threshold(calibrated, labels, groups)
    low = float(np.quantile(calibrated[labels == 1], 1 - CERTAIN))
    high = float(np.quantile(calibrated[labels == 0], CERTAIN))
    return OperatingPoint(temperature, threshold, min(low, threshold), max(high, threshold), input_size)
