"""`full_scale` and `eight_bits`: the result does not depend on the number of bits of the detector."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from handler.errors import UnreadableImage
from handler.imaging.decode import decode
from handler.imaging.greys import full_scale
from tests.handler.images import deep_png, phantom, png, tiff, tifffile

SIZE = 64
SHADES = np.asarray(phantom()).astype(float)
EXPECTED = decode(png(), SIZE).astype(int)


def stored(bits: int, channels: int = 1) -> np.ndarray:
    """Opaque uint16 values `[rows, columns, channels]` of a detector with this number of bits."""
    grey = (SHADES * ((2**bits - 1) / 255)).astype(np.uint16)
    values = np.stack([grey] * channels, -1)
    if channels in (2, 4):
        values[..., -1] = 65535
    return values


def difference(data: bytes) -> int:
    return int(np.abs(decode(data, SIZE) - EXPECTED).max())


BITS = range(8, 17)
CONTAINERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "PNG": deep_png,
    "PNG, interlaced": lambda values: deep_png(values, interlaced=True),
    **{
        f"TIFF {order}": lambda values, order=order: tifffile(
            values if values.shape[-1] > 1 else values[..., 0],
            byteorder=order,
            extrasamples=["unassalpha"] if values.shape[-1] in (2, 4) else None,
        )
        for order in "<>"
    },
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["grey", "grey and alpha", "colour", "colour and alpha"])
@pytest.mark.parametrize("bits", BITS)
def test_the_bits_of_a_detector_fill_the_range_of_a_16_bit_file(bits: int, channels: int, container: str) -> None:
    assert difference(CONTAINERS[container](stored(bits, channels))) <= 1


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize("bits", [8, 10, 12, 15])
def test_wider_types_are_scaled_alike(dtype: type, bits: int) -> None:
    assert difference(tifffile(stored(bits)[..., 0].astype(dtype))) <= 1


def test_floats_up_to_one_are_fractions() -> None:
    assert difference(tifffile((SHADES / 255).astype(np.float32))) <= 1
    assert difference(tifffile((SHADES / 255 * 1.004 - 0.002).astype(np.float32))) <= 2  # overshoots of resampling


@pytest.mark.parametrize("bits", [10, 12, 14, 15])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_burnt_in_marker_does_not_set_the_scale(bits: int, channels: int) -> None:
    values = stored(bits, channels)
    values[:10, :10] = 65535  # every 77th pixel

    marked = np.asarray(phantom()).copy()
    marked[:10, :10] = 255
    expected = decode(png(Image.fromarray(marked)), SIZE).astype(int)
    assert np.abs(decode(deep_png(values), SIZE) - expected).max() <= 1


def test_single_hot_pixels_do_not_set_the_scale() -> None:
    values = np.tile(stored(12)[..., 0], (4, 4))
    values[::90, ::90] = 40_000

    assert full_scale([values]) == 4095


def test_a_frame_of_the_largest_value_does_not_set_the_scale() -> None:
    framed = np.pad(stored(12)[..., 0], 20, constant_values=65535)

    assert full_scale([framed]) == 4095


def test_a_black_frame_does_not_hide_what_is_bright() -> None:
    dim = np.full((100, 100), 1000, np.uint16)
    dim[:2] = 4000
    assert full_scale([dim]) == 4095

    assert full_scale([np.pad(dim, 200)]) == 4095


@given(st.integers(8, 16), st.floats(0.5, 1))
def test_an_image_keeps_its_darkness_within_the_bits_of_its_detector(bits: int, brightness: float) -> None:
    dark = (SHADES / SHADES.max() * brightness * (2**bits - 1)).astype(np.uint16)
    # The phantom's brightest 1 % begin a little below its maximum.
    bright_enough = np.quantile(dark, 0.99) >= 2 ** (bits - 1)

    assert full_scale([dark]) == (2**bits - 1 if bright_enough or bits == 8 else 2 ** (bits - 1) - 1)


def test_the_parts_of_an_image_have_one_scale() -> None:
    dark, bright = np.full((4, 9), 7), np.full((1, 9), 3000)

    assert full_scale([dark, bright]) == full_scale([bright, dark]) == 4095


def test_black_is_black_and_white_is_white() -> None:
    assert full_scale([np.zeros(9)]) == 255
    assert full_scale([np.full(9, 65535)]) == 65535
    assert not decode(deep_png(np.zeros((8, 8, 1), np.uint16)), 8).any()
    assert (decode(deep_png(np.full((8, 8, 1), 65535, np.uint16)), 8) == 255).all()


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.uint16, 257), (np.uint16, 16)])
def test_a_tiff_in_which_zero_is_white_is_inverted(dtype: type, scale: int) -> None:
    values = (255 - np.asarray(phantom())).astype(dtype) * dtype(scale)

    assert difference(tiff(values, tags={262: (3, 1, 0)})) <= 1


def test_a_percentage_is_refused_because_it_could_be_anything() -> None:
    with pytest.raises(UnreadableImage, match=r"is white\. Scale them to 0 to 1\."):
        decode(tifffile((SHADES / 2.55).astype(np.float32)), SIZE)


@pytest.mark.parametrize("values", [SHADES - 100, SHADES * 1000, np.full_like(SHADES, np.nan)])
def test_values_that_are_not_greys_are_refused_with_their_range(values: np.ndarray) -> None:
    with pytest.raises(UnreadableImage, match=r"Grey values from .* to .* Scale them"):
        decode(tifffile(values.astype(np.float32)), SIZE)


def test_a_single_value_that_is_not_a_number_is_black() -> None:
    values = (SHADES / 255).astype(np.float32)
    values[0, 0] = np.nan

    assert np.abs(decode(tifffile(values), SIZE) - EXPECTED)[2:, 2:].max() <= 1


def test_a_transparent_grey_does_not_set_the_scale() -> None:
    values = stored(12)
    values[20:40] = 50_000

    pixels = decode(deep_png(values, tRNS=(50_000).to_bytes(2)), SIZE)

    height = len(values)
    first, last = -(-20 * SIZE // height) + 1, 40 * SIZE // height - 1
    assert pixels[first:last].max() == 0
    assert np.abs(pixels[last + 3 :] - EXPECTED[last + 3 :]).max() <= 1
