"""Metrics against definitions worked out by hand, and properties that must hold for any predictions."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.metrics import bootstrap, confusion, expected_calibration_error, summary

PROBABILITIES = np.array([0.1, 0.4, 0.35, 0.8])
LABELS = np.array([0, 0, 1, 1])


def test_a_worked_example() -> None:
    found = summary(PROBABILITIES, LABELS, threshold=0.5)

    assert found["accuracy"] == 0.75
    assert found["sensitivity"] == 0.5
    assert found["specificity"] == 1.0
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == 0.75
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert confusion(PROBABILITIES, LABELS, 0.5) == [[2, 0], [1, 1]]


def test_an_image_exactly_at_the_threshold_is_positive() -> None:
    assert summary(np.array([0.2, 0.5]), np.array([0, 1]), 0.5)["sensitivity"] == 1.0


def test_calibration_error_is_the_gap_between_said_and_seen() -> None:
    assert expected_calibration_error(np.full(10, 0.85), np.array([1] * 8 + [0] * 2)) == pytest.approx(0.05)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


@given(arrays(np.float64, 30, elements=st.floats(0, 1)), st.floats(0.01, 0.99))
def test_whole_number_weights_equal_repeated_images(probabilities: npt.NDArray[np.float64], threshold: float) -> None:
    labels = np.arange(30) % 2
    weights = (np.arange(30) % 3 + 1).astype(float)
    repeated = np.repeat(np.arange(30), weights.astype(int))

    weighted = summary(probabilities, labels, threshold, weights)
    plain = summary(probabilities[repeated], labels[repeated], threshold)

    assert weighted == pytest.approx(plain, abs=1e-9)
    assert all(0 <= value <= 1 for name, value in plain.items() if name != "log_loss")


def test_intervals_hold_the_value_and_widen_when_patients_repeat() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 40), 5)
    probabilities = np.clip(labels * 0.4 + 0.3 + np.repeat(rng.normal(0, 0.3, 40), 5), 0, 1)
    single, grouped = [str(i) for i in range(200)], [str(i // 5) for i in range(200)]

    apart = bootstrap(probabilities, labels, 0.5, single, rounds=300)["accuracy"]
    together = bootstrap(probabilities, labels, 0.5, grouped, rounds=300)["accuracy"]

    value = summary(probabilities, labels, 0.5)["accuracy"]
    assert apart[0] <= value <= apart[1]
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


def test_the_bootstrap_is_repeatable() -> None:
    patients = ["a", "b", "c", "d"]
    assert bootstrap(PROBABILITIES, LABELS, 0.5, patients, rounds=20) == bootstrap(
        PROBABILITIES, LABELS, 0.5, patients, rounds=20
    )
