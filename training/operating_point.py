"""The operating point: logit biases, temperature, threshold and set thresholds, all selected on validation images.

Plain validation images saturate (AUC above 0.99), images from elsewhere do not. So the numbers are selected on the
corrupted validation set: the validation images as they are, and several copies of each, corrupted by
`training.augment`. Every class has the same total weight.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import augment

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

CORRUPTED_COPIES = 3
CORRUPTION_STRENGTH = 1.0
TARGET_SENSITIVITY = 0.95
SET_COVERAGE = 0.98

_BOUNDS = (np.log(0.1), np.log(10))
"""Of the logarithm of the temperature."""


@dataclasses.dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What validation decides; the fields are those of `handler.contract.Contract`."""

    temperature: float
    threshold: float | None
    set_thresholds: tuple[float, ...]
    set_coverage: float
    input_size: int
    """Image size in pixels at which the other numbers hold."""


def corrupted(image: Pixels, seed: int, copy: int, index: int) -> Pixels:
    """One image of the corrupted validation set, which has the images as they are and `CORRUPTED_COPIES` copies of
    each.

    Args:
        image: uint8 `[S, S]`.
        seed: the same seed gives the same corruption.
        copy: number of the copy; 0 for the image as it is.
        index: of the image in the validation split.
    """
    return augment(image, np.random.default_rng((seed, copy - 1, index)), CORRUPTION_STRENGTH) if copy else image


def calibrate(probabilities: Array, temperature: float = 1.0, biases: Array | None = None) -> Array:
    """Calibrated probabilities `[N, K]`, 0..1: the biases are added to the log probabilities, the sums are divided by
    the temperature, and softmax makes probabilities of them.

    Args:
        probabilities: `[N, K]`, 0..1.
        biases: `[K]`; none by default.
    """
    scaled = (_logits(probabilities) + (0.0 if biases is None else biases)) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logits(probabilities: Array) -> Array:
    """Log probabilities, clipped to finite values."""
    return np.asarray(np.log(np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)))


def fit_temperature(probabilities: Array, labels: Labels) -> float:
    """The temperature with the least log loss (Guo et al. 2017, arXiv:1706.04599), all classes with equal weight.

    Args:
        probabilities: `[N, K]` at temperature 1.
        labels: `[N]`, index of the true class.
    """
    from scipy.optimize import minimize_scalar

    logits, weights = _logits(probabilities), _balanced_weights(labels)
    found = minimize_scalar(
        lambda log_temperature: _log_loss(logits / np.exp(log_temperature), labels, weights),
        bounds=_BOUNDS,
        method="bounded",
    )
    return float(np.exp(found.x))


def fit_biases(probabilities: Array, labels: Labels) -> Array:
    """The numbers `[K]` to add to the logits of the classes; the first one is 0. With two classes the second one is the
    bias of Platt scaling (Platt 1999). All classes have equal weight. Distillation and weight averaging leave a bias
    that temperature scaling cannot correct.

    Args:
        probabilities: `[N, K]` at temperature 1.
        labels: `[N]`, index of the true class.
    """
    from scipy.optimize import minimize

    logits, weights = _logits(probabilities), _balanced_weights(labels)
    others = logits.shape[1] - 1

    def loss(scaling: Array) -> float:
        return _log_loss((logits + np.append(0.0, scaling[1:])) / np.exp(scaling[0]), labels, weights)

    found = minimize(loss, np.zeros(1 + others), bounds=(_BOUNDS, *[(-5, 5)] * others))
    return np.append(0.0, found.x[1:])


def _balanced_weights(labels: Labels) -> Array:
    """`[N]`; those of each class sum to 1."""
    return np.asarray(1 / np.bincount(labels)[labels])


def _log_loss(logits: Array, labels: Labels, weights: Array) -> float:
    from scipy.special import logsumexp

    losses = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return float((weights * losses).sum())


def select_threshold(
    probabilities: Array,
    labels: Labels,
    groups: Labels,
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


def select_set_thresholds(probabilities: Array, labels: Labels, coverage: float = SET_COVERAGE) -> tuple[float, ...]:
    """By class: the probability from which the class is in the prediction set. Of `n` new images of each class at most
    `1 - coverage` are expected below it (class-conditional conformal prediction, Sadinle et al. 2019,
    arXiv:1609.00451). A class with too few images to promise that gets 0: it is always in the set.

    Args:
        probabilities: calibrated, `[N, K]`.
        labels: `[N]`, index of the true class.
    """
    found = []
    for label in range(probabilities.shape[1]):
        own = np.sort(probabilities[labels == label, label])
        rank = int((len(own) + 1) * (1 - coverage) + 1e-9)
        found.append(float(own[rank - 1]) if rank else 0.0)
    return tuple(found)


def select(probabilities: Array, labels: Labels, input_size: int) -> OperatingPoint:
    """All numbers of the operating point, from uncalibrated probabilities of the corrupted validation set.

    Args:
        probabilities: `[N * (1 + CORRUPTED_COPIES), K]`: the images, then the first copy of each, then the second.
        labels: `[N]`, index of the true class.
        input_size: image size in pixels at which they were computed.
    """
    groups = np.repeat([0, 1], [len(labels), len(labels) * CORRUPTED_COPIES])
    labels = np.tile(labels, 1 + CORRUPTED_COPIES)
    temperature = fit_temperature(probabilities, labels)
    calibrated = calibrate(probabilities, temperature)
    thresholds = select_set_thresholds(calibrated, labels)
    threshold = None
    if calibrated.shape[1] == 2:
        threshold = select_threshold(calibrated[:, 1], labels, groups)
        # The label that the threshold gives must be in the set.
        thresholds = (min(thresholds[0], 1 - threshold), min(thresholds[1], threshold))
    return OperatingPoint(temperature, threshold, thresholds, SET_COVERAGE, input_size)
