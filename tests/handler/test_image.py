"""`handler.image.decode`: every form of a picture gives the same pixels, and hostile bytes give errors of ours."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handler.errors import InputError, InputTooLarge
from handler.image import FORMATS, decode
from tests.handler.pictures import dicom, encode, jpeg, phantom, png

SIZE = 64


def grey(data: bytes) -> np.ndarray:
    pixels = decode(data, SIZE)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (SIZE, SIZE))
    return pixels.astype(int)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_gives_the_same_pixels(form: str) -> None:
    image = phantom() if form != "WEBP" else phantom().convert("RGB")
    options = {"quality": 100, "lossless": True} if form in ("JPEG", "WEBP") else {}

    assert np.abs(grey(encode(image, form, **options)) - grey(png())).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_mode_is_understood(mode: str) -> None:
    image = phantom()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(np.asarray(image).astype(np.int32) * 257)
    else:
        image = image.convert(mode)
    form = {"CMYK": "TIFF", "YCbCr": "TIFF", "I": "TIFF"}.get(mode, "PNG")

    pixels = grey(encode(image, form))

    tolerance = 90 if mode == "1" else 3
    assert np.abs(pixels - grey(png())).mean() < tolerance


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    assert np.abs(grey(encode(phantom().convert("CMYK"), "JPEG", quality=95)) - grey(png())).mean() < 4


def test_twelve_bits_in_a_sixteen_bit_file_fill_the_range() -> None:
    twelve = Image.fromarray(np.asarray(phantom()).astype(np.uint16) * 16)

    assert np.abs(grey(png(twelve)) - grey(png())).max() <= 2


def test_transparency_lies_on_black() -> None:
    image = Image.new("LA", (SIZE, SIZE), (255, 0))

    assert grey(png(image)).max() == 0


def test_a_transparent_colour_of_a_palette_lies_on_black() -> None:
    image = Image.new("P", (SIZE, SIZE), 1)
    image.putpalette([0, 0, 0, 255, 255, 255])

    assert grey(encode(image, "PNG")).min() == 255
    assert grey(encode(image, "PNG", transparency=1)).max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF to the transposition that undoes it
    stored = phantom()
    exif = Image.Exif()
    exif[0x0112] = orientation

    upright = stored.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else stored
    assert np.abs(grey(encode(stored, "PNG", exif=exif)) - grey(png(upright))).max() <= 1


def test_a_photograph_with_a_preview_is_its_first_picture() -> None:
    preview = phantom(48, 40, seed=3)

    data = encode(phantom(), "MPO", save_all=True, append_images=[preview])

    assert np.abs(grey(data) - grey(jpeg())).max() <= 2


def test_a_picture_of_one_pixel_is_a_picture() -> None:
    assert set(grey(png(Image.new("L", (1, 1), 77))).flat) == {77}


def test_a_picture_of_extreme_shape_is_squeezed() -> None:
    assert grey(png(Image.new("L", (30_000, 1), 9))).max() == 9


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_a_jpeg_that_would_take_hours_is_refused(form: str) -> None:
    # GIVEN a progressive JPEG whose last scan is repeated a thousand times
    data = encode(phantom(), "JPEG", progressive=True)
    assert decode(data, SIZE).shape == (SIZE, SIZE)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    endless = data[:-2] + last_scan * 1000 + data[-2:]
    if form == "TIFF":
        plain = encode(phantom(), "TIFF", compression="jpeg")
        endless = plain + endless

    with pytest.raises(InputTooLarge, match="scans"):
        decode(endless, SIZE)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_pixels_or_an_error_of_ours(data: bytes) -> None:
    assert_pixels_or_our_error(data)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "DICOM"]))
def test_any_damage_is_pixels_or_an_error_of_ours(data: st.DataObject, form: str) -> None:
    good = bytearray(dicom() if form == "DICOM" else encode(phantom(24, 20), form))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, min(len(good) - 1, 900)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))

    assert_pixels_or_our_error(bytes(good))
    assert_pixels_or_our_error(bytes(good[:cut]))


def assert_pixels_or_our_error(data: bytes) -> None:
    with suppress(InputError):
        assert decode(data, 32).shape == (32, 32)
