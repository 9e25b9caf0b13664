"""Explain a prediction: an occlusion map as numbers and as an image."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.classifier import Classifier
from handler.imaging.decode import Pixels
from handler.occlusion import log_odds, occlusion_map
from handler.preview import png

FLOOR, FULL = 0.3, 1.0
"""In nats: the overlay is transparent below the first value, and has its strongest colour above the second one."""

_STOPS = np.linspace(0.0, 1.0, 5)
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
"""Five colours of matplotlib's `inferno`: their lightness increases evenly, so colour-blind people can read them."""

_MOST_OPAQUE = 200


def explanation(classifier: Classifier, pixels: Pixels, label: str) -> dict[str, Any]:
    """Explain the probability of a label for one image.

    Args:
        pixels: uint8 `[S, S]`.

    Returns:
        `label`; `map`, the map by rows in nats, see `handler.occlusion.occlusion_map`; `floor` and `full`, the ends of
        the scale of `overlay`; `overlay`, a PNG in base64, transparent below the floor, to be stretched over the
        original image. It does not contain the image.
    """
    index = classifier.contract.labels.index(label)
    found = occlusion_map(lambda images: log_odds(classifier.score(images).probabilities, index), pixels)
    return {
        "label": label,
        "map": [[round(value, 4) for value in row] for row in found.tolist()],
        "floor": FLOOR,
        "full": FULL,
        "overlay": base64.b64encode(overlay(found, len(pixels))).decode("ascii"),
    }


def overlay(found: npt.NDArray[np.float32], size: int) -> bytes:
    """Draw the map as a PNG of `size` by `size` pixels."""
    smooth = np.asarray(Image.fromarray(found).resize((size, size), Image.Resampling.BICUBIC))
    strength = (smooth / FULL).clip(0.0, 1.0)
    opacity = np.where(smooth < FLOOR, 0.0, strength * _MOST_OPAQUE)
    layers = [np.interp(strength, _STOPS, _COLOURS[:, channel]) for channel in range(3)] + [opacity]
    return png(np.stack(layers, axis=-1).round().astype(np.uint8))
