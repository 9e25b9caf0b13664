"""Biases, temperature, threshold and set thresholds, selected from predictions."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.about import about
from handler.calibration import calibrate, fit_scaling, select_set_thresholds, select_threshold
from handler.contract import Contract
from training.operating_point import CORRUPTED_COPIES, SET_COVERAGE, OperatingPoint, select


def overconfident(seed: int, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true log odds, predictions that claim `factor` times as much."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 20_000)
    # For two unit Gaussians at -1 and +1 the true log odds of x are 2x.
    x = rng.normal(2 * labels - 1, 1)
    positive = 1 / (1 + np.exp(-2 * x * factor))
    return np.stack([1 - positive, positive], axis=1), labels


def drawn(seed: int, classes: int, factor: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels of classes of equal size, drawn from true probabilities; predictions whose logits are `factor` times as
    large."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    x = rng.normal(2 * np.eye(classes)[labels], 1)  # unit Gaussians: the true logits are 2x
    return calibrate(np.exp(2 * x) / np.exp(2 * x).sum(axis=1, keepdims=True), 1 / factor), labels


def test_temperature_undoes_overconfidence() -> None:
    assert fit_scaling(*overconfident(0))[0] == pytest.approx(3.0, rel=0.05)


@given(seed=st.integers(0, 9), bias=st.floats(-3, 3), factor=st.floats(0.5, 3))
@settings(max_examples=25)
def test_the_bias_undoes_a_bias_whatever_the_temperature(seed: int, bias: float, factor: float) -> None:
    probabilities, labels = overconfident(seed, factor)
    biased = calibrate(probabilities, biases=np.array([0, bias]))
    temperature, biases = fit_scaling(biased, labels)

    assert biases[0] == 0
    assert biases[1] == pytest.approx(-bias, abs=0.15 * factor)
    assert temperature == pytest.approx(factor, rel=0.1)


@given(seed=st.integers(0, 9), bias=st.floats(-2, 2), factor=st.floats(0.5, 1.5), classes=st.integers(3, 5))
@settings(max_examples=8)
def test_each_class_has_its_bias(seed: int, bias: float, factor: float, classes: int) -> None:
    probabilities, labels = drawn(seed, classes, factor, count=10_000)
    wrong = np.linspace(0, bias, classes)
    biased = calibrate(probabilities, biases=wrong)
    temperature, biases = fit_scaling(biased, labels)

    np.testing.assert_allclose(biases, -wrong, atol=0.25)
    assert temperature == pytest.approx(factor, rel=0.1)


@given(temperature=st.floats(0.2, 5), bias=st.floats(-3, 3), positive=st.floats(1e-6, 1 - 1e-6))
def test_two_classes_are_calibrated_by_their_log_odds(temperature: float, bias: float, positive: float) -> None:
    found = calibrate(np.array([[1 - positive, positive]]), temperature, np.array([0, bias]))[0]
    odds = np.log(positive / (1 - positive))
    assert found[1] == pytest.approx(1 / (1 + np.exp(-(odds + bias) / temperature)), rel=1e-6)
    assert found.sum() == pytest.approx(1)


def test_calibrated_probabilities_mean_what_they_say() -> None:
    probabilities, labels = overconfident(1)
    calibrated = calibrate(probabilities, *fit_scaling(probabilities, labels))[:, 1]
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


@pytest.mark.parametrize("count", [5, 49, 200, 1000])
def test_prediction_sets_hold_the_true_class_as_often_as_promised(count: int) -> None:
    # GIVEN thresholds from many small calibration sets
    rng = np.random.default_rng(count)
    kept = []
    for _ in range(300):
        labels = np.repeat([0, 1, 2], count)
        own = rng.beta(4, 2, len(labels))
        probabilities = np.tile(((1 - own) / 2)[:, np.newaxis], 3)
        probabilities[np.arange(len(labels)), labels] = own
        thresholds = select_set_thresholds(probabilities, labels, SET_COVERAGE, None)
        if count < 49:
            assert thresholds == (0, 0, 0), "too few images to promise anything"
        # WHEN new images of the same kind come
        kept.append((rng.beta(4, 2, (200, 3)) >= thresholds).mean(axis=0))
    # THEN their class is in the set at the specified rate, in every class
    assert np.mean(kept, axis=0).min() >= SET_COVERAGE - 0.003


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 4), certainty=st.floats(0.1, 4))
@settings(max_examples=25)
def test_a_contract_takes_every_operating_point(seed: int, classes: int, certainty: float) -> None:
    probabilities, labels = drawn(seed, classes, certainty, count=120)
    labels[:classes] = range(classes)
    temperature, biases = fit_scaling(probabilities, labels)
    calibrated = calibrate(probabilities, temperature, biases)
    point = select(np.tile(calibrated, (1 + CORRUPTED_COPIES, 1)), labels, temperature, 64)
    names = tuple("ABCD"[:classes])

    assert isinstance(point, OperatingPoint)
    assert point.input_size == 64
    contract = Contract(
        **dataclasses.asdict(point),
        name="x",
        version="1",
        sha256="",
        labels=names,
        ood_threshold=1,
        unlike_threshold=1,
        orientations=("upright", "mirrored"),
        least_upright=0.1,
        most_photographed=1.0,
        about=about(names),
    )
    if classes == 2:
        assert all(contract.label(row) in contract.prediction_set(row) for row in calibrated)
    else:
        assert contract.threshold is None
