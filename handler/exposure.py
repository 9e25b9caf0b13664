"""How an image uses its greys. A chest X-ray uses most of them. An image with few of them, or with much white, was
badly exposed or exported."""

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels

_WHITE = 253
"""A grey from which a pixel counts as white: JPEG changes white by one or two levels."""


def grey_range(pixels: Pixels) -> npt.NDArray[np.float64]:
    """The share of the range of greys that an image uses: from its 1 % to its 99 % quantile, so that a marker does not
    count.

    Args:
        pixels: uint8 `[N, S, S]`.

    Returns:
        `[N]`, 0 to 1.
    """
    low, high = np.quantile(pixels.reshape(len(pixels), -1), [0.01, 0.99], axis=1)
    return np.asarray((high - low) / 255)


def white_share(pixels: Pixels) -> npt.NDArray[np.float64]:
    """The share of an image's pixels that are white.

    Args:
        pixels: uint8 `[N, S, S]`.

    Returns:
        `[N]`, 0 to 1.
    """
    return np.asarray((pixels >= _WHITE).mean(axis=(1, 2)))
