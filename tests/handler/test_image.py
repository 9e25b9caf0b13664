"""`decode`: every form of an image gives the same pixels, and hostile bytes give errors of ours."""

import subprocess
import sys
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handler.errors import InputError, InputTooLarge, UnreadableImage, UnsupportedFormat
from handler.imaging.decode import FORMATS, decode
from tests.handler.pictures import dicom, encode, jpeg, phantom, png, png_chunk, tiff

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


@pytest.mark.parametrize("bits", [12, 14, 15, 16])
def test_the_bits_of_a_detector_fill_the_range_of_a_sixteen_bit_file(bits: int) -> None:
    stored = Image.fromarray(np.asarray(phantom()).astype(np.uint16) * 2 ** (bits - 8))

    assert np.abs(grey(png(stored)) - grey(png())).max() <= 2


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 1 / 255), (np.float32, 1), (np.float32, 257), (np.int32, 1), (np.int32, 16)]
)
def test_wide_values_are_scaled_by_what_they_span(dtype: type, scale: float) -> None:
    wide = Image.fromarray((np.asarray(phantom()).astype(float) * scale).astype(dtype))

    assert np.abs(grey(encode(wide, "TIFF")) - grey(png())).max() <= 2


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    assert grey(png(Image.fromarray(np.asarray(phantom()).astype(np.uint16)))).max() < 16


def test_wide_values_that_are_no_greys_are_refused_with_their_range() -> None:
    hounsfield = Image.fromarray(np.asarray(phantom()).astype(np.float32) - 100)

    with pytest.raises(UnreadableImage, match=r"grey values from -.* to .* scale them"):
        grey(encode(hounsfield, "TIFF"))


SHADES = np.asarray(phantom())
CONTAINERS = [("<", False), (">", False), ("<", True)]


@pytest.mark.parametrize(("order", "big"), CONTAINERS)
def test_a_tiff_may_come_in_tiles(order: str, big: bool) -> None:
    assert np.array_equal(grey(tiff(SHADES, order=order, big=big)), grey(png()))


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 1), (np.uint16, 257), (np.uint16, 16)])
def test_a_tiff_in_which_zero_is_white_is_inverted(dtype: type, scale: int) -> None:
    values = (255 - SHADES).astype(dtype) * dtype(scale)

    assert np.abs(grey(tiff(values, tags={262: (3, 1, 0)})) - grey(png())).max() <= 1


@pytest.mark.parametrize(("order", "big"), CONTAINERS)
@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({322: (4, 1, 46336), 323: (4, 1, 46336)}, "tiles of 46336 x 46336"),
        ({273: (3, 65_537, 8)}, "65,537 values in its tag 273"),
    ],
    ids=["tiles", "strips"],
)
def test_a_tiff_of_a_few_bytes_may_not_take_gigabytes(order: str, big: bool, tags: dict, named: str) -> None:
    with pytest.raises(InputTooLarge, match=named):
        decode(tiff(SHADES, order=order, big=big, tags=tags), SIZE)


def test_a_tiff_that_hides_the_size_of_its_tiles_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="how large its tiles are"):
        decode(tiff(SHADES, tags={322: (16, 1, 8)}), SIZE)


def test_a_tiff_that_pillow_misreads_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="BigTIFF in big-endian"):
        decode(tiff(SHADES, order=">", big=True), SIZE)


@pytest.mark.parametrize("compression", [1, 2])
def test_a_bitmap_in_run_lengths_is_refused(compression: int) -> None:
    data = bytearray(encode(phantom(), "BMP"))
    data[30] = compression

    with pytest.raises(UnsupportedFormat, match="BMP in run lengths"):
        decode(bytes(data), SIZE)


