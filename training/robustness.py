"""Robustness evaluation: how decisions change if images are changed in ways that do not change the diagnosis.

    python -m training robustness --model handler/model --data data/prepared

A network with good validation results may rely on the framing or sharpness of the images, which differ between
hospitals. This evaluation shows it with the validation images of a prepared folder, or with the test part of a data
set.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from handler.contract import decide
from handler.files import write_json
from handler.imaging.decode import squared
from training.augment import change_framing, compress
from training.dataset import DataSet
from training.evaluate import agreed
from training.images import read_labelled
from training.metrics import shares, summary
from training.prepare import SIZE, Prepared
from training.progress import progress
from training.scorer import open_scorer

Change = Callable[[Image.Image], Image.Image]


def _cut(left: float, top: float, right: float, bottom: float) -> Change:
    """Crop a share of the image at each side, and resize the rest to the full square."""

    def change(image: Image.Image) -> Image.Image:
        side = image.width
        return image.resize(image.size, box=(left * side, top * side, (1 - right) * side, (1 - bottom) * side))

    return change


def _dark(left: float, top: float, right: float, bottom: float) -> Change:
    """Make a share of the image at each side black, like a collimator."""

    def change(image: Image.Image) -> Image.Image:
        side = image.width
        box = round(left * side), round(top * side), round((1 - right) * side), round((1 - bottom) * side)
        result = Image.new("L", image.size)
        result.paste(image.crop(box), box)
        return result

    return change


def _letterboxed(image: Image.Image) -> Image.Image:
    """Stretch the image horizontally, and make it square again with black bars above and below."""
    wide = image.resize((round(1.35 * image.width), image.height), Image.Resampling.BICUBIC)
    return ImageOps.pad(wide, (wide.width, wide.width))


def _bordered(share: float, grey: int) -> Change:
    """Put a frame around the image. Its width is a share of the image's side."""
    return lambda image: ImageOps.expand(image, round(share * image.width), grey)


def _tone(curve: Callable[[float], float]) -> Change:
    """Apply a tone curve, from 0..1 to 0..1."""
    table = [round(255 * min(1.0, max(0.0, curve(grey / 255)))) for grey in range(256)]
    return lambda image: image.point(table)


def _noisy(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    noise = np.random.default_rng(int(pixels.sum())).normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _framed(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    return Image.fromarray(change_framing(pixels, np.random.default_rng(int(pixels.sum()))))


def _seen_from_the_side(image: Image.Image, share: float = 0.08, around: int = 0) -> Image.Image:
    """View the image at an angle: its left edge appears smaller by a factor of `1 + 2 * share`.

    Args:
        around: grey value of what surrounds the image.
    """
    side, wide = image.width, round(share * image.width)
    padded = ImageOps.expand(image, wide, around)
    # The source corners of the result: top left, bottom left, bottom right, top right.
    corners = (wide, 0, wide, side + 2 * wide, wide + side, wide + side, wide + side, wide)
    return padded.transform(image.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)


def _photographed(image: Image.Image) -> Image.Image:
    """Photograph the image from a screen: at an angle, with the dark edge of the screen, the pattern of its pixels,
    uneven light, a reflection, and the blur, noise and compression of a camera."""
    side = image.width
    seen = _seen_from_the_side(ImageOps.expand(image, round(0.04 * side), 25), 0.04, 90).resize(image.size)
    y, x = np.mgrid[0:side, 0:side] / side
    pattern = 1 + 0.05 * np.sin(2 * np.pi * (23 * x + 5 * y)) + 0.04 * np.sin(2 * np.pi * (31 * y - 4 * x))
    light = 0.85 + 0.3 * (x + y) / 2
    reflection = 60 * np.exp(-((x - 0.75) ** 2 + (y - 0.2) ** 2) / 0.01)
    lit = np.clip(np.asarray(seen) * pattern * light + reflection, 0, 255).astype(np.uint8)
    blurred = Image.fromarray(lit).filter(ImageFilter.GaussianBlur(side / 224))
    return compress(_noisy(blurred), 60)


CHANGES: dict[str, Change] = {
    "none": lambda image: image,
    "framed as in training": _framed,
    "a tenth cut off above and below": _cut(0, 0.1, 0, 0.1),
    "a tenth cut off left and right": _cut(0.1, 0, 0.1, 0),
    "a twelfth cut off all around": _cut(1 / 12, 1 / 12, 1 / 12, 1 / 12),
    "a seventh cut off below": _cut(0, 0, 0, 1 / 7),
    "a seventh cut off above": _cut(0, 1 / 7, 0, 0),
    "dark above and below": _dark(0, 0.08, 0, 0.08),
    "dark left and right": _dark(0.08, 0, 0.08, 0),
    "letterboxed, 1.35 : 1": _letterboxed,
    "black frame of a fifth": _bordered(0.2, 0),
    "white frame of a twelfth": _bordered(1 / 12, 255),
    "mirrored": ImageOps.mirror,
    "turned by 8 degrees": lambda image: image.rotate(8, Image.Resampling.BILINEAR),
    "seen from the side": _seen_from_the_side,
    "photographed from a screen": _photographed,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 112)),
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(image.width / 112, 150, threshold=0)),
    "darker": _tone(lambda grey: grey**1.35),
    "brighter": _tone(lambda grey: grey**0.75),
    "less contrast": _tone(lambda grey: 0.75 * (grey - 0.5) + 0.5),
    "more contrast": _tone(lambda grey: 1.3 * (grey - 0.5) + 0.5),
    "equalized": ImageOps.equalize,
    "noisy": _noisy,
    "compressed": lambda image: compress(image, 30),
}
"""The changes by name. Images are square and greyscale. `handler.imaging.decode.squared` follows each change."""

