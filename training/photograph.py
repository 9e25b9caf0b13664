"""Simulate photographs of a chest X-ray on a screen, for the detector of such images in `training.probes`.

A photograph shows the edge of the screen at an angle, the moiré pattern of its pixels, uneven light, a reflection, and
the blur, noise and compression of the camera. Their strengths are random. `training.robustness` simulates photographs
with other code, so that the detector is not evaluated on images of the kind that it was fitted on.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from handler.imaging.decode import Pixels
from training.augment import compress

_ROOM = 0.07
"""Maximum width of the visible part of the room, as a share of the image's side."""


def photograph(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Simulate a photograph of one image, uint8 `[S, S]`. The result has the same shape and type."""
    seen = _lit(_at_an_angle(Image.fromarray(pixels), rng), rng)
    noisy = np.clip(seen + rng.normal(0, rng.uniform(1, 8), seen.shape), 0, 255).astype(np.uint8)
    blur = ImageFilter.GaussianBlur(len(pixels) / 224 * rng.uniform(0.3, 1.5))
    return np.asarray(compress(Image.fromarray(noisy).filter(blur), int(rng.integers(50, 90))))


def _at_an_angle(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Show the image with the dark edge of its screen and a part of the room. The corners are shifted at random."""
    side = image.width
    screen = ImageOps.expand(image, round(rng.uniform(0, 0.08) * side), int(rng.integers(60)))
    around = round(_ROOM * screen.width)
    room = ImageOps.expand(screen, around, int(rng.integers(20, 200)))
    inset, far = rng.uniform(0, _ROOM, 8) * screen.width, room.width
    # The source corners of the result: top left, bottom left, bottom right, top right.
    corners = np.array([0, 0, 0, far, far, far, far, 0]) + inset * [1, 1, 1, -1, -1, -1, -1, 1]
    return room.transform(image.size, Image.Transform.QUAD, tuple(corners.tolist()), Image.Resampling.BICUBIC)


def _lit(image: Image.Image, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Add the moiré pattern, uneven light and a reflection. The result may exceed 255."""
    side = image.width
    y, x = np.mgrid[0:side, 0:side] / side
    seen = np.asarray(image, np.float64)
    for _ in range(2):
        waves, turn, strength = rng.uniform(10, 60), rng.uniform(0, np.pi), rng.uniform(0, 0.07)
        seen = seen * (1 + strength * np.sin(2 * np.pi * waves * (np.cos(turn) * x + np.sin(turn) * y)))
    turn = rng.uniform(0, 2 * np.pi)
    seen = seen * (1 + rng.uniform(0, 0.25) * (np.cos(turn) * (x - 0.5) + np.sin(turn) * (y - 0.5)))
    if rng.random() < 0.7:
        place, width = rng.random(2), rng.uniform(0.003, 0.03)
        seen = seen + rng.uniform(15, 80) * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / width)
    black = rng.uniform(0, 30)
    return np.asarray(black + seen * (1 - black / 255))
