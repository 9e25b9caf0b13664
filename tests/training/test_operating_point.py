"""Temperature, threshold and abstention band, selected from predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.operating_point import (
    CORRUPTED_COPIES,
    calibrate,
    corrupted_validation_set,
    fit_logit_bias,
    fit_temperature,
    select,
    select_threshold,
)


def overconfident(seed: int, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true log odds, predictions that claim `factor` times as much."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 20_000)
    # For two unit Gaussians at -1 and +1 the true log odds of x are 2x.
    x = rng.normal(2 * labels - 1, 1)
    return 1 / (1 + np.exp(-2 * x * factor)), labels


def test_temperature_undoes_overconfidence() -> None:
    assert fit_temperature(*overconfident(0)) == pytest.approx(3.0, rel=0.05)


@given(seed=st.integers(0, 9), bias=st.floats(-3, 3), factor=st.floats(0.5, 3))
def test_the_logit_bias_undoes_a_bias_whatever_the_temperature(seed: int, bias: float, factor: float) -> None:
    probabilities, labels = overconfident(seed, factor)
    biased = calibrate(probabilities, logit_bias=bias)
    logit_bias = fit_logit_bias(biased, labels)

    assert logit_bias == pytest.approx(-bias, abs=0.15 * factor)
    assert fit_temperature(calibrate(biased, logit_bias=logit_bias), labels) == pytest.approx(factor, rel=0.1)


def test_calibrated_probabilities_mean_what_they_say() -> None:
    probabilities, labels = overconfident(1)
    calibrated = calibrate(probabilities, fit_temperature(probabilities, labels))
    near = (calibrated > 0.65) & (calibrated < 0.75)
    assert labels[near].mean() == pytest.approx(0.7, abs=0.03)


@given(seed=st.integers(0, 2**32 - 1), target=st.floats(0.5, 0.99))
def test_threshold_reaches_the_target_sensitivity(seed: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1, 0, 1], rng.integers(0, 2, 60)])
    probabilities = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0.001, 0.999)

    groups = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, 60)])

    threshold = select_threshold(probabilities, labels, groups, target)

    for group in (0, 1):
        assert (probabilities[(labels == 1) & (groups == group)] >= threshold).mean() >= target - 1e-8
    assert 0 < threshold < 1
    # No prediction between it and the next prediction above: any greater threshold misses the target.
    above = probabilities[probabilities >= threshold].min()
    assert any((probabilities[(labels == 1) & (groups == group)] > above).mean() < target for group in (0, 1))


def test_threshold_of_separable_classes_lies_between_them() -> None:
    probabilities = np.linspace(0.01, 0.99, 200)
    assert select_threshold(
        probabilities, (probabilities > 0.45).astype(int), np.zeros(200, int), 1.0
    ) == pytest.approx(0.45, abs=0.01)


def test_abstention_band_holds_the_threshold() -> None:
    probabilities, labels = overconfident(2)
    point = select(np.tile(probabilities, 1 + CORRUPTED_COPIES), labels, 64)
    assert point.input_size == 64
    assert 0 <= point.uncertain_from <= point.threshold <= point.uncertain_to <= 1


def test_the_corrupted_validation_set_is_the_images_and_repeatable_corruptions() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 32, 32), dtype=np.uint8)
    found = corrupted_validation_set(pixels, seed=1)

    assert found.shape == (3 * (1 + CORRUPTED_COPIES), 32, 32)
    assert np.array_equal(found[:3], pixels)
    assert not np.array_equal(found[3:6], pixels)
    assert np.array_equal(found, corrupted_validation_set(pixels, seed=1))