_COLUMNS = {
    "changed": "decisions changed",
    "warned": "warned or refused",
    "unwarned": "changed without a warning",
}


def evaluate_robustness(model: Path, data: Prepared | DataSet, out: Path) -> dict[str, dict[str, Any]]:
    """Evaluate a model under each of `CHANGES`; save `robustness.json` and `robustness.png`.

    Args:
        model: a bundle folder, a run folder, or a `.keras` file.
        data: see `training.images.read_labelled`.
        out: folder for the two files.

    Returns:
        By change: the metrics of `training.metrics.summary` at the model's threshold, and shares, 0 to 1: of decisions
        that are `changed`; of a bundle also of images that are `warned` of or refused, and of decisions that are
        changed `unwarned`.

    Raises:
        RunError: `model` is not one of these.
        BundleError: see `handler.errors`.
        DataError: the classes of the model and the data differ; also see `training.images.read_labelled`.
    """
    scorer = open_scorer(model)
    names, order = agreed(scorer, data)
    size = data.pixels["validation"].shape[-1] if isinstance(data, Prepared) else max(SIZE, scorer.size)
    images = read_labelled(data, size)
    labels = np.array(order)[images.labels]
    result: dict[str, dict[str, Any]] = {}
    unchanged = None
    for name, change in progress(CHANGES.items(), "changing images", unit="change"):
        pixels = np.stack([squared(change(Image.fromarray(image)), scorer.size) for image in images.pixels])
        probabilities = scorer.probabilities(pixels)
        decisions = decide(probabilities, scorer.threshold)
        unchanged = decisions if unchanged is None else unchanged
        changed = decisions != unchanged
        result[name] = {
            **summary(probabilities, labels, scorer.threshold, names),
            "changed": float(np.mean(changed)),
        }
        if scorer.warned:
            warned = scorer.warned(pixels)
            result[name] |= {"warned": float(np.mean(warned)), "unwarned": float(np.mean(changed & ~warned))}
    about = {"model": dict(scorer.about), "labels": names, "threshold": scorer.threshold, "split": images.part}
    write_json(out / "robustness.json", about | {"changes": result})
    from training.plots import plot_robustness

    plot_robustness(result, out / "robustness.png")
    return result


def table(result: Mapping[str, Mapping[str, float]]) -> str:
    """The result of `evaluate_robustness` as a Markdown table."""
    first = next(iter(result.values()))
    columns = {name: name.replace("_", " ") for name in shares(first)} | {
        name: title for name, title in _COLUMNS.items() if name in first
    }
    titles = ["change", "AUC", *columns.values()]
    lines = [f"| {' | '.join(titles)} |", "| --- |" + " ---: |" * (len(titles) - 1)]
    for name, metrics in result.items():
        cells = [f"{metrics[of]:.1%}".replace("%", " %") for of in columns]
        lines.append(f"| {name} | {metrics['auc']:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines)
