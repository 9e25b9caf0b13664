"""The distance of an image from the training images."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.detectors import unlike
from training.unlike import ACCEPTED, fit_classes, select_limit

distances = arrays.arrays(np.float32, st.integers(1, 200), elements=st.floats(0, 10, width=32))


@given(plain=distances, corrupted=distances)
def test_the_limit_accepts_its_share_with_both_sets_counted_equally(plain: np.ndarray, corrupted: np.ndarray) -> None:
    limit = select_limit(plain, corrupted)

    def accepted(test: np.ufunc) -> float:
        return float(np.mean([test(each, np.float32(limit)).mean() for each in (plain, corrupted)]))

    assert accepted(np.less_equal) >= ACCEPTED - 1e-9
    assert accepted(np.less) <= ACCEPTED + 1e-9


def test_an_image_is_near_if_it_is_like_one_class() -> None:
    """There are no training images between the classes, although the mean of all images is there."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    centres = np.where(labels, 10.0, -10.0)[:, np.newaxis]
    classes = fit_classes(rng.normal(size=(400, 8)) + centres, labels)
    places = np.array([[-10.0], [10.0], [0.0]]) + rng.normal(size=(3, 8))

    first, second, between = np.asarray(unlike(np.ones(3), classes, places))

    assert max(first, second) < 2 < 5 < between
    assert np.asarray(unlike(np.full(3, 9.0), classes, places)).min() > 6, "the distance of the OOD detector counts"
