"""Convert grey values of more than 8 bits to 8 bits: find the value that is white."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.errors import UnreadableImage

Values = npt.NDArray[Any]

_BAND = 256  # rows
_OUTLIERS = 0.01  # share of the pixels that count
_SCALES: tuple[int, ...] = tuple(2**bits - 1 for bits in range(8, 17))
_LARGEST = _SCALES[-1]


def bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row of each band of 256 rows, and the band. A whole image in a wider type takes too much
    memory."""
    for top in range(0, image.height, _BAND):
        yield top, image.crop((0, top, image.width, min(top + _BAND, image.height)))


def full_scale(parts: Iterable[Values], *, floats: bool = False) -> int:
    """Find the value of white.

    X-ray detectors deliver 8 to 16 bits, and software often stores them unchanged in a wider type. The full scale is
    2^b - 1 for the smallest b from 8 to 16 such that b bits hold at least 99 % of the pixels. The remaining 1 % may be
    outliers, such as a burnt-in marker. Pixels of 0 or 65535 do not count, because frames and burnt-in text have these
    values; if all are 0 or 65535, the full scale is 65535, or 255 if all are 0. The scale does not adapt further, so a
    dark image stays dark. But if 99 % of the pixels are below half of the detector's range, the image becomes too
    bright, because it looks like an image of fewer bits. No chest X-ray of the data set is that dark. Floats up to 1
    are fractions, whose full scale is 1. Floats up to a value from 1 to 127 are refused, because they could be
    percentages or dark greys of 8 bits.

    Args:
        parts: the image's values, split into arrays of any shape and type.
        floats: whether the values may be fractions.

    Returns:
        1, or 2^b - 1 with b from 8 to 16.

    Raises:
        UnreadableImage: more than 1 % of the pixels are negative, above 65535 or not a number, or the scale of floats
            is unknown.
    """
    limits = (0, 1, _SCALES[0] // 2, *_SCALES, _LARGEST - 1)
    above = dict.fromkeys(limits, 0)
    pixels = outside = 0
    low, high = np.inf, -np.inf
    for values in parts:
        pixels += values.size
        outside += values.size - int(np.count_nonzero((values >= 0) & (values <= _LARGEST)))
        low, high = min(low, float(np.min(values))), max(high, float(np.max(values)))
        for limit in limits:
            above[limit] += int(np.count_nonzero(values > limit))
    if outside > _OUTLIERS * pixels:
        raise UnreadableImage(
            f"Grey values from {low:g} to {high:g} are outside the range of a 16-bit image. Scale them to 0 to 65535."
        )
    saturated = above[_LARGEST - 1]
    counted = above[0] - saturated
    if counted == 0:
        return _LARGEST if saturated else _SCALES[0]

    def holds(limit: int) -> bool:
        return above[limit] - saturated <= _OUTLIERS * counted

    if floats and holds(1):
        return 1
    if floats and holds(_SCALES[0] // 2):
        raise UnreadableImage(
            f"It is unclear which of the floating-point grey values up to {high:g} is white. Scale them to 0 to 1."
        )
    return next((scale for scale in _SCALES if holds(scale)), _LARGEST)


def eight_bits(image: Image.Image) -> Image.Image:
    """Convert grey values of 16 or 32 bits, or floats, to 8 bits, by `full_scale`. A transparent grey value becomes
    black.

    Args:
        image: mode "I", "I;16" in any byte order, or "F".

    Returns:
        An image of mode "L", with the `info` of `image`.

    Raises:
        UnreadableImage: see `full_scale`.
    """
    scale = full_scale((values for _, values in _values(image)), floats=image.mode == "F")
    grey = Image.new("L", image.size)
    for top, values in _values(image):
        # `fmax` turns NaN into 0.
        inside = np.fmin(np.fmax(values.astype(np.float32), 0), scale)
        grey.paste(Image.fromarray((inside * np.float32(255 / scale) + np.float32(0.5)).astype(np.uint8)), (0, top))
    grey.info = image.info
    return grey


def _values(image: Image.Image) -> Iterator[tuple[int, Values]]:
    transparent = image.info.get("transparency")
    for top, band in bands(image):
        values = np.asarray(band)
        yield top, values if transparent is None else np.where(values == transparent, 0, values)
