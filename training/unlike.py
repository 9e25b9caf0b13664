"""Measure how much an image differs from the training images, for a warning. (The OOD detector refuses images.)

The OOD detector must accept every X-ray, so its threshold is high. The X-ray of an adult from another hospital is below
it, but mostly at a greater distance than the X-ray of a child from this hospital. Two changes separate them better: the
features of a later block, which depend less on framing and exposure; and one Gaussian for each class, because the
images of one class vary less than all images. The result is the root mean square of both distances, see
`export.refit`.
"""

import numpy as np
import numpy.typing as npt

from training import ood
from training.ood_statistics import OodStatistics

BLOCK = 4
"""Number of the block whose activations are used, before its pooling."""

STRENGTH = 0.25
"""Strength of the corruption of the validation images that the threshold is selected on. With it, the 95 % quantile of
their OOD distances is that of the data set's test images, which differ slightly from the validation images."""

ACCEPTED = 0.95
"""Share of validation images without a warning; unchanged and corrupted images have the same total weight."""


def fit_classes(features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> tuple[OodStatistics, ...]:
    """Fit one Gaussian for each class, see `training.ood.fit_gaussian`.

    Args:
        features: `[N, D]`, the mean of each channel of `BLOCK` in each quarter of the image, of training images and of
            a corrupted copy of each, with the strength `training.ood.STRENGTH`.
        labels: `[N]`, 0 to K - 1; each class has at least four images.

    Returns:
        K statistics.
    """
    return tuple(ood.fit_gaussian(features[labels == label].astype(np.float64)) for label in range(labels.max() + 1))


def select_limit(plain: npt.NDArray[np.floating], corrupted: npt.NDArray[np.floating]) -> float:
    """Select the distance above which there is a warning.

    Args:
        plain: distances `[N]` of validation images.
        corrupted: distances `[M]` of copies of them, corrupted with `STRENGTH`.
    """
    distances = np.concatenate([plain, corrupted])
    weights = np.repeat([1 / len(plain), 1 / len(corrupted)], [len(plain), len(corrupted)])
    return float(np.quantile(distances, ACCEPTED, weights=weights, method="inverted_cdf"))
