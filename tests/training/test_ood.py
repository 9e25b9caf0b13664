"""The OOD detector: its statistics, and the detector of the bundle in this repository."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from handler.classifier import Classifier
from handler.imaging.decode import decode
from tests.ood_images import ood_images


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier()


def accepted(classifier: Classifier, files: list[bytes]) -> float:
    """The share of images that are scored and not refused."""
    contract = classifier.contract
    pixels = np.stack([decode(data, contract.input_size) for data in files])
    return float((classifier.score(pixels).distances <= contract.ood_threshold).mean())


def test_ood_images_are_refused(classifier: Classifier) -> None:
    pytest.importorskip("skimage", reason="its photographs are needed")
    found = ood_images()

    assert len(found) > 300
    assert accepted(classifier, [data for _, data in found]) <= 0.021


def test_held_out_x_rays_are_accepted(classifier: Classifier, xrays: Path) -> None:
    files = [path.read_bytes() for path in sorted((xrays / "test").glob("*/*.jpeg"))]

    assert accepted(classifier, files) >= 0.99


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(200, 400), width=st.integers(40, 80))
@settings(max_examples=10)
def test_the_covariance_is_that_of_probabilistic_pca(seed: int, count: int, width: int) -> None:
    """scikit-learn's PCA as the reference; it divides by N - 1 where a maximum likelihood estimate divides by N."""
    from training.ood import COMPONENTS, fit_gaussian

    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)
    found = fit_gaussian(features)

    scaled = (features - features.mean(axis=0)) * found.scale
    precision = PCA(COMPONENTS, svd_solver="full").fit(scaled).get_precision() * count / (count - 1)
    own = np.eye(width) / found.noise + (found.components * found.gains) @ found.components.T
    np.testing.assert_allclose(own, precision, atol=1e-4 * np.abs(precision).max())
