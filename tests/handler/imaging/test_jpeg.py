"""JPEG files that are cut, end early or go on behind their end, as files and in DICOM."""

from contextlib import suppress

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate

from handler.errors import InputError, UnreadableImage
from tests.handler.dicom_files import BASELINE, EXTENDED, LOSSLESS_JPEG, SHADES, compressed, shown
from tests.handler.images import dicom, encode, jpeg, phantom, png

VALUES = SHADES.astype(np.uint16) * 16
TWELVE_BITS = {"BitsStored": 12, "HighBit": 11}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("side", [96, 1000])
def test_a_jpeg_without_its_end_marker_is_read(progressive: bool, missing: int, side: int) -> None:
    whole = encode(phantom(side, side), "JPEG", progressive=progressive)

    assert np.array_equal(shown(whole[:-missing]), shown(whole))


def test_a_jpeg_without_its_end_marker_is_read_behind_a_thumbnail_that_has_one() -> None:
    thumbnail = b"\xff\xe1" + (len(jpeg()) + 2).to_bytes(2) + jpeg()
    whole = jpeg()[:2] + thumbnail + jpeg()[2:]

    assert np.array_equal(shown(whole[:-2]), shown(whole))


@settings(max_examples=100, deadline=None)
@given(st.data(), st.booleans())
def test_a_jpeg_that_is_cut_is_refused_or_looks_the_same(data: st.DataObject, progressive: bool) -> None:
    whole = jpeg(progressive=progressive)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]

    with suppress(InputError):
        assert np.abs(shown(cut) - shown(whole)).max() < 12  # the last refinement of a progressive image may be missing


def test_a_truncated_jpeg_is_a_clear_error() -> None:
    with pytest.raises(UnreadableImage, match="before its last row"):
        shown(jpeg()[: len(jpeg()) * 3 // 4])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd9", b"\xff\xda"]), st.booleans())
def test_what_follows_the_end_of_a_jpeg_does_not_matter(more: bytes, marker: bytes, progressive: bool) -> None:
    whole = jpeg(progressive=progressive)

    assert np.array_equal(shown(whole + more + marker + more), shown(whole))


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 0.97), st.sampled_from(["L", "RGB"]), st.sampled_from([96, 1000]), st.sampled_from([1, 6]))
def test_an_end_marker_does_not_hide_missing_rows(share: float, mode: str, side: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = encode(phantom(side, side).convert(mode), "JPEG", exif=exif)
    start = whole.rindex(b"\xff\xda") + 14
    cut = whole[: start + int(share * (len(whole) - start))].rstrip(b"\xff")

    with pytest.raises(UnreadableImage, match="before its last row"):
        shown(cut + b"\xff\xd9")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_progressive_jpeg_that_is_cut_before_its_end_marker_is_refused_or_looks_similar(data: st.DataObject) -> None:
    whole = jpeg(progressive=True)
    cut = whole[: data.draw(st.integers(0, len(whole) - 3))].rstrip(b"\xff")

    with suppress(InputError):
        # After whole scans the file is valid, but blurred.
        assert np.abs(shown(cut + b"\xff\xd9") - shown(whole)).mean() < 6


@pytest.mark.parametrize("shade", [0, 127, 128, 129, 255])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_a_uniform_lower_half_is_read(shade: int, progressive: bool) -> None:
    image = phantom()
    image.paste(shade, (0, 40, 96, 80))

    assert np.abs(shown(encode(image, "JPEG", quality=95, progressive=progressive)) - shown(png(image))).mean() < 3


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("lossless", [False, True])
def test_an_end_marker_does_not_hide_missing_rows_in_dicom(bits: int, share: float, lossless: bool) -> None:
    values = VALUES if bits == 12 else SHADES
    stream = imagecodecs.jpeg8_encode(values, lossless=lossless, bitspersample=bits)
    cut = stream[: int(len(stream) * share)].rstrip(b"\xff") + b"\xff\xd9"
    syntax = LOSSLESS_JPEG if lossless else BASELINE if bits == 8 else EXTENDED

    with pytest.raises(UnreadableImage, match="are incomplete"):
        shown(compressed(syntax, encapsulate([cut]), values, BitsStored=bits, HighBit=bits - 1))


@pytest.mark.parametrize("shade", [0, 2048, 4095])
def test_compressed_pixels_with_a_uniform_lower_half_are_read(shade: int) -> None:
    values = VALUES.copy()
    values[40:] = shade
    stream = imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=12)

    data = compressed(LOSSLESS_JPEG, encapsulate([stream]), values, **TWELVE_BITS)

    assert np.array_equal(shown(data), shown(dicom(values, **TWELVE_BITS)))