def test_a_png_may_have_a_colour_profile_but_not_many() -> None:
    assert np.array_equal(grey(encode(phantom(), "PNG", icc_profile=b"profile")), grey(png()))
    header = 8 + 25

    with pytest.raises(InputTooLarge, match="colour profiles"):
        decode(png()[:header] + png_chunk(b"iCCP", b"a\0\0x") * 9 + png()[header:], SIZE)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def after(start: int, data: bytes, more: bytes) -> bytes:
    return data[:start] + more + data[start:]


GIF_HEADER = 13 + 3 * 256
PARTS = {
    "JPEG comments": lambda n: after(2, jpeg(), segment(0xFE, b"") * n),
    "JPEG fill bytes": lambda n: after(2, jpeg(), b"\xff" * n),
    "PNG chunks": lambda n: after(33, png(), png_chunk(b"prVt", b"") * n),
    "PNG data": lambda n: after(33, png(), png_chunk(b"IDAT", b"") * n),
    "GIF comment": lambda n: after(GIF_HEADER, encode(phantom(), "GIF"), b"!\xfe" + b"\x01x" * n + b"\0"),
    "GIF extensions": lambda n: after(GIF_HEADER, encode(phantom(), "GIF"), b"!\x01\x01x\0" * n),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_file_of_nothing_but_parts_is_refused_before_pillow_collects_them(kind: str) -> None:
    assert np.array_equal(grey(PARTS[kind](20)), grey(PARTS[kind](0)))
    with pytest.raises(InputTooLarge, match="small parts"):
        decode(PARTS[kind](20_000), SIZE)


@pytest.mark.parametrize("extension", [b"!\x01\0", b"!\xff\x0bNETSCAPE2.0\0"])
def test_a_gif_extension_without_content_hides_no_parts(extension: bytes) -> None:
    hidden = b"," + bytes(10) + (b"\xff" + b"\x01x" * 127 + b"x") * 100 + b"\0"

    with pytest.raises(UnreadableImage, match="without content"):
        decode(after(GIF_HEADER, encode(phantom(), "GIF"), extension + hidden), SIZE)


def test_a_jpeg_segment_that_pillow_takes_for_a_mere_marker_hides_no_parts() -> None:
    with pytest.raises(InputTooLarge, match="small parts"):
        decode(after(2, jpeg(), segment(0xF0, segment(0xFE, b"") * 16_000) * 2), SIZE)


def test_a_jpeg_of_many_exif_segments_is_refused() -> None:
    exif = segment(0xE1, b"Exif\0\0" + bytes(60_000))

    assert grey(after(2, jpeg(), exif)).any()
    with pytest.raises(InputTooLarge, match="EXIF"):
        decode(after(2, jpeg(), exif * 20), SIZE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "I", "F"])
def test_a_large_picture_of_any_mode_takes_no_more_than_its_pixels(mode: str) -> None:
    """In a process of its own, for the peak of this one is that of its tests."""
    code = (
        "import io, resource, sys\n"
        "from PIL import Image\n"
        "from handler.imaging.decode import decode\n"
        "image = Image.new(sys.argv[1], (4000, 4000))\n"
        "if image.mode == 'P': image.info['transparency'] = 0\n"
        "file = io.BytesIO(); image.save(file, 'TIFF' if image.mode in 'IF' else 'PNG'); del image\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "small = io.BytesIO(); Image.new('L', (9, 9)).save(small, 'PNG'); decode(small.getvalue(), 64)\n"
        "before = peak()\n"
        "decode(file.getvalue(), 64); print((peak() - before) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, check=True)

    bytes_of_a_pixel = {"I;16": 2, "LA": 4, "P": 1}.get(mode, 4)
    assert float(done.stdout) < 16 * (bytes_of_a_pixel + 1) * 2


def test_what_pillow_warns_of_is_not_written_between_the_lines_of_the_log() -> None:
    # GIVEN a picture whose directory breaks off, of which Pillow warns
    with warnings.catch_warnings(record=True) as written:
        warnings.simplefilter("always")
        with suppress(InputError):
            decode(encode(phantom(), "TIFF")[:60], SIZE)

    assert not written


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
