"""Warnings: reasons why the result for an image is less reliable."""

from typing import TypedDict

import numpy as np

from handler.classifier import Scores
from handler.contract import PHOTOGRAPHED, Contract
from handler.exposure import LEAST_RANGE, MOST_WHITE, grey_range, white_share
from handler.imaging.decode import Pixels


class ImageWarning(TypedDict):
    """One warning."""

    code: str
    """A code for programs: one of `CODES`, or another orientation of the bundle."""
    detail: str
    """A sentence for people."""


_ORIENTATIONS = {
    "mirrored": "The image seems to be mirrored: left and right are exchanged.",
    "upside_down": "The image seems to be upside down.",
    "flipped": "The image seems to be flipped: top and bottom are exchanged.",
    "turned_left": "The image seems to be turned to the left.",
    "turned_right": "The image seems to be turned to the right.",
    "inverted": "The greys seem to be inverted: air should be dark.",
    PHOTOGRAPHED: "The image seems to be a photograph of a screen. Export the X-ray as a file instead.",
}
_UNLIKE = (
    "The image differs more from the training images than nearly all validation images. The measured results are "
    "not valid for such images."
)
_GREY_RANGE = (
    "The image uses few of its greys, or much of it is white. Export it with the full range of greys, and do not "
    "photograph a screen."
)
_FORCED = "The image was scored although it does not look like a chest X-ray."

CODES = ("unlike_training", *_ORIENTATIONS, "grey_range", "forced")
"""The codes of the bundles that this release builds."""


def warnings_of(contract: Contract, scores: Scores, pixels: Pixels) -> list[ImageWarning]:
    """Return the warnings for one image.

    Args:
        scores: scores of this one image.
        pixels: uint8 `[S, S]`.
    """
    found: list[ImageWarning] = []
    # Every comparison is negated, so that NaN is a warning.
    if not scores.distances[0] <= contract.ood_threshold:
        found.append({"code": "forced", "detail": _FORCED})
    if not scores.unlike[0] <= contract.unlike_threshold:
        found.append({"code": "unlike_training", "detail": _UNLIKE})
    found += [
        {"code": name, "detail": _ORIENTATIONS.get(name, f"The image seems to be {name}.")}
        for name in _orientations(contract, scores.orientations[0])
    ]
    if grey_range(pixels[np.newaxis])[0] < LEAST_RANGE or white_share(pixels[np.newaxis])[0] > MOST_WHITE:
        found.append({"code": "grey_range", "detail": _GREY_RANGE})
    return found


def _orientations(contract: Contract, probabilities: np.ndarray) -> list[str]:
    """Return the names of the orientations to warn of: `PHOTOGRAPHED`, another one, both or none."""
    upright, *others = zip(contract.orientations, probabilities.tolist(), strict=True)
    photographed = dict(others).get(PHOTOGRAPHED, 0.0)
    found = [] if photographed <= contract.most_photographed else [PHOTOGRAPHED]
    # Photographs are of upright images in training, so their probability counts as upright.
    if not upright[1] + photographed >= contract.least_upright:
        found.append(max((other for other in others if other[0] != PHOTOGRAPHED), key=lambda other: other[1])[0])
    return found
