"""The activation map as people look at it."""

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_STOPS = np.linspace(0.0, 1.0, 5)
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)
"""Five stops of matplotlib's `inferno`: even in lightness, and readable by the colour-blind."""

_MOST_OPAQUE = 200


def explanation(evidence: npt.NDArray[np.float32], size: int) -> dict[str, Any]:
    """Dress an activation map for an answer.

    Args:
        evidence: `[h, w]` in 0..1, where the evidence for the positive class lies.
        size: width and height of the overlay in pixels.

    Returns:
        `map`, the numbers by rows, and `overlay`, a PNG in base64: no part of the image itself, transparent where
        there is no evidence, to be stretched over the original image.
    """
    smooth = Image.fromarray(evidence).resize((size, size), Image.Resampling.BICUBIC)
    values = np.asarray(smooth).clip(0.0, 1.0)
    layers = [np.interp(values, _STOPS, _COLOURS[:, channel]) for channel in range(3)] + [values * _MOST_OPAQUE]
    file = io.BytesIO()
    Image.fromarray(np.stack(layers, axis=-1).round().astype(np.uint8)).save(file, "PNG")
    return {
        "map": [[round(value, 4) for value in row] for row in evidence.tolist()],
        "overlay": base64.b64encode(file.getvalue()).decode("ascii"),
    }
