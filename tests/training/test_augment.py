"""Augmentation: the same random numbers give the same images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.metrics import roc_auc_score

from handler.imaging.decode import Pixels
from training.augment import augment, change_framing, gradient_anisotropy
from training.phantom import draw

images = arrays(np.uint8, (24, 24))


@given(images, st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 1.5]))
def test_the_same_random_numbers_vary_a_image_alike(pixels: Pixels, seed: int, strength: float) -> None:
    before = pixels.copy()
    first, second = (augment(pixels, np.random.default_rng(seed), strength) for _ in range(2))

    assert first.dtype == np.uint8
    assert first.shape == pixels.shape
    assert np.array_equal(first, second)
    assert np.array_equal(pixels, before)


@given(images)
def test_strength_zero_changes_nothing(pixels: Pixels) -> None:
    assert np.array_equal(augment(pixels, np.random.default_rng(0), strength=0), pixels)
    assert np.array_equal(change_framing(pixels, np.random.default_rng(0), strength=0), pixels)


def squeezed(pixels: Pixels, wider: float) -> Pixels:
    """A square image whose original was wider than high by this factor."""
    size = len(pixels)
    cut = size * (1 - 1 / wider) / 2
    return np.asarray(Image.fromarray(pixels).resize((size, size), box=(0, cut, size, size - cut)))


def test_whether_a_image_was_squeezed_shows_before_framing_and_not_after() -> None:
    chests = [draw(seed, opacity=0, size=112) for seed in range(200)]
    was_wide = np.arange(200) % 2
    pixels = [squeezed(chest, 1.3 if wide else 1.0) for chest, wide in zip(chests, was_wide, strict=True)]
    rng = np.random.default_rng(0)

    assert roc_auc_score(was_wide, [gradient_anisotropy(image) for image in pixels]) > 0.9
    assert 0.3 < roc_auc_score(was_wide, [gradient_anisotropy(change_framing(image, rng)) for image in pixels]) < 0.7


def test_the_gradient_anisotropy_of_a_rotated_image_is_the_opposite() -> None:
    chest = draw(1, opacity=1, size=112)

    assert gradient_anisotropy(np.rot90(chest)) == pytest.approx(-gradient_anisotropy(chest))
    assert gradient_anisotropy(np.full((112, 112), 7, np.uint8)) == 0
