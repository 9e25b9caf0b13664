"""Orientation probes: detect whether an image is mirrored, turned, inverted, or a photograph of a screen.

The network scores such an image without an error, and often wrongly. The features differ: the pooled features of the
OOD detector contain the position of the heart and of bright regions. A softmax regression on them costs one small
matrix product. Its labels need no annotation: training images are mirrored, turned, inverted and photographed.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.contract import PHOTOGRAPHED
from handler.imaging.decode import Pixels, squared
from training.augment import augment, resize
from training.photograph import photograph

UPRIGHT = "upright"
"""The label of an image in the orientation that the network expects. The first of `ORIENTATIONS`."""

ORIENTATIONS: dict[str, Callable[[Pixels], Pixels]] = {
    UPRIGHT: lambda pixels: pixels,
    "mirrored": lambda pixels: pixels[..., ::-1],
    "upside_down": lambda pixels: pixels[..., ::-1, ::-1],
    "flipped": lambda pixels: pixels[..., ::-1, :],
    "turned_left": lambda pixels: np.rot90(pixels, 1, (-2, -1)),
    "turned_right": lambda pixels: np.rot90(pixels, -1, (-2, -1)),
    "inverted": lambda pixels: 255 - pixels,
    PHOTOGRAPHED: lambda pixels: np.stack([_photographed(image) for image in pixels]),
}
"""By label, the function that is applied to upright images, uint8 `[N, S, S]`."""

FALSE_ALARMS = 0.02
"""Maximum share of upright validation images that get a warning of their orientation, both of unchanged and of
corrupted ones."""

FALSE_PHOTOGRAPHS = 0.005
"""Maximum share of these images that get a warning of a photograph."""

REGULARISATION = 0.03
"""`C` of scikit-learn's logistic regression, the inverse of the regularisation strength. It was selected on validation
images."""

STRENGTH = 1.0
"""Strength of the corruption of one copy of each image. Without it, a new framing or exposure causes false alarms."""


def _photographed(image: Pixels) -> Pixels:
    """Simulate a photograph and crop it as decoding does. Equal images give equal photographs."""
    return squared(Image.fromarray(photograph(image, np.random.default_rng(int(image.sum())))), len(image))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """A softmax regression on `D` pooled features, for `P` labels in the order of `ORIENTATIONS`. Both arrays are
    float32."""

    weights: npt.NDArray[np.float32]
    """`[D, P]`"""
    bias: npt.NDArray[np.float32]
    """`[P]`"""


def corrupted(pixels: Pixels, size: int, strength: float, seed: int) -> Pixels:
    """Return a corrupted copy of each image, uint8 `[N, size, size]`.

    Args:
        pixels: uint8 `[N, S, S]`; the corruption happens at this size.
        strength: see `training.augment.augment`; 0 for the unchanged image.
        seed: the same seed gives the same corruptions.
    """
    images = (augment(image, np.random.default_rng((seed, i)), strength) for i, image in enumerate(pixels))
    return np.stack([resize(image, size) for image in images])


def oriented(pixels: Pixels, size: int, seed: int) -> dict[str, Pixels]:
    """Return the images to fit probes on: each image and a corrupted copy of it, in every orientation.

    Args:
        pixels: uint8 `[N, S, S]`, upright.
        size: image size in pixels at which the network is served.
        seed: the same seed gives the same corruptions.

    Returns:
        By label: uint8 `[2 N, size, size]`.
    """
    images = np.concatenate([pixels, corrupted(pixels, pixels.shape[-1], STRENGTH, seed)])
    return {
        label: np.stack([resize(np.ascontiguousarray(image), size) for image in change(images)])
        for label, change in ORIENTATIONS.items()
    }


def fit_probes(features: Mapping[str, npt.NDArray[np.floating]]) -> Probes:
    """Fit the regression.

    Args:
        features: by label of `ORIENTATIONS`: pooled features `[N, D]` of the images of `oriented`, see
            `training.ood.pool`.

    Raises:
        KeyError: a label is missing.
    """
    from sklearn.linear_model import LogisticRegression

    rows = [features[label].astype(np.float64) for label in ORIENTATIONS]
    labels = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    together = np.concatenate(rows)
    mean, deviation = together.mean(axis=0), together.std(axis=0)
    scale = 1 / (deviation + 0.05 * deviation.mean() + 1e-6)
    fitted = LogisticRegression(C=REGULARISATION, max_iter=1000, tol=1e-3).fit((together - mean) * scale, labels)
    weights = fitted.coef_.T * scale[:, np.newaxis]
    return Probes(weights.astype(np.float32), (fitted.intercept_ - mean @ weights).astype(np.float32))


def select_least_upright(plain: npt.NDArray[np.floating], changed: npt.NDArray[np.floating]) -> float:
    """Select the probability, 0..1, below which there is a warning. The share of false alarms is at most
    `FALSE_ALARMS`, both on unchanged and on corrupted images.

    Args:
        plain: probabilities `[N]` of `UPRIGHT` and `PHOTOGRAPHED`, added, for upright validation images.
        changed: the same for corrupted copies of these images.
    """
    return float(min(np.quantile(each, FALSE_ALARMS, method="lower") for each in (plain, changed)))


def select_most_photographed(plain: npt.NDArray[np.floating], changed: npt.NDArray[np.floating]) -> float:
    """Select the probability of `PHOTOGRAPHED`, 0..1, above which there is a warning. The share of false alarms is at
    most `FALSE_PHOTOGRAPHS`, both on unchanged and on corrupted images.

    Args:
        plain: probabilities `[N]` of `PHOTOGRAPHED` for upright validation images.
        changed: the same for corrupted copies of these images.
    """
    return float(max(np.quantile(each, 1 - FALSE_PHOTOGRAPHS, method="higher") for each in (plain, changed)))
