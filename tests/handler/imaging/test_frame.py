"""Uniform frames of any grey around a radiograph are found, and only these are cut off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from handler.imaging.frame import MAX_FRAME, content_box

SIDE = st.integers(60, 160)
BORDER = st.integers(0, 30)
GREY = st.integers(0, 255)


def content(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image in which no line is uniform."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8))


def framed(image: Image.Image, left: int, top: int, right: int, bottom: int, grey: int) -> Image.Image:
    whole = Image.new("L", (left + image.width + right, top + image.height + bottom), grey)
    whole.paste(image, (left, top))
    return whole


@given(SIDE, SIDE, BORDER, BORDER, BORDER, BORDER, GREY)
def test_a_frame_of_any_grey_is_found_to_the_pixel(
    width: int, height: int, left: int, top: int, right: int, bottom: int, grey: int
) -> None:
    image = framed(content(width, height), left, top, right, bottom, grey)

    assert content_box(image) == (left, top, left + width, top + height)


def test_a_black_frame_inside_a_white_one_is_found() -> None:
    image = framed(framed(content(100, 80), 10, 12, 14, 16, 0), 7, 5, 3, 1, 255)

    assert content_box(image) == (17, 17, 117, 97)


def test_noise_and_a_marker_in_a_frame_do_not_hide_it() -> None:
    pixels = np.array(framed(content(200, 200), 30, 30, 30, 30, 240), np.float64)
    frame = np.ones(pixels.shape, bool)
    frame[30:230, 30:230] = False
    noise = np.random.default_rng(0).normal(0, 3, pixels.shape)
    pixels[frame] += noise[frame]
    pixels[10:20, 10:13] = 0

    assert content_box(Image.fromarray(pixels.clip(0, 255).astype(np.uint8))) == (30, 30, 230, 230)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_uniform_image_has_no_frame(grey: int) -> None:
    assert content_box(Image.new("L", (50, 40), grey)) == (0, 0, 50, 40)


def test_no_more_than_a_third_is_cut_off_at_a_side() -> None:
    image = framed(content(20, 20), 90, 0, 0, 0, 0)

    assert content_box(image) == (int(110 * MAX_FRAME), 0, 110, 20)


@given(st.integers(500, 1500), st.integers(500, 1500), st.integers(0, 200), st.integers(0, 200))
def test_the_frame_of_a_large_image_is_found_to_a_few_pixels(width: int, height: int, left: int, bottom: int) -> None:
    image = framed(content(width, height), left, 0, 0, bottom, 0)

    factor = max(1, min(image.size) // 256)
    box = content_box(image)
    assert (box[1], box[2]) == (0, image.width)
    # A reduced pixel with both frame and content may count as either.
    assert abs(box[0] - left) < factor
    assert abs(box[3] - height) < factor
