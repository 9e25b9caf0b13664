"""Varying pictures: repeatable, harmless to shapes, and able to take one picture's look to another."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handler.image import Pixels
from training.augment import augment, restyle
from training.phantom import draw

pictures = arrays(np.uint8, (24, 24))


def sharpness(pixels: Pixels) -> float:
    """Mean absolute Laplacian."""
    x = pixels.astype(np.float64)
    return float(np.abs(4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]).mean())


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


@given(pictures, st.integers(0, 2**32 - 1))
def test_a_picture_in_its_own_look_stays_as_it_is(pixels: Pixels, seed: int) -> None:
    changed = restyle(pixels, pixels, np.random.default_rng(seed))

    assert np.abs(changed.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_the_look_of_another_picture_comes_over_and_shapes_stay(seed: int) -> None:
    rng = np.random.default_rng(seed)
    soft = draw(seed, opacity=0.0, size=64)
    loud = rng.integers(0, 255, soft.shape, dtype=np.uint8)
    changed = [restyle(soft, loud, rng) for _ in range(20)]

    found = [sharpness(pixels) for pixels in changed]
    assert min(found) > sharpness(soft)
    assert max(found) < 1.1 * sharpness(loud)
    assert np.mean([correlation(pixels, soft) for pixels in changed]) > 0.5 > abs(correlation(loud, soft))


def correlation(a: Pixels, b: Pixels) -> float:
    values: npt.NDArray[np.float64] = np.corrcoef(a.ravel(), b.ravel())
    return float(values[0, 1])
