"""Metrics of a classifier, with intervals that consider that images of one patient are similar.

Of two classes the second is the positive one, and the metrics are those of a binary classifier. With more classes, each
class is compared with all others, and the unnamed metrics are means over classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from handler.calibration import calibration_error
from handler.contract import decide

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def summary(
    probabilities: Array,
    labels: Labels,
    threshold: float | None,
    names: Sequence[str],
    weights: Array | None = None,
) -> dict[str, float]:
    """Compute all metrics.

    Args:
        probabilities: `[N, K]`, 0..1, rows sum to 1.
        labels: `[N]`, index of the true class; all classes are present.
        threshold: see `handler.contract.decide`.
        names: `[K]` class names.
        weights: `[N]` how often each image counts; once by default.

    Returns:
        Metrics by name, each 0..1 except `log_loss` (nats, natural logarithm). With more than two classes also
        `sensitivity_NAME`, `specificity_NAME` and `auc_NAME` (one against the rest) of each class; `auc` and
        `average_precision` are the means of one against the rest, `ece` is the mean of the classes' calibration errors,
        and `balanced_accuracy` is the mean sensitivity.
    """
    w = np.ones(len(labels)) if weights is None else weights
    decided = decide(probabilities, threshold)
    truth = np.eye(len(names))[labels]
    clipped = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1 - 1e-7)
    sensitivity, specificity = _shares_found(labels, decided, w, len(names))
    counted = [1] if len(names) == 2 else list(range(len(names)))
    each = [_one_against_rest(probabilities[:, k], labels == k, w) for k in counted]
    found = {"accuracy": float(w[decided == labels].sum() / w.sum())}
    if len(names) == 2:
        found |= {"sensitivity": sensitivity[1], "specificity": specificity[1]}
    found["balanced_accuracy"] = float(np.mean(sensitivity))
    for name in ("auc", "average_precision"):
        found[name] = float(np.mean([one[name] for one in each]))
    # Half the sum over classes, which for two classes is the squared error of the positive one.
    found["brier"] = float(np.average(((probabilities - truth) ** 2).sum(axis=1) / 2, weights=w))
    found["ece"] = float(np.mean([one["ece"] for one in each]))
    found["log_loss"] = float(np.average(-np.log(clipped), weights=w))
    if len(names) > 2:
        by_class = {"sensitivity": sensitivity, "specificity": specificity, "auc": [one["auc"] for one in each]}
        for of, values in by_class.items():
            found |= {f"{of}_{name}": value for name, value in zip(names, values, strict=True)}
    return found


def _shares_found(labels: Labels, decided: Labels, weights: Array, classes: int) -> tuple[list[float], list[float]]:
    """Sensitivity and specificity for each class."""
    cells = np.bincount(labels * classes + decided, weights, classes**2).reshape(classes, classes)
    right, of_class, called = cells.diagonal(), cells.sum(axis=1), cells.sum(axis=0)
    rest = cells.sum() - of_class
    return (right / of_class).tolist(), ((rest - called + right) / rest).tolist()


def _one_against_rest(probabilities: Array, truth: npt.NDArray[np.bool_], weights: Array) -> dict[str, float]:
    return {
        "auc": float(roc_auc_score(truth, probabilities, sample_weight=weights)),
        "average_precision": float(average_precision_score(truth, probabilities, sample_weight=weights)),
        "ece": calibration_error(probabilities, truth, weights),
    }


def shares(metrics: Mapping[str, float]) -> list[str]:
    """Return the names of the metrics in a `summary` that describe decisions class by class: sensitivity and
    specificity for two classes, otherwise the sensitivity for each class."""
    return [name for name in metrics if name in ("sensitivity", "specificity") or name.startswith("sensitivity_")]


def confusion(probabilities: Array, labels: Labels, threshold: float | None) -> list[list[int]]:
    """Count images `[K][K]` by true class (rows) and predicted class (columns).

    Args:
        probabilities, labels, threshold: see `summary`.
    """
    count = probabilities.shape[1]
    cells = np.bincount(labels * count + decide(probabilities, threshold), minlength=count**2)
    return [[int(cell) for cell in row] for row in cells.reshape(count, count)]


def bootstrap(
    probabilities: Array,
    labels: Labels,
    threshold: float | None,
    names: Sequence[str],
    patients: Sequence[str],
    rounds: int = 1000,
    seed: int = 0,
    progress: Callable[[range], Any] = iter,
) -> dict[str, tuple[float, float]]:
    """Compute 95 % percentile intervals. Whole patients are resampled with replacement, so that ten images of one
    person do not count as ten independent findings.

    Args:
        probabilities, labels, threshold, names: see `summary`.
        patients: `[N]`, the patient of each image.
        rounds: number of resamples; a resample that lacks a class is drawn again.

    Returns:
        Lower and upper end of the interval, by metric.
    """
    _, cluster = np.unique(np.asarray(patients), return_inverse=True)
    count = int(cluster.max()) + 1
    rng = np.random.default_rng(seed)
    draws: list[dict[str, float]] = []
    for _ in progress(range(rounds)):
        while True:
            weights = np.bincount(rng.integers(0, count, count), minlength=count)[cluster].astype(np.float64)
            if np.bincount(labels, weights, minlength=len(names)).min() > 0:
                break
        draws.append(summary(probabilities, labels, threshold, names, weights))
    return {
        name: (float(low), float(high))
        for name in draws[0]
        for low, high in [np.percentile([draw[name] for draw in draws], [2.5, 97.5])]
    }
