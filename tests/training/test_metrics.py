"""Metrics against definitions worked out by hand and against scikit-learn, and properties that must hold for any
predictions."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    recall_score,
    roc_auc_score,
)

from handler.calibration import calibration_error
from training.metrics import bootstrap, confusion, shares, summary

NAMES = ("no", "yes")
LABELS = np.array([0, 0, 1, 1])


def both(positive: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities of two classes from those of the positive one."""
    return np.stack([1 - positive, positive], axis=1)


PROBABILITIES = both(np.array([0.1, 0.4, 0.35, 0.8]))


def test_a_worked_example() -> None:
    found = summary(PROBABILITIES, LABELS, 0.5, NAMES)

    assert list(found) == [
        *("accuracy", "sensitivity", "specificity", "balanced_accuracy", "auc", "average_precision"),
        *("brier", "ece", "log_loss"),
    ]
    assert found["accuracy"] == 0.75
    assert found["sensitivity"] == 0.5
    assert found["specificity"] == 1.0
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == 0.75
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found["ece"] == pytest.approx((0.1 + 0.4 + 0.65 + 0.2) / 4)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert confusion(PROBABILITIES, LABELS, 0.5) == [[2, 0], [1, 1]]
    assert shares(found) == ["sensitivity", "specificity"]


def test_an_image_exactly_at_the_threshold_is_positive() -> None:
    assert summary(both(np.array([0.2, 0.5])), np.array([0, 1]), 0.5, NAMES)["sensitivity"] == 1.0


def test_calibration_error_is_the_gap_between_said_and_seen() -> None:
    assert calibration_error(np.full(10, 0.85), np.array([1] * 8 + [0] * 2)) == pytest.approx(0.05)
    assert calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


@settings(max_examples=30)
@given(arrays(np.float64, 30, elements=st.floats(0, 1)), st.floats(0.01, 0.99))
def test_of_two_classes_the_second_is_the_positive_one(positive: npt.NDArray[np.float64], threshold: float) -> None:
    labels = np.arange(30) % 2
    called = (positive >= threshold).astype(int)

    found = summary(both(positive), labels, threshold, NAMES)

    assert found["sensitivity"] == pytest.approx(recall_score(labels, called))
    assert found["specificity"] == pytest.approx(recall_score(labels, called, pos_label=0))
    assert found["auc"] == pytest.approx(roc_auc_score(labels, positive))
    assert found["average_precision"] == pytest.approx(average_precision_score(labels, positive))
    assert found["brier"] == pytest.approx(brier_score_loss(labels, positive))
    assert found["ece"] == calibration_error(positive, labels)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Probabilities of three to five classes for 30 images, and their labels."""
    classes = draw(st.integers(3, 5))
    raw = draw(arrays(np.float64, (30, classes), elements=st.floats(0.01, 1)))
    return raw / raw.sum(axis=1, keepdims=True), np.arange(30) % classes


@settings(max_examples=30)
@given(predictions())
def test_more_classes_agree_with_scikit_learn(
    case: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]],
) -> None:
    probabilities, labels = case
    decided, truth = probabilities.argmax(axis=1), np.eye(probabilities.shape[1])[labels]
    names = [f"class {k}" for k in range(probabilities.shape[1])]

    found = summary(probabilities, labels, None, names)

    assert found["accuracy"] == pytest.approx(accuracy_score(labels, decided))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, decided))
    assert found["auc"] == pytest.approx(roc_auc_score(truth, probabilities, average="macro"))
    assert found["average_precision"] == pytest.approx(average_precision_score(truth, probabilities, average="macro"))
    assert found["brier"] == pytest.approx(((probabilities - truth) ** 2).sum(axis=1).mean() / 2)
    assert found["log_loss"] == pytest.approx(log_loss(labels, probabilities))
    recalls = recall_score(labels, decided, average=None)
    for k, name in enumerate(names):
        assert found[f"sensitivity_{name}"] == pytest.approx(recalls[k])
        assert found[f"specificity_{name}"] == pytest.approx(recall_score(labels == k, decided == k, pos_label=False))
        assert found[f"auc_{name}"] == pytest.approx(roc_auc_score(labels == k, probabilities[:, k]))
    assert confusion(probabilities, labels, None) == confusion_matrix(labels, decided).tolist()
    assert shares(found) == [f"sensitivity_{name}" for name in names]


@settings(max_examples=30)
@given(predictions(), st.integers(0, 100))
def test_whole_number_weights_equal_repeated_images(
    case: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]], seed: int
) -> None:
    probabilities, labels = case
    names = [str(k) for k in range(probabilities.shape[1])]
    weights = np.random.default_rng(seed).integers(1, 4, 30).astype(float)
    repeated = np.repeat(np.arange(30), weights.astype(int))

    weighted = summary(probabilities, labels, None, names, weights)
    plain = summary(probabilities[repeated], labels[repeated], None, names)

    assert weighted == pytest.approx(plain, abs=1e-9)
    assert all(0 <= value <= 1 for name, value in plain.items() if name != "log_loss")


@settings(max_examples=30)
@given(predictions(), st.randoms())
def test_the_order_of_classes_changes_nothing(
    case: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]], random: st.random_module
) -> None:
    probabilities, labels = case
    order = list(range(probabilities.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    names = [str(k) for k in range(len(order))]

    turned = summary(probabilities[:, order], np.argsort(order)[labels], None, [names[k] for k in order])

    usual = summary(probabilities, labels, None, names)
    tied = np.sort(probabilities, axis=1)[:, -2] == probabilities.max(axis=1)
    for name in usual:
        if not tied.any() or name.startswith(("auc", "average", "brier", "log")):
            assert turned[name] == pytest.approx(usual[name], abs=1e-9)


def test_intervals_hold_the_value_and_widen_when_patients_repeat() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 40), 5)
    probabilities = both(np.clip(labels * 0.4 + 0.3 + np.repeat(rng.normal(0, 0.3, 40), 5), 0, 1))
    single, grouped = [str(i) for i in range(200)], [str(i // 5) for i in range(200)]

    apart = bootstrap(probabilities, labels, 0.5, NAMES, single, rounds=300)["accuracy"]
    together = bootstrap(probabilities, labels, 0.5, NAMES, grouped, rounds=300)["accuracy"]

    value = summary(probabilities, labels, 0.5, NAMES)["accuracy"]
    assert apart[0] <= value <= apart[1]
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


def test_resamples_that_lack_a_class_are_drawn_again() -> None:
    probabilities = np.full((5, 3), 1 / 3)
    labels, patients = np.array([0, 0, 1, 1, 2]), list("abcde")

    found = bootstrap(probabilities, labels, None, "xyz", patients, rounds=50)

    assert found["sensitivity_z"] == (0.0, 0.0)
    assert found.keys() == summary(probabilities, labels, None, "xyz").keys()


def test_the_bootstrap_is_repeatable() -> None:
    patients = ["a", "b", "c", "d"]
    assert bootstrap(PROBABILITIES, LABELS, 0.5, NAMES, patients, rounds=20) == bootstrap(
        PROBABILITIES, LABELS, 0.5, NAMES, patients, rounds=20
    )
