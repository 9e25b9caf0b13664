"""The shipped bundle knows an X-ray from anything else."""

from pathlib import Path

import numpy as np
import pytest

from handler.classifier import Classifier
from handler.imaging.decode import decode
from tests.strangers import strangers


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


def accepted(classifier: Classifier, files: list[bytes]) -> float:
    """The share that is scored and not refused."""
    contract = classifier.contract
    pixels = np.stack([decode(data, contract.input_size) for data in files])
    return float((classifier.score(pixels).distances <= contract.max_distance).mean())


def test_pictures_that_are_no_x_ray_are_refused(classifier: Classifier) -> None:
    pytest.importorskip("skimage", reason="its photographs are needed")
    found = strangers()

    assert len(found) > 300
    assert accepted(classifier, [data for _, data in found]) <= 0.02


def test_held_out_x_rays_are_accepted(classifier: Classifier, xrays: Path) -> None:
    files = [path.read_bytes() for path in sorted((xrays / "test").glob("*/*.jpeg"))]

    assert accepted(classifier, files) >= 0.99
