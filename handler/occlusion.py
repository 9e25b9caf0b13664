"""Occlusion maps: which regions of an image affect a score (Zeiler and Fergus 2014, "Visualizing and understanding
convolutional networks", doi 10.1007/978-3-319-10590-1_53).

A window moves over the image. At each position, the window is blurred and the image is scored again. If the score
decreases, the network used this region. The method needs only scores, and neither gradients nor a second output. A
blurred window looks more like an X-ray than a grey or black one, so the window itself changes the score less.

Grid, window and blur were selected on validation images, see `training.explanations`.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from handler.imaging.decode import Pixels

GRID = 6
"""Number of windows in each row and in each column."""

_WINDOW = 0.2
"""Width and height of a window, as a share of the image's. Neighbouring windows overlap by a sixth."""

_BLUR = 0.1
"""Standard deviation of the Gaussian blur, as a share of the image's width."""

_TINY = float(np.finfo(np.float32).tiny)
"""Smaller probabilities are replaced by this one before the logarithm."""

Score = Callable[[Pixels], npt.NDArray[np.float64]]
"""Returns the log odds `[N]` of the label to explain, for images uint8 `[N, S, S]`."""


def log_odds(probabilities: npt.NDArray[np.floating], label: int = -1) -> npt.NDArray[np.float64]:
    """Compute the log odds, in nats, of one label against all others together.

    Args:
        probabilities: `[N, labels]`, rows sum to 1.
        label: column of the label; by default the last one, the positive class.

    Returns:
        `[N]`, finite: probabilities below 1e-38 are replaced by 1e-38.
    """
    values = probabilities.astype(np.float64)
    others = np.delete(values, label, axis=1).sum(axis=1)  # more exact than 1 - p where p is near 1
    result: npt.NDArray[np.float64] = np.log(np.maximum(values[:, label], _TINY)) - np.log(np.maximum(others, _TINY))
    return result


def occlusion_map(score: Score, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Compute how much each region of an image adds to the log odds of a label.

    Args:
        score: returns the log odds of the label. It is called once, with `GRID * GRID + 1` images.
        pixels: uint8 `[S, S]`.

    Returns:
        `[GRID, GRID]`, by rows from the top left. Each cell covers a square of `S / GRID` pixels. Its value is the log
        odds of the image minus those of the image with a blurred window around the cell, in nats: positive if the
        region supports the label, negative if it contradicts it. Values of different images can be compared.
    """
    scores = score(np.concatenate([pixels[np.newaxis], _occluded(pixels)]))
    falls: npt.NDArray[np.float32] = (scores[0] - scores[1:]).astype(np.float32)
    return falls.reshape(GRID, GRID)


def blur(pixels: Pixels, share: float) -> Pixels:
    """Blur an image, uint8 `[S, S]`, with a Gaussian whose standard deviation is a share of the image's width."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(share * len(pixels))))


def _occluded(pixels: Pixels) -> Pixels:
    """Return a copy of the image for each window, with this window blurred: uint8 `[GRID * GRID, S, S]`."""
    blurred = blur(pixels, _BLUR)
    images = np.repeat(pixels[np.newaxis], GRID * GRID, axis=0)
    spans = [_span(index, len(pixels)) for index in range(GRID)]
    for image, window in zip(images, ((rows, columns) for rows in spans for columns in spans), strict=True):
        image[window] = blurred[window]
    return images


def _span(index: int, size: int) -> slice:
    """Return the pixels of a window in one direction. A window is centred on its cell and cut at the image's border."""
    centre = (index + 0.5) / GRID
    return slice(max(0, round((centre - _WINDOW / 2) * size)), round((centre + _WINDOW / 2) * size))
