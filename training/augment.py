"""Augmentation of training images, modelled on the differences between hospitals: framing, exposure, tone curve,
sharpness, resolution, noise, compression, burnt-in markers. Images are never mirrored: the heart would be on the right.

Two of these matter most, because in this project's data set they predict the label without the lungs. Sharpness: the
mean absolute Laplacian of an image separates normal from pneumonia with an AUC of 0.88. Framing: images with pneumonia
show less above and below the lungs, and were wider before they became square; their gradient anisotropy alone has an
AUC of 0.83.

This module uses only Pillow and NumPy on uint8, so that every Keras backend gets the same images.
"""

import io

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from handler.imaging.decode import Pixels

_ANISOTROPIES = (-0.25, 0.45)
"""Range of the gradient anisotropy of chest X-rays."""


def augment(pixels: Pixels, rng: np.random.Generator, strength: float = 1.0) -> Pixels:
    """Augment one image.

    Args:
        pixels: uint8 `[S, S]`.
        strength: 1 is the strength of training; 0 changes nothing.

    Returns:
        uint8 `[S, S]`.
    """
    if strength == 0:
        return pixels
    image = Image.fromarray(change_framing(pixels, rng, strength))
    if rng.random() < 0.2:
        image = Image.blend(image, ImageOps.equalize(image), rng.uniform(0, 0.7) * min(strength, 1.4))
    image = image.point(_exposure(rng, strength))
    image = _sharpness(image, rng, strength)
    if rng.random() < 0.2:
        image = _mark(image, rng)
    if rng.random() < 0.2:
        image = compress(image, round(rng.uniform(90 - 55 * min(strength, 1.5), 90)))
    result = np.asarray(image)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0, 8 * strength), result.shape)
        result = np.clip(result + noise, 0, 255).astype(np.uint8)
    return result


def change_framing(pixels: Pixels, rng: np.random.Generator, strength: float = 1.0) -> Pixels:
    """Crop or extend one image, change its aspect ratio, rotate it slightly, and add dark margins like those of a
    collimator. The aspect ratio is chosen so that the `gradient_anisotropy` of the result no longer depends on that of
    the original. Arguments and result as for `augment`."""
    if strength == 0 or rng.random() < 0.1:  # resampling blurs a little, so some images are left unchanged
        return pixels
    image = Image.fromarray(pixels)
    size = image.width
    angle = np.deg2rad(rng.uniform(-10, 10) * strength)
    shear = rng.uniform(-0.08, 0.08) * strength
    aspect = np.clip((rng.uniform(*_ANISOTROPIES) - gradient_anisotropy(pixels)) * strength, -0.6, 0.6)
    zoom = min(rng.uniform(-0.3, 0.05) * strength, 0.1 - abs(aspect) / 2)
    visible = np.exp([zoom + aspect / 2, zoom - aspect / 2])
    shift = rng.uniform(-1, 1, size=2) * (np.abs(1 - visible) / 2 + 0.04 * strength) * size
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(visible)
    centre = np.array([size / 2, size / 2])
    offset = centre + shift - matrix @ centre
    coefficients = (matrix[0, 0], matrix[0, 1], offset[0], matrix[1, 0], matrix[1, 1], offset[1])
    result = np.array(image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))
    if rng.random() < 0.3:
        top, bottom, left, right = rng.integers(0, 1 + round(size * 0.1 * min(strength, 1.5)), size=4)
        result[:top] = result[size - bottom :] = 0
        result[:, :left] = result[:, size - right :] = 0
    return result


def gradient_anisotropy(pixels: Pixels) -> float:
    """How much more an image varies from left to right than from top to bottom: the logarithm of the ratio of the mean
    absolute differences. It grows when an image is squeezed horizontally to become square. The margins are left out,
    because markers and collimator edges are there.

    Args:
        pixels: uint8 `[S, S]`.
    """
    margin = len(pixels) // 7
    inner = pixels[margin:-margin, margin:-margin].astype(np.float32)
    across, along = (float(np.abs(np.diff(inner, axis=axis)).mean()) for axis in (1, 0))
    return float(np.log((across + 1) / (along + 1)))


def resize(pixels: Pixels, size: int) -> Pixels:
    """Resize a decoded image, uint8 `[S, S]`, to uint8 `[size, size]`: the size of an epoch, or the size at which a
    network is served. For an original of `S` by `S` pixels the result equals that of `handler.imaging.decode` at that
    size, bit for bit; for larger originals, which `decode` resizes only once, it differs by about one grey
    level."""
    if pixels.shape[0] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def _exposure(rng: np.random.Generator, strength: float) -> list[int]:
    """A look-up table of 256 entries with random gamma, contrast and brightness."""
    grey = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.4, 0.4) * strength)
    contrast = np.exp(rng.uniform(-0.35, 0.35) * strength)
    brightness = rng.uniform(-0.12, 0.12) * strength
    table = (grey - 0.5) * contrast + 0.5 + brightness
    return [int(value) for value in np.clip(table * 255 + 0.5, 0, 255)]


def _sharpness(image: Image.Image, rng: np.random.Generator, strength: float) -> Image.Image:
    """Blur, sharpen, or reduce the resolution; three in ten images stay as they are."""
    unit = image.width / 128
    kind = rng.random()
    if kind < 0.3:
        return image.filter(ImageFilter.GaussianBlur(unit * rng.uniform(0, 1.5 * strength)))
    if kind < 0.5:
        amount = round(rng.uniform(0, 200 * strength))
        return image.filter(ImageFilter.UnsharpMask(unit * rng.uniform(0.5, 2.5), amount, threshold=0))
    if kind < 0.7:
        coarse = round(image.width * rng.uniform(1 - 0.65 * min(strength, 1.2), 1))
        small = image.resize((coarse, coarse), Image.Resampling.BILINEAR)
        return small.resize(image.size, Image.Resampling.BICUBIC)
    return image


def _mark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add a black or white rectangle, like those of collimators, labels and electrodes."""
    size = image.width
    width, height = rng.integers(size // 16, size // 4, size=2)
    left, top = rng.integers(0, size - width), rng.integers(0, size - height)
    image = image.copy()
    image.paste(int(rng.choice([0, 255])), (int(left), int(top), int(left + width), int(top + height)))
    return image


def compress(image: Image.Image, quality: int) -> Image.Image:
    """Compress a greyscale image as JPEG and decode it again.

    Args:
        quality: JPEG quality, 1..95.
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("L")
