"""Varying pictures: the same random numbers, the same pictures."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handler.image import Pixels
from training.augment import augment

pictures = arrays(np.uint8, (24, 24))


@given(pictures, st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 1.5]))
def test_the_same_random_numbers_vary_a_picture_alike(pixels: Pixels, seed: int, strength: float) -> None:
    before = pixels.copy()
    first, second = (augment(pixels, np.random.default_rng(seed), strength) for _ in range(2))

    assert first.dtype == np.uint8
    assert first.shape == pixels.shape
    assert np.array_equal(first, second)
    assert np.array_equal(pixels, before)


@given(pictures)
def test_no_strength_is_no_change(pixels: Pixels) -> None:
    assert np.array_equal(augment(pixels, np.random.default_rng(0), strength=0), pixels)
