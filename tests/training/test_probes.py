"""The orientation probes: their images, their regression, their threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from handler.contract import PHOTOGRAPHED
from tests.detectors import probabilities
from training.phantom import draw
from training.probes import (
    FALSE_ALARMS,
    FALSE_PHOTOGRAPHS,
    ORIENTATIONS,
    UPRIGHT,
    Probes,
    fit_probes,
    oriented,
    select_least_upright,
    select_most_photographed,
)

SIZE = 32
CORNERS = {
    "upright": [[10, 20], [30, 40]],
    "mirrored": [[20, 10], [40, 30]],
    "upside_down": [[40, 30], [20, 10]],
    "flipped": [[30, 40], [10, 20]],
    "turned_left": [[20, 40], [10, 30]],
    "turned_right": [[30, 10], [40, 20]],
    "inverted": [[245, 235], [225, 215]],
}


def chests(seeds: range) -> np.ndarray:
    return np.stack([draw(seed, size=64) for seed in seeds])


def greys(pixels: np.ndarray) -> np.ndarray:
    """Features `[N, 64]` of images `[N, S, S]`: their mean grey in 8 by 8 cells."""
    side = pixels.shape[1] // 8
    return pixels.reshape(len(pixels), 8, side, 8, side).mean(axis=(2, 4)).reshape(len(pixels), 64).astype(np.float32)


@pytest.fixture(scope="module")
def probes() -> Probes:
    return fit_probes({label: greys(images) for label, images in oriented(chests(range(60)), SIZE, 0).items()})


def found(probes: Probes, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(probabilities(probes, greys(pixels)))


@pytest.mark.parametrize("label", ORIENTATIONS)
def test_each_orientation_of_a_drawn_chest_is_told(probes: Probes, label: str) -> None:
    images = oriented(chests(range(1000, 1040)), SIZE, 1)[label][:40]

    chosen = found(probes, images).argmax(axis=1)

    # Some photographs are hardly changed.
    assert np.mean(chosen == list(ORIENTATIONS).index(label)) >= (0.85 if label == PHOTOGRAPHED else 0.95)


@pytest.mark.parametrize("label", CORNERS)
def test_orientations_are_what_their_names_say(label: str) -> None:
    square = np.array(CORNERS["upright"], np.uint8).repeat(16, axis=0).repeat(16, axis=1)

    images = oriented(square[np.newaxis], SIZE, 0)[label]

    assert images.dtype == np.uint8
    assert images.shape == (2, SIZE, SIZE), "the image and a corrupted copy"
    assert images[0, 8::16, 8::16].tolist() == CORNERS[label]


def test_photographs_differ_from_image_to_image_and_not_from_call_to_call() -> None:
    images = chests(range(1000, 1010))

    first, again = (oriented(images, SIZE, 0)[PHOTOGRAPHED] for _ in range(2))

    np.testing.assert_array_equal(first, again)
    plain = oriented(images, SIZE, 0)[UPRIGHT]
    brighter = [int(photograph.mean()) - int(image.mean()) for photograph, image in zip(first, plain, strict=True)]
    assert len(set(brighter)) > 5
    assert np.abs(first.astype(int) - plain).mean() < 80, "they still show the chest"


def test_the_probabilities_sum_to_one(probes: Probes) -> None:
    np.testing.assert_allclose(found(probes, chests(range(3))).sum(axis=1), 1, rtol=1e-5)


def test_probes_need_every_orientation() -> None:
    with pytest.raises(KeyError):
        fit_probes({UPRIGHT: np.zeros((3, 4))})


shares = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(0, 1, width=32))


@given(plain=shares, corrupted=shares)
def test_false_alarms_stay_below_their_limit(plain: np.ndarray, corrupted: np.ndarray) -> None:
    least = select_least_upright(plain, corrupted)

    assert all(np.mean(each < np.float32(least)) <= FALSE_ALARMS for each in (plain, corrupted))
    highest = [np.mean(each <= np.float32(least)) - FALSE_ALARMS * (1 - 1 / len(each)) for each in (plain, corrupted)]
    assert max(highest) > 0, "it could be greater"


@given(plain=shares, corrupted=shares)
def test_false_photographs_stay_below_their_limit(plain: np.ndarray, corrupted: np.ndarray) -> None:
    most = select_most_photographed(plain, corrupted)

    assert all(np.mean(each > np.float32(most)) <= FALSE_PHOTOGRAPHS for each in (plain, corrupted))
    assert most in {*plain.tolist(), *corrupted.tolist()}, "it could not be lower"
