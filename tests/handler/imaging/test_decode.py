"""`decode`: all formats of an image give the same pixels, and hostile bytes give errors of this project."""

import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handler.errors import InputError, InputTooLarge, UnsupportedFormat
from handler.imaging.decode import FORMATS, MAX_PIXELS, decode
from tests.handler.images import bomb, deep_png, dicom, encode, jpeg, phantom, png, tiff, tifffile

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


SHADES = np.asarray(phantom())
CONTAINERS = [("<", False), (">", False), ("<", True)]


@pytest.mark.parametrize(("order", "big"), CONTAINERS)
def test_a_tiff_may_come_in_tiles(order: str, big: bool) -> None:
    assert np.array_equal(grey(tiff(SHADES, order=order, big=big)), grey(png()))


def test_a_bitmap_in_run_lengths_is_read() -> None:
    data = bytearray(encode(phantom(), "BMP"))
    runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in SHADES[::-1]) + b"\0\1"
    data[30], data[34:38] = 1, len(runs).to_bytes(4, "little")
    start = int.from_bytes(data[10:14], "little")

    assert np.array_equal(grey(bytes(data[:start]) + runs), grey(png()))


def test_a_tiff_with_jpeg_in_many_strips_is_read() -> None:
    image = phantom(1460, 906)

    assert np.abs(grey(encode(image, "TIFF", compression="jpeg")) - grey(png(image))).mean() < 1


def test_a_tiff_with_premultiplied_alpha_is_laid_on_black() -> None:
    alpha = np.linspace(0, 255, SHADES.size).reshape(SHADES.shape)
    on_black = (SHADES * alpha / 255).astype(np.uint8)
    data = tifffile(np.stack([on_black, alpha.astype(np.uint8)], -1), extrasamples=["assocalpha"])

    assert np.abs(grey(data) - grey(png(Image.fromarray(on_black)))).mean() < 2


def test_a_tiff_in_cielab_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormat, match="CIELAB"):
        grey(encode(Image.new("LAB", (8, 8)), "TIFF"))


def test_a_jpeg_may_be_larger_than_what_is_decoded() -> None:
    small = phantom(1072, 788)
    large = small.resize((8 * 1072, 8 * 788))
    assert large.width * large.height > MAX_PIXELS

    assert np.abs(grey(encode(large, "JPEG")) - grey(png(small))).mean() < 1


def with_size(width: int, height: int) -> bytes:
    """A JPEG whose header has a larger size."""
    at = jpeg().index(b"\xff\xc0") + 5
    return jpeg()[:at] + height.to_bytes(2) + width.to_bytes(2) + jpeg()[at + 4 :]


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_000), (65_000, 1_000)])
def test_a_jpeg_that_cannot_be_shrunk_enough_is_refused(width: int, height: int) -> None:
    with pytest.raises(InputTooLarge, match=f"{width} x {height} pixels"):
        decode(with_size(width, height), SIZE if width == height else 256)


@pytest.mark.parametrize(
    ("data", "limit"), [(with_size(16_000, 16_000), "128,000,000"), (bomb(16_000, 16_000), "32,000,000")]
)
def test_an_image_that_pillow_refuses_is_told_the_limit_of_its_format(data: bytes, limit: str) -> None:
    with pytest.raises(InputTooLarge, match=f"more than {limit} pixels"):
        decode(data, SIZE)


def peak_of_decoding(data: bytes, folder: Path) -> float:
    """Peak memory in bytes in another process, above that for a small image; `data` itself does not count."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from handler.imaging.decode import decode\n"
        "small, large = (Path(name).read_bytes() for name in sys.argv[1:])\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "decode(small, 64); before = peak(); decode(large, 64); print((peak() - before) * 1024)"
    )
    small, large = folder / "small", folder / "large"
    small.write_bytes(png())
    large.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", code, small, large], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.parametrize(
    ("mode", "bytes_of_a_pixel"), [("RGBA", 4), ("LA", 4), ("P", 1), ("I;16", 2), ("I", 4), ("F", 4)]
)
def test_a_large_image_takes_its_pixels_and_grey_and_little_more(
    mode: str, bytes_of_a_pixel: int, tmp_path: Path
) -> None:
    image = Image.new(mode, (4000, 4000))
    options = {"transparency": 0} if mode == "P" else {}
    data = encode(image, "TIFF" if mode in ("I", "F") else "PNG", **options)

    assert peak_of_decoding(data, tmp_path) < image.width * image.height * (bytes_of_a_pixel + 1 + 1)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_large_image_of_several_channels_of_16_bits_is_never_in_memory_as_a_whole(
    channels: int, tmp_path: Path
) -> None:
    values = np.zeros((4000, 4000, channels), np.uint16)

    # Four are the channels of one pass, two the grey, one the opacity.
    assert peak_of_decoding(deep_png(values), tmp_path) < 4000 * 4000 * (4 + 2 + 1 + 1)


def test_what_pillow_warns_of_is_not_written_between_the_lines_of_the_log() -> None:
    # GIVEN an image with an incomplete directory, for which Pillow gives a warning
    with warnings.catch_warnings(record=True) as written:
        warnings.simplefilter("always")
        with suppress(InputError):
            decode(encode(phantom(), "TIFF")[:60], SIZE)

    assert not written


def test_transparency_lies_on_black() -> None:
    image = Image.new("LA", (SIZE, SIZE), (255, 0))

    assert grey(png(image)).max() == 0


@pytest.mark.parametrize("form", ["L", "I;16", "RGB"])
def test_a_transparent_grey_or_colour_of_a_png_lies_on_black(form: str) -> None:
    shades = SHADES & 0xF0
    opaque = Image.fromarray(np.where(shades == 0x80, 0, shades).astype(np.uint8))
    wide = {"I;16": 257}.get(form, 1)
    stored = (
        Image.fromarray(shades.astype(np.uint16) * 257) if form == "I;16" else Image.fromarray(shades).convert(form)
    )
    key = 0x80 * wide if form != "RGB" else (0x80,) * 3

    assert np.abs(grey(encode(stored, "PNG", transparency=key)) - grey(png(opaque))).max() <= 1


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


def test_a_photograph_with_a_preview_is_its_first_image() -> None:
    preview = phantom(48, 40, seed=3)

    data = encode(phantom(), "MPO", save_all=True, append_images=[preview])

    assert np.abs(grey(data) - grey(jpeg())).max() <= 2


def test_an_image_of_one_pixel_is_an_image() -> None:
    assert set(grey(png(Image.new("L", (1, 1), 77))).flat) == {77}


def test_an_image_of_extreme_shape_is_squeezed() -> None:
    assert grey(png(Image.new("L", (30_000, 1), 9))).max() == 9


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
