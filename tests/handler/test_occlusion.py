"""Occlusion maps of scores that depend on known regions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handler.imaging.decode import Pixels
from handler.occlusion import GRID, log_odds, occlusion_map

sizes = st.integers(32, 120)
cells = st.tuples(st.integers(0, GRID - 1), st.integers(0, GRID - 1))


def _noise(size: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


def _contrast(size: int, cell: tuple[int, int]):
    """Log odds that depend on one cell only: its standard deviation, in units of ten grey levels."""
    rows, columns = (slice(round(i * size / GRID), round((i + 1) * size / GRID)) for i in cell)
    return lambda images: images[:, rows, columns].astype(np.float64).std(axis=(1, 2)) / 10


def _brightness(images: Pixels) -> np.ndarray:
    return images.mean(axis=(1, 2), dtype=np.float64)


@given(sizes, cells, st.integers(0, 9))
def test_the_map_is_highest_where_the_score_looks(size: int, cell: tuple[int, int], seed: int) -> None:
    found = occlusion_map(_contrast(size, cell), _noise(size, seed))
    assert np.unravel_index(found.argmax(), found.shape) == cell
    assert found.max() > 1


@given(sizes, cells)
def test_only_windows_that_touch_the_evidence_matter(size: int, cell: tuple[int, int]) -> None:
    found = occlusion_map(_contrast(size, cell), _noise(size))
    distance = np.abs(np.indices(found.shape) - np.reshape(cell, (2, 1, 1))).max(axis=0)
    assert not found[distance > 1].any()


@given(arrays(np.uint8, (40, 40)), st.floats(-30, 30))
def test_a_score_that_ignores_the_image_has_an_empty_map(pixels: Pixels, constant: float) -> None:
    assert not occlusion_map(lambda images: np.full(len(images), constant), pixels).any()


@given(sizes, st.integers(0, 255))
def test_a_uniform_image_has_an_empty_map(size: int, grey: int) -> None:
    assert not occlusion_map(_brightness, np.full((size, size), grey, np.uint8)).any()


@given(arrays(np.uint8, (48, 48)), st.floats(-5, 5), st.floats(-5, 5))
def test_the_map_has_the_units_of_the_score(pixels: Pixels, factor: float, bias: float) -> None:
    found = occlusion_map(lambda images: factor * _brightness(images) + bias, pixels)
    np.testing.assert_allclose(found, factor * occlusion_map(_brightness, pixels), rtol=1e-4, atol=1e-5)


@given(arrays(np.uint8, (60, 60)))
def test_a_mirrored_image_has_a_mirrored_map(pixels: Pixels) -> None:
    mirrored = occlusion_map(_brightness, np.ascontiguousarray(pixels[:, ::-1]))
    np.testing.assert_allclose(mirrored, occlusion_map(_brightness, pixels)[:, ::-1], atol=0.02)


@given(sizes)
def test_every_pixel_lies_in_a_window(size: int) -> None:
    seen: list[Pixels] = []

    def score(images: Pixels) -> np.ndarray:
        seen.append(images)
        return np.zeros(len(images))

    board = (np.indices((size, size)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = occlusion_map(score, board)
    assert found.dtype == np.float32
    assert found.shape == (GRID, GRID)
    (images,) = seen
    assert np.array_equal(images[0], board)
    assert (images != board).any(axis=0).all()


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=5))
def test_log_odds_invert_the_logistic_function(logits: list[float]) -> None:
    positive = 1 / (1 + np.exp(-np.array(logits)))
    found = log_odds(np.stack([1 / (1 + np.exp(logits)), positive], axis=1))
    np.testing.assert_allclose(found, logits, atol=1e-9)


def test_log_odds_of_one_label_among_three() -> None:
    probabilities = np.array([[0.5, 0.2, 0.3]], np.float32)
    assert log_odds(probabilities, 0) == pytest.approx(0.0, abs=1e-6)
    assert log_odds(probabilities) == pytest.approx(np.log(3 / 7), abs=1e-6)


def test_log_odds_of_certainty_are_finite() -> None:
    assert np.isfinite(log_odds(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32))).all()
