"""The detectors in NumPy, as a reference for the graph."""

from collections.abc import Sequence

import numpy as np

from training.ood_statistics import OodStatistics
from training.probes import Probes


def probabilities(probes: Probes, features: np.ndarray) -> np.ndarray:
    """The softmax regression: `[N, D]` to `[N, P]`."""
    scores = np.exp(features @ probes.weights + probes.bias)
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def unlike(distance: np.ndarray, classes: Sequence[OodStatistics], features: np.ndarray) -> np.ndarray:
    """The root mean square of an OOD distance `[N]` and the distance of features `[N, D]` from the nearest class."""
    squares = []
    for statistics in classes:
        centred = (features - statistics.mean) * statistics.scale
        along = (centred @ statistics.components) ** 2 @ statistics.gains
        squares.append(((centred**2).sum(axis=1) / statistics.noise + along) / len(statistics.mean))
    return np.sqrt((distance**2 + np.min(squares, axis=0)) / 2)
