"""OOD images: photographs and crops of them, noise, text, blank pages, gradients, drawings."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "cell", "clock", "coffee", "coins", "colorwheel", "grass", "gravel", "horse",
    "hubble_deep_field", "immunohistochemistry", "logo", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
"""Names of images of scikit-image. Images that it would download are skipped."""


def ood_images(seed: int = 0, crops: int = 8, drawn: int = 15) -> list[tuple[str, bytes]]:
    """Named PNG files."""
    rng = np.random.default_rng(seed)
    found: list[tuple[str, Image.Image]] = []
    for name, photograph in _photographs():
        found.append((name, photograph))
        found += [(f"crop of {name}", _crop(photograph, rng)) for _ in range(crops)]
    for _ in range(drawn):
        found += _drawn(rng)
    return [(name, _png(image)) for name, image in found]


def _photographs() -> Iterator[tuple[str, Image.Image]]:
    import skimage.data
    import sklearn.datasets

    for name in PHOTOGRAPHS:
        try:
            pixels = np.asarray(getattr(skimage.data, name)())
        except (AttributeError, ModuleNotFoundError, OSError, ValueError):
            continue  # not in this version, or only by download
        yield name, Image.fromarray(pixels * np.uint8(255) if pixels.dtype == bool else pixels).convert("RGB")
    for name in ("china.jpg", "flower.jpg"):
        yield name, Image.fromarray(sklearn.datasets.load_sample_image(name))


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    share = rng.uniform(0.35, 0.9)
    width, height = int(image.width * share), int(image.height * share)
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _drawn(rng: np.random.Generator) -> list[tuple[str, Image.Image]]:
    down, right = np.mgrid[:256, :256] / 255.0
    angle = rng.uniform(0, 2 * np.pi)
    radius = np.hypot(right - rng.uniform(0.2, 0.8), down - rng.uniform(0.2, 0.8))
    blurred = Image.fromarray(rng.integers(0, 256, (256, 256), dtype=np.uint8))
    return [
        ("noise", Image.fromarray(rng.integers(0, 256, (128, 128), dtype=np.uint8))),
        ("grey noise", _grey(rng.normal(0, 1, (256, 256)))),
        ("clouds", _grey(np.asarray(blurred.filter(ImageFilter.GaussianBlur(rng.uniform(2, 20))), float))),
        ("blank page", Image.new("L", (256, 256), int(rng.choice([0, 30, 128, 225, 255])))),
        ("gradient", _grey(np.cos(angle) * right + np.sin(angle) * down)),
        ("radial gradient", _grey(-radius)),
        ("text page", _text(rng)),
        ("drawing", _shapes(rng)),
        ("sketch", _sketch(rng)),
        ("screenshot", _screenshot(rng)),
    ]


def _grey(values: np.ndarray) -> Image.Image:
    spread = (values - values.min()) / max(float(np.ptp(values)), 1e-6)
    return Image.fromarray((spread * 255).astype(np.uint8))


def _text(rng: np.random.Generator) -> Image.Image:
    image = Image.new("L", (400, 500), "white")
    pen = ImageDraw.Draw(image)
    for row in range(30):
        pen.text((20, 15 + 16 * row), "".join(rng.choice(list("abcdefghij klmnop qrs"), 60)), fill=0)
    return image


def _shapes(rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (300, 300), _colour(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 14))):
        (left, right), (top, bottom) = np.sort(rng.integers(0, 300, (2, 2))).tolist()
        (pen.ellipse, pen.rectangle, pen.line)[int(rng.integers(3))](
            (left, top, right + 1, bottom + 1), fill=_colour(rng)
        )
    return image


def _sketch(rng: np.random.Generator) -> Image.Image:
    image = Image.new("L", (300, 300), "white")
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        pen.line(rng.integers(0, 300, 8).tolist(), fill=0, width=int(rng.integers(1, 6)))
    return image


def _screenshot(rng: np.random.Generator) -> Image.Image:
    image = Image.new("L", (640, 400), 240)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 640, 30), fill=60)
    for _ in range(6):
        left, top, width, height = (int(rng.integers(*ends)) for ends in ((0, 500), (40, 340), (60, 140), (20, 60)))
        pen.rectangle((left, top, left + width, top + height), fill=int(rng.integers(256)), outline=0)
        pen.text((left + 5, top + 5), "Button text", fill=0)
    return image


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
