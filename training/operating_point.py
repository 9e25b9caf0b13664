"""The operating point: logit biases, temperature, threshold and set thresholds, all selected on validation images.

On unchanged validation images the AUC saturates (above 0.99); on images of other hospitals it does not. So the numbers
are selected on the corrupted validation set: the unchanged validation images, and several copies of each, corrupted by
`training.augment`. Every class has the same total weight.
"""

import dataclasses

import numpy as np

from handler.calibration import Array, Labels, select_set_thresholds, select_threshold
from handler.imaging.decode import Pixels
from training.augment import augment

CORRUPTED_COPIES = 3
CORRUPTION_STRENGTH = 1.0
TARGET_SENSITIVITY = 0.95
SET_COVERAGE = 0.98


@dataclasses.dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The numbers that are selected on validation images; the fields are those of `handler.contract.Contract`."""

    temperature: float
    threshold: float | None
    set_thresholds: tuple[float, ...]
    set_coverage: float
    input_size: int
    """Image size in pixels at which the other numbers hold."""


def corrupted(image: Pixels, seed: int, copy: int, index: int) -> Pixels:
    """Return one image of the corrupted validation set, which contains the unchanged images and `CORRUPTED_COPIES`
    copies of each.

    Args:
        image: uint8 `[S, S]`.
        seed: the same seed gives the same corruption.
        copy: number of the copy; 0 for the unchanged image.
        index: index of the image in the validation split.
    """
    return augment(image, np.random.default_rng((seed, copy - 1, index)), CORRUPTION_STRENGTH) if copy else image


def select(probabilities: Array, labels: Labels, temperature: float, input_size: int) -> OperatingPoint:
    """Select all numbers of the operating point, from probabilities of the corrupted validation set.

    Args:
        probabilities: calibrated, `[N * (1 + CORRUPTED_COPIES), K]`: the images, then the first copy of each, then the
            second.
        labels: `[N]`, index of the true class.
        temperature: the temperature of their calibration.
        input_size: image size in pixels at which they were computed.
    """
    groups = np.repeat([0, 1], [len(labels), len(labels) * CORRUPTED_COPIES])
    labels = np.tile(labels, 1 + CORRUPTED_COPIES)
    threshold = None
    if probabilities.shape[1] == 2:
        threshold = select_threshold(probabilities[:, 1], labels, groups, TARGET_SENSITIVITY)
    thresholds = select_set_thresholds(probabilities, labels, SET_COVERAGE, threshold)
    return OperatingPoint(temperature, threshold, thresholds, SET_COVERAGE, input_size)
