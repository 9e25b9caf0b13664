"""How an image uses its greys. A chest X-ray uses most of them. An image with few of them, or with much white, was
badly exposed, exported or photographed."""

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels

LEAST_RANGE = 0.4
"""An image that uses a smaller share of the greys gets a warning."""

MOST_WHITE = 0.1
"""An image with a larger share of white pixels gets a warning."""

_WHITE = 253
"""Minimum grey level of white pixels: JPEG changes white by one or two levels."""


def grey_range(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Compute the share of the grey range that an image uses: from its 1 % to its 99 % quantile, so a marker does not
    count.

    Args:
        pixels: uint8 `[N, S, S]`.

    Returns:
        `[N]`, 0 to 1.
    """
    low, high = np.quantile(pixels.reshape(len(pixels), -1), [0.01, 0.99], axis=1)
    return np.asarray((high - low) / 255)


def white_share(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Compute the share of an image's pixels that are white.

    Args:
        pixels: uint8 `[N, S, S]`.

    Returns:
        `[N]`, 0 to 1.
    """
    return np.asarray((pixels >= _WHITE).mean(axis=(1, 2)))
