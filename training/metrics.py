"""Metrics of a binary classifier, with intervals that take into account that images of one patient are alike."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ECE_BINS = 10


def summary(probabilities: Array, labels: Labels, threshold: float, weights: Array | None = None) -> dict[str, float]:
    """All metrics at once.

    Args:
        probabilities: `[N]` of the positive class, 0..1.
        labels: `[N]`, 1 for positive; both classes present.
        threshold: an image is called positive from this probability on.
        weights: `[N]` how often each image counts; once by default.

    Returns:
        Metrics by name, each 0..1 but for `log_loss` (nats, natural logarithm).
    """
    w = np.ones(len(labels)) if weights is None else weights
    positive, called = labels == 1, probabilities >= threshold
    sensitivity = float(w[positive & called].sum() / w[positive].sum())
    specificity = float(w[~positive & ~called].sum() / w[~positive].sum())
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return {
        "accuracy": float(w[positive == called].sum() / w.sum()),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "auc": float(roc_auc_score(labels, probabilities, sample_weight=w)),
        "average_precision": float(average_precision_score(labels, probabilities, sample_weight=w)),
        "brier": float(np.average((probabilities - labels) ** 2, weights=w)),
        "ece": expected_calibration_error(probabilities, labels, w),
        "log_loss": float(np.average(-np.log(np.where(positive, clipped, 1 - clipped)), weights=w)),
    }


def expected_calibration_error(probabilities: Array, labels: Labels, weights: Array | None = None) -> float:
    """Mean gap between predicted and observed share of positives over ten equal bins of probability, weighted by how
    many images fall into each (Naeini et al. 2015, for the probability of the positive class)."""
    w = np.ones(len(labels)) if weights is None else weights
    gaps = np.bincount(ece_bins(probabilities), weights=w * (probabilities - labels), minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / w.sum())


def ece_bins(probabilities: Array) -> Labels:
    """Which of `ECE_BINS` equal bins `[N]` each probability falls into."""
    return np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def confusion(probabilities: Array, labels: Labels, threshold: float) -> list[list[int]]:
    """Counts by true class (rows) and predicted class (columns), negative first."""
    called = (probabilities >= threshold).astype(int)
    return [[int(((labels == row) & (called == column)).sum()) for column in (0, 1)] for row in (0, 1)]


def bootstrap(
    probabilities: Array,
    labels: Labels,
    threshold: float,
    patients: Sequence[str],
    rounds: int = 1000,
    seed: int = 0,
    progress: Callable[[range], Any] = iter,
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals: whole patients are drawn with replacement, so that ten images of one person do not
    count as ten independent findings.

    Args:
        patients: `[N]`, the patient of each image.
        rounds: resamples; one that lacks a class is drawn again.

    Returns:
        Lower and upper end by metric.
    """
    _, cluster = np.unique(np.asarray(patients), return_inverse=True)
    count = int(cluster.max()) + 1
    rng = np.random.default_rng(seed)
    draws: list[dict[str, float]] = []
    for _ in progress(range(rounds)):
        while True:
            weights = np.bincount(rng.integers(0, count, count), minlength=count)[cluster].astype(np.float64)
            if weights[labels == 1].sum() > 0 and weights[labels == 0].sum() > 0:
                break
        draws.append(summary(probabilities, labels, threshold, weights))
    return {
        name: (float(low), float(high))
        for name in draws[0]
        for low, high in [np.percentile([draw[name] for draw in draws], [2.5, 97.5])]
    }
