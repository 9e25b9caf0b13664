"""Calibration: textbook properties, on random scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.calibration import (
    Array,
    Labels,
    calibrate,
    fit_scaling,
    least_images,
    select_set_thresholds,
    select_threshold,
)

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, classes: int, count: int = 4000) -> tuple[Array, Labels]:
    """Calibrated probabilities, and labels sampled from them."""
    rng = np.random.default_rng(seed)
    probabilities = calibrate(np.exp(rng.normal(size=(count, classes))) / 10)
    labels = (rng.random((count, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return probabilities, labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_scaling_that_was_applied_is_found_and_undone(classes: int) -> None:
    probabilities, labels = drawn(1, classes, 20_000)
    labels[:classes] = range(classes)
    temperature, biases = 0.4, np.linspace(0, 1, classes)
    spoiled = calibrate(probabilities, temperature, biases)

    found, found_biases = fit_scaling(spoiled, labels)

    assert found == pytest.approx(1 / temperature, rel=0.05)
    again = calibrate(spoiled, found, found_biases)
    weights = 1 / np.bincount(labels)[labels]
    for index in range(classes):  # with equal weight for each class, the mean probability is its share
        share = np.average(again[:, index], weights=weights)
        assert share == pytest.approx(1 / classes, abs=0.01)


def test_the_scaling_is_that_of_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    probabilities, labels = drawn(2, 2)
    odds = np.log(probabilities[:, 1] / probabilities[:, 0])[:, np.newaxis]
    regression = LogisticRegression(C=1e6, class_weight="balanced").fit(odds, labels)

    temperature, biases = fit_scaling(probabilities, labels)

    assert 1 / temperature == pytest.approx(regression.coef_[0, 0], rel=0.01)
    assert biases[1] / temperature == pytest.approx(regression.intercept_[0], abs=0.01)


def test_separated_classes_get_a_finite_temperature() -> None:
    labels = np.repeat([0, 1], 50)
    probabilities = np.eye(2)[labels] * 0.98 + 0.01

    temperature, biases = fit_scaling(probabilities, labels)

    assert 0.1 <= temperature < 1
    assert np.isfinite(biases).all()


@given(SEEDS, st.integers(2, 5))
@settings(max_examples=30)
def test_calibrated_rows_sum_to_one_and_keep_their_order(seed: int, classes: int) -> None:
    probabilities, _ = drawn(seed, classes, 20)

    found = calibrate(probabilities, 0.3)

    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argsort(axis=1) == probabilities.argsort(axis=1)).all()
    np.testing.assert_allclose(calibrate(probabilities), probabilities)


@given(SEEDS, st.sampled_from([0.8, 0.9, 0.95]))
@settings(max_examples=20, deadline=None)
def test_the_sets_of_new_images_contain_their_class_as_often_as_promised(seed: int, coverage: float) -> None:
    probabilities, labels = drawn(seed, 3)
    half = len(labels) // 2
    thresholds = select_set_thresholds(probabilities[:half], labels[:half], coverage, None)

    for index, least in enumerate(thresholds):
        own = probabilities[half:][labels[half:] == index, index]
        spread = 5 * np.sqrt(coverage * (1 - coverage) * 2 / len(own))
        assert (own >= least).mean() == pytest.approx(coverage, abs=spread)


def test_too_few_images_exclude_nothing() -> None:
    probabilities, labels = drawn(3, 2)
    for count, empty in ((least_images(0.95) - 1, True), (least_images(0.95), False)):
        chosen = np.concatenate([np.flatnonzero(labels == index)[:count] for index in (0, 1)])
        found = select_set_thresholds(probabilities[chosen], labels[chosen], 0.95, None)
        assert (found == (0.0, 0.0)) == empty


@given(SEEDS, st.floats(0.01, 0.99))
@settings(max_examples=30)
def test_the_label_that_the_threshold_gives_stays_in_the_set(seed: int, threshold: float) -> None:
    probabilities, labels = drawn(seed, 2, 300)

    first, second = select_set_thresholds(probabilities, labels, 0.9, threshold)

    assert second <= threshold <= 1 - first + 1e-12


@given(SEEDS, st.sampled_from([0.8, 0.9, 0.95]))
@settings(max_examples=30)
def test_the_threshold_reaches_its_sensitivity_in_every_group_and_not_more(seed: int, target: float) -> None:
    probabilities, labels = drawn(seed, 2, 600)
    groups = np.arange(600) % 3

    threshold = select_threshold(probabilities[:, 1], labels, groups, target)

    reached = [(probabilities[(groups == g) & (labels == 1), 1] >= threshold).mean() for g in range(3)]
    assert min(reached) >= target
    higher = probabilities[probabilities[:, 1] > threshold, 1].min() + 1e-12
    assert min((probabilities[(groups == g) & (labels == 1), 1] >= higher).mean() for g in range(3)) < target
