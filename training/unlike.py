"""How unlike the training images an image is: for a warning, where the OOD detector refuses.

The OOD detector must accept every X-ray, so its limit is far out. An X-ray of an adult from another hospital lies
within it, mostly farther away than a child's from this one. Two things tell them apart better than its distance alone:
the features of a later block, which depend less on framing and exposure; and one Gaussian for each class, because
the images of a class vary less than those of all. The result is the root mean square of both distances, see
`export.refit`.
"""

import numpy as np
import numpy.typing as npt

from training import ood
from training.run_folder import OodStatistics

BLOCK = 4
"""The block whose activations are used, as they are before its pooling."""

STRENGTH = 0.25
"""Of the corruption of the validation images that the threshold is selected on. The distances of their OOD detector
then have the 95 % quantile of the data set's own test images, which differ a little from validation."""

ACCEPTED = 0.95
"""Share of validation images, plain and corrupted ones counted equally, that get no warning."""


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
    """The distance above which there is a warning.

    Args:
        plain: distances `[N]` of validation images.
        corrupted: distances `[M]` of copies of them, corrupted with `STRENGTH`.
    """
    distances = np.concatenate([plain, corrupted])
    weights = np.repeat([1 / len(plain), 1 / len(corrupted)], [len(plain), len(corrupted)])
    return float(np.quantile(distances, ACCEPTED, weights=weights, method="inverted_cdf"))
