"""Calibrate probabilities on labelled images. It needs only NumPy, so a deployment can do it with its own images.

A calibration has three parts, each fitted with the same weight for every class:

- scaling: one temperature and one bias per class (Platt 1999; Guo et al. 2017, arXiv:1706.04599)
- the threshold of the second of two labels, for a target sensitivity
- prediction sets: class-conditional conformal prediction (Vovk 2012, arXiv:1209.2673; Sadinle et al. 2019,
  arXiv:1609.00451)
"""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

_LEAST = 1e-7
"""Smaller probabilities are replaced by this one, so that logarithms are finite."""

_RIDGE = 1e-4
"""Weight of the squared distance from the identity scaling. It only has an effect if the images do not determine the
scaling: if they separate the classes, the best temperature would be 0."""

_STEEPEST = 10.0
"""The inverse temperature is limited to the range from 1 / this value to this value."""

_ACCEPTED = 0.995
"""Share of chest X-rays that must lie within the OOD threshold, before the margin."""

_MARGIN = 1.2
"""Factor on the OOD threshold: X-rays of other hospitals are a little farther away."""

ECE_BINS = 10


def calibrate(probabilities: Array, temperature: float = 1.0, biases: Array | None = None) -> Array:
    """Return calibrated probabilities `[N, K]`: the softmax of `(log p + biases) / temperature`.

    Args:
        probabilities: `[N, K]`, rows sum to 1.
        biases: `[K]`, the logit biases; 0 by default.
    """
    scores = (_logarithms(probabilities) + (0.0 if biases is None else biases)) / temperature
    return _softmax(scores)


def fit_scaling(probabilities: Array, labels: Labels) -> tuple[float, Array]:
    """Fit the scaling with the lowest log loss.

    The problem is convex in the inverse temperature and the scaled biases, so Newton's method finds its only solution.

    Args:
        probabilities: `[N, K]`, rows sum to 1.
        labels: `[N]`, 0 to K - 1; every class has images.

    Returns:
        The temperature, and the biases `[K]`, of which the first is 0.
    """
    logarithms, (count, classes) = _logarithms(probabilities), probabilities.shape
    weights = 1 / (classes * np.bincount(labels, minlength=classes)[labels])
    truth = np.eye(classes)[labels]
    # Scores are linear in the parameters: the inverse temperature, and the scaled biases of all classes but the first.
    design = np.zeros((count, classes, classes))
    design[:, :, 0] = logarithms
    design[:, range(1, classes), range(1, classes)] = 1
    neutral = np.eye(classes)[0]

    def loss(parameters: Array) -> float:
        scores = design @ parameters
        surprise = np.logaddexp.reduce(scores, axis=1) - (scores * truth).sum(axis=1)
        return float(weights @ surprise + _RIDGE * np.square(parameters - neutral).sum())

    found = neutral
    for _ in range(100):
        predicted = _softmax(design @ found)
        error = weights[:, np.newaxis] * (predicted - truth)
        gradient = np.einsum("nkp,nk->p", design, error) + 2 * _RIDGE * (found - neutral)
        centred = design - np.einsum("nkp,nk->np", design, predicted)[:, np.newaxis]
        curvature = np.einsum("nkp,nk,nkq->pq", centred, weights[:, np.newaxis] * predicted, centred)
        step = np.linalg.solve(curvature + 2 * _RIDGE * np.eye(classes), gradient)
        size = 1.0
        while loss(found - size * step) > loss(found) and size > 1e-6:
            size /= 2
        found = found - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    slope = float(np.clip(found[0], 1 / _STEEPEST, _STEEPEST))
    return 1 / slope, np.concatenate([[0.0], found[1:]]) / slope


def select_threshold(probabilities: Array, labels: Labels, groups: Labels, target: float) -> float:
    """Select the highest threshold with the target sensitivity in every group. It may be above one half: a lower one
    would give more false positives than the target requires.

    It lies halfway between two neighbouring predictions, so that a rounding error does not change a decision.

    Args:
        probabilities: calibrated, `[N]` of the positive class.
        labels: `[N]`, 1 for positive; each group has positives.
        groups: `[N]`, the group of each image. A small group counts as much as a large one.
        target: minimum sensitivity, 0..1.

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


def select_set_thresholds(
    probabilities: Array, labels: Labels, coverage: float, threshold: float | None
) -> tuple[float, ...]:
    """Select, by class, the minimum probability for the prediction set, see `handler.contract.Contract`.

    If `n` images of a class and a new one are exchangeable, the set of the new one contains its class with a
    probability of at least `coverage`. Fewer than `least_images(coverage)` images exclude nothing: the result is 0.

    Args:
        probabilities: calibrated, `[N, K]`.
        labels: `[N]`, 0 to K - 1.
        coverage: 0..1.
        threshold: threshold of the second of two labels, or None. The resulting label always is in the set.
    """
    found = []
    for index in range(probabilities.shape[1]):
        own = np.sort(probabilities[labels == index, index])
        excluded = math.floor((len(own) + 1) * (1 - coverage) + 1e-9)
        found.append(float(own[excluded - 1]) if excluded else 0.0)
    if threshold is not None:
        found = [min(found[0], 1 - threshold), min(found[1], threshold)]
    return tuple(found)


def shift_prevalence(probabilities: Array, prevalence: Array) -> Array:
    """Adapt probabilities `[N, K]` to class frequencies (Saerens et al. 2002, doi 10.1162/089976602753284446).

    Args:
        probabilities: `[N, K]`, for equally frequent classes.
        prevalence: `[K]`, the share of each class, above 0.
    """
    shifted = probabilities * prevalence
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def calibration_error(
    probabilities: Array, truth: npt.NDArray[np.bool_] | Labels, weights: Array | None = None
) -> float:
    """The expected calibration error of one class (Naeini et al. 2015, for the probability of that class): the gap
    between its mean probability and its share, over equal bins of probability, weighted by images.

    Args:
        probabilities: `[N]` of the class, 0..1.
        truth: `[N]`, 1 for images of the class.
        weights: `[N]`, the weight of each image; by default equal.
    """
    w = np.ones(len(truth)) if weights is None else weights
    gaps = np.bincount(ece_bins(probabilities), weights=w * (probabilities - truth), minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / w.sum())


def ece_bins(probabilities: Array) -> Labels:
    """Which of `ECE_BINS` equal bins `[N]` each probability falls into."""
    return np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def select_ood_threshold(distances: npt.NDArray[np.floating]) -> float:
    """The distance above which an image is out of distribution, from those `[N]` of chest X-rays."""
    return float(np.quantile(distances, _ACCEPTED)) * _MARGIN


def least_images(coverage: float) -> int:
    """Return the minimum number of images of a class with which a prediction set can exclude it."""
    return math.ceil(1 / (1 - coverage) - 1e-9) - 1


def _logarithms(probabilities: Array) -> Array:
    return np.asarray(np.log(np.clip(probabilities.astype(np.float64), _LEAST, 1.0)))


def _softmax(scores: Array) -> Array:
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
