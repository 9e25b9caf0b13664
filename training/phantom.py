"""Synthetic chest X-rays: drawings that are similar enough to an X-ray to try the service and to test training.

    python -m training phantom --out handler/page/phantom.png

They do not show a patient and do not come from a data set.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from handler.files import write_atomically
from handler.imaging.decode import Pixels

Points = list[tuple[float, float]]


def draw(seed: int = 0, *, opacity: float = 0.0, size: int = 512) -> Pixels:
    """Draw one frontal chest.

    Args:
        seed: random seed of body shape, position and exposure.
        opacity: 0 for clear lungs, 1 for a dense area over one of them.
        size: width and height in pixels.

    Returns:
        uint8 `[size, size]`, bright where more tissue absorbs the rays.
    """
    rng = np.random.default_rng(seed)
    build, tilt = rng.uniform(0.92, 1.05), rng.uniform(-0.015, 0.015)

    def at(x: float, y: float) -> tuple[float, float]:
        """From body coordinates (0..1, centre line at 0.5) to pixels."""
        return ((x - 0.5) * build + 0.5 + tilt * (y - 0.5)) * size, y * size

    body = np.full((size, size), 0.05)
    body += 0.42 * _blurred(size, [[at(*p) for p in _TORSO]], size / 40)
    body += 0.10 * _blurred(size, [[at(*p) for p in _mirror(_SHOULDER)], [at(*p) for p in _SHOULDER]], size / 25)
    body -= 0.36 * _blurred(size, [[at(*p) for p in _LUNG], [at(*p) for p in _mirror(_LUNG)]], size / 60)
    body += 0.30 * _blurred(size, [[at(*p) for p in _HEART]], size / 45)
    body += 0.22 * _blurred(size, [[at(0.465, 0.02), at(0.535, 0.02), at(0.54, 0.98), at(0.46, 0.98)]], size / 60)
    body += 0.10 * _ribs(size, at)
    if opacity > 0:
        side = rng.choice([-1, 1])
        x, y = 0.5 + side * rng.uniform(0.17, 0.21), rng.uniform(0.42, 0.62)
        radius = rng.uniform(0.08, 0.12)
        patch = [at(x + radius * np.cos(t), y + 1.3 * radius * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 24)]
        body += 0.34 * opacity * _blurred(size, [patch], size / 30)
    body = body * rng.uniform(0.9, 1.1) + rng.normal(0, 0.012, body.shape)
    return (np.clip(body, 0, 1) * 255).astype(np.uint8)


def save(path: Path) -> None:
    """Write the sample image of the page and the quickstart, as PNG."""
    image = Image.fromarray(draw(20, size=256))
    write_atomically(path, lambda temporary: image.save(temporary, optimize=True))


_TORSO: Points = [
    (0.40, 0.0), (0.41, 0.07), (0.30, 0.11), (0.14, 0.15), (0.08, 0.26), (0.13, 0.45), (0.13, 0.75), (0.11, 1.0),
    (0.89, 1.0), (0.87, 0.75), (0.87, 0.45), (0.92, 0.26), (0.86, 0.15), (0.70, 0.11), (0.59, 0.07), (0.60, 0.0),
]  # fmt: skip
_SHOULDER: Points = [(0.02, 0.22), (0.14, 0.14), (0.24, 0.20), (0.18, 0.30), (0.08, 0.40)]
_LUNG: Points = [
    (0.43, 0.15), (0.35, 0.13), (0.27, 0.20), (0.21, 0.34), (0.18, 0.52), (0.17, 0.70), (0.26, 0.67), (0.36, 0.66),
    (0.44, 0.70), (0.45, 0.50), (0.46, 0.30),
]  # fmt: skip
_HEART: Points = [
    (0.46, 0.33), (0.54, 0.32), (0.58, 0.42), (0.67, 0.56), (0.69, 0.65), (0.62, 0.71), (0.47, 0.71), (0.42, 0.62),
    (0.44, 0.45),
]  # fmt: skip


def _mirror(points: Points) -> Points:
    return [(1 - x, y) for x, y in points]


def _blurred(size: int, polygons: list[Points], radius: float) -> npt.NDArray[np.float64]:
    mask = Image.new("L", (size, size))
    pen = ImageDraw.Draw(mask)
    for polygon in polygons:
        pen.polygon(polygon, fill=255)
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float64) / 255


def _ribs(size: int, at: Callable[[float, float], tuple[float, float]]) -> npt.NDArray[np.float64]:
    """Nine pairs of arcs from the spine outwards and downwards, and the collar bones."""
    mask = Image.new("L", (size, size))
    pen = ImageDraw.Draw(mask)
    for number in range(9):
        top = 0.14 + 0.065 * number
        reach = 0.22 + 0.12 * np.sin(np.pi * (number + 2) / 13)
        for side in (-1, 1):
            arc = [
                at(0.5 + side * (0.04 + reach * np.sin(t)), top + 0.10 * (1 - np.cos(t)) - 0.03 * np.sin(2 * t))
                for t in np.linspace(0, 0.55 * np.pi, 20)
            ]
            pen.line(arc, fill=255, width=max(1, size // 46), joint="curve")
    for side in (-1, 1):
        pen.line([at(0.5 + side * 0.05, 0.17), at(0.5 + side * 0.3, 0.13)], fill=255, width=max(1, size // 36))
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(size / 150)), dtype=np.float64) / 255
