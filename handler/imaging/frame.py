"""Find the uniform frame around a radiograph: from collimation, letterboxing, scanned film or screenshots."""

import numpy as np
import numpy.typing as npt
from PIL import Image

MAX_FRAME = 0.35
"""Most that is cut off at each side, as a share of the width or height. A wider uniform area is not a frame."""

_TOLERANCE = 12
"""A pixel counts as equal to its line if it is within this many grey levels of the line's median. This allows for noise
and JPEG artefacts."""

_EQUAL = 0.98
"""Minimum share of equal pixels in a line of a frame. The others may be a marker, a scratch or dust."""

_WORKING_SIDE = 256
"""The frame is searched in a copy reduced to at least this many pixels per side: this is fast and averages out
noise."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edges in pixels, the last two exclusive."""


def content_box(image: Image.Image) -> Box:
    """Find the part of an image inside its uniform frame.

    Lines are removed at each side as long as nearly all of their pixels are equal, at any grey level. This repeats
    until no line is removed, so a black frame inside a white one is found as well. At most `MAX_FRAME` is removed at
    each side. An image that is uniform as a whole has no frame.

    Args:
        image: mode "L".

    Returns:
        The box to keep; the whole image if there is no frame.
    """
    factor = max(1, min(image.size) // _WORKING_SIDE)
    pixels = np.asarray(image.reduce(factor) if factor > 1 else image)
    height, width = pixels.shape
    limits = (int(width * MAX_FRAME), int(height * MAX_FRAME))
    left = top = 0
    right, bottom = width, height
    while True:
        rows = _uniform_ends(pixels[top:bottom, left:right])
        above, below = min(rows[0], limits[1] - top), min(rows[1], limits[1] - (height - bottom))
        columns = _uniform_ends(pixels[top + above : bottom - below, left:right].T)
        before, behind = min(columns[0], limits[0] - left), min(columns[1], limits[0] - (width - right))
        if not (above or below or before or behind):
            break
        left, top, right, bottom = left + before, top + above, right - behind, bottom - below
    return (
        left * factor,
        top * factor,
        image.width if right == width else right * factor,
        image.height if bottom == height else bottom * factor,
    )


def _uniform_ends(lines: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """How many lines are uniform at the beginning and at the end of `[N, M]` lines; none if all are."""
    medians = np.median(lines, axis=1, keepdims=True).astype(np.int16)
    equal = (np.abs(lines - medians) <= _TOLERANCE).mean(axis=1)
    content = np.flatnonzero(equal < _EQUAL)
    if not content.size:
        return 0, 0
    return int(content[0]), len(lines) - 1 - int(content[-1])
