"""Several channels of 16 bits. `test_greys` tests the values."""

import numpy as np
import pytest
from PIL import Image

from handler.errors import UnsupportedFormat
from handler.imaging.decode import decode
from tests.handler.images import deep_png, phantom, png, tifffile

SIZE = 64
GREY = np.asarray(phantom()).astype(np.uint16) * 257
RAMP = np.linspace(0, 65535, GREY.size).reshape(GREY.shape).astype(np.uint16)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_transparency_is_laid_on_black_after_the_scale_is_found(channels: int, form: str) -> None:
    bits_12 = np.stack([GREY >> 4] * (channels - 1) + [RAMP], -1)
    data = deep_png(bits_12) if form == "PNG" else tifffile(bits_12, extrasamples=["unassalpha"])

    expected = decode(png(Image.fromarray((GREY / 257 * (RAMP / 65535)).astype(np.uint8))), SIZE)
    assert np.abs(decode(data, SIZE).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("extra", ["unspecified", "assocalpha"])
def test_an_extra_channel_that_hides_nothing_is_ignored(extra: str) -> None:
    data = tifffile(np.stack([GREY, RAMP], -1), extrasamples=[extra])

    assert np.array_equal(decode(data, SIZE), decode(png(), SIZE))


def test_colours_weigh_as_in_8_bits() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    wide = decode(deep_png(colours.astype(np.uint16) * 257), SIZE).astype(int)

    assert np.abs(wide - decode(png(Image.fromarray(colours)), SIZE)).max() <= 1


def test_a_turned_tiff_is_upright() -> None:
    data = tifffile(np.stack([GREY] * 3, -1), extratags=[(274, "H", 1, 6, True)])

    upright = phantom().transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(decode(data, SIZE), decode(png(upright), SIZE))


REFUSED = {
    "colour in planes": lambda: tifffile(np.stack([GREY] * 3), photometric="rgb", planarconfig="separate"),
    "grey and alpha in planes": lambda: tifffile(
        np.stack([GREY] * 2), photometric="minisblack", planarconfig="separate", extrasamples=["unassalpha"]
    ),
    "premultiplied colour": lambda: tifffile(np.stack([GREY] * 4, -1), extrasamples=["assocalpha"]),
    "CMYK": lambda: tifffile(np.stack([GREY] * 4, -1), photometric="separated"),
    "a transparent colour": lambda: deep_png(np.stack([GREY] * 3, -1), tRNS=bytes(6)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_wrong_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedFormat, match=r"A 16-bit .* is not supported\. Save it as 16-bit grey"):
        decode(REFUSED[kind](), SIZE)
