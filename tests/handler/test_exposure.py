"""How an image uses its greys."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from handler.exposure import grey_range, white_share
from training.phantom import draw

CHEST = draw(0, size=80)


@given(least=st.integers(0, 200), share=st.floats(0.05, 1))
def test_the_range_follows_the_contrast(least: int, share: float) -> None:
    spread = CHEST / 255 * min(share * 255, 255 - least) + least
    expected = grey_range(CHEST[np.newaxis])[0] * min(share, (255 - least) / 255)

    assert abs(grey_range(np.rint(spread).astype(np.uint8)[np.newaxis])[0] - expected) <= 1 / 255


def test_a_marker_does_not_widen_the_range() -> None:
    flat = np.full((1, 80, 80), 100, np.uint8)
    flat[0, :5, :8] = 255

    assert grey_range(flat).tolist() == [0.0]


@given(rows=st.integers(0, 80))
def test_white_is_counted(rows: int) -> None:
    image = np.full((1, 80, 80), 120, np.uint8)
    image[:, :rows] = 254

    assert white_share(image).tolist() == [rows / 80]
