"""DICOM: compressed pixels, with pydicom's test files if they are installed."""

import io
import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, encapsulate_extended

from handler.errors import InputError, UnreadableImage, UnsupportedFormat
from tests.handler.dicom_files import (
    BASELINE,
    HTJ2K,
    JPEG_2000,
    JPEG_2000_LOSSY,
    JPEG_LS,
    JPEG_LS_LOSSY,
    LOSSLESS_JPEG,
    PLAIN,
    SHADES,
    bundled,
    compressed,
    real,
    recompressed,
    saved,
    shown,
    shown_plainly,
)
from tests.handler.images import dicom

J2K, JLS, RUNS = "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm"
PIXELS = b"\xe0\x7f\x10\x00"  # the tag of the pixels
SIZ = 4  # offset of the size of a JPEG 2000 image, without its marker

VALUES = SHADES.astype(np.uint16) * 16
WINDOW = {"BitsStored": 12, "HighBit": 11, "WindowCenter": "2040", "WindowWidth": "4081"}

ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    LOSSLESS_JPEG: lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=12),
    JPEG_LS: imagecodecs.jpegls_encode,
    JPEG_LS_LOSSY: lambda pixels: imagecodecs.jpegls_encode(pixels, level=3),
    JPEG_2000: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True),
    JPEG_2000_LOSSY: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", level=60),
    HTJ2K: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}

REFERENCE = np.array(
    [
        [75, 26, 12, 6, 21, 96, 123, 108],
        [105, 87, 80, 29, 13, 58, 75, 68],
        [92, 119, 131, 49, 9, 38, 52, 54],
        [99, 142, 150, 67, 17, 79, 120, 100],
        [95, 165, 185, 83, 28, 118, 166, 101],
        [54, 158, 206, 107, 39, 156, 186, 74],
        [29, 93, 148, 87, 48, 140, 135, 47],
        [107, 84, 96, 62, 46, 105, 101, 105],
    ]
)


def patched(stream: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(stream)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


@pytest.mark.parametrize("name", ["lossless_jpeg.dcm", "extended_jpeg_12_bits.dcm"])
def test_real_compressed_radiographs_are_read(name: str) -> None:
    from handler.imaging.decode import decode

    assert np.abs(decode(real(name), 8).astype(int) - REFERENCE).max() <= 1


@pytest.mark.parametrize(
    ("name", "same"),
    {
        "MR_small_implicit.dcm": "MR_small.dcm",
        "MR_small_bigendian.dcm": "MR_small.dcm",
        RUNS: "MR_small.dcm",
        J2K: "MR_small.dcm",
        JLS: "MR_small.dcm",
        "SC_rgb_jpeg_dcmtk.dcm": "SC_rgb_rle.dcm",
        "SC_rgb_jpeg_gdcm.dcm": "SC_rgb_rle.dcm",
        "SC_rgb_jls_lossy_line.dcm": "SC_rgb_rle.dcm",
        "SC_rgb_jls_lossy_sample.dcm": "SC_rgb_rle.dcm",
        "SC_rgb_gdcm_KY.dcm": "SC_rgb_rle.dcm",
        "SC_rgb_rle_2frame.dcm": "SC_rgb_rle.dcm",
        "SC_rgb_rle_16bit.dcm": "SC_rgb_rle.dcm",
    }.items(),
)
def test_transfer_syntaxes_give_the_same_image(name: str, same: str) -> None:
    assert np.abs(shown(bundled(name)) - shown(bundled(same))).mean() < 2


@pytest.mark.parametrize("trailing", [b"", bytes(9), b"\xff", b"\xff\xda" * 4], ids=["", "zeros", "ones", "markers"])
@pytest.mark.parametrize("syntax", ENCODERS)
def test_compressed_pixels_are_read_with_padding_behind_them(syntax: str, trailing: bytes) -> None:
    stream = ENCODERS[syntax](VALUES)

    data = compressed(syntax, encapsulate([stream + trailing]), VALUES, **WINDOW)

    assert np.abs(shown(data) - PLAIN).mean() < 2


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("has_bot", [True, False])
@pytest.mark.parametrize("frames", [1, 2])
def test_frames_may_be_cut_into_fragments(syntax: str, has_bot: bool, frames: int) -> None:
    streams = [ENCODERS[syntax](VALUES), ENCODERS[syntax](4080 - VALUES)][:frames]
    pixels = encapsulate(streams, fragments_per_frame=3, has_bot=has_bot)

    data = compressed(syntax, pixels, VALUES, NumberOfFrames=frames, **WINDOW)

    assert np.abs(shown(data) - PLAIN).mean() < 2


def test_an_extended_offset_table_is_followed() -> None:
    streams = [ENCODERS[JPEG_LS](VALUES), ENCODERS[JPEG_LS](4080 - VALUES)]
    pixels, offsets, lengths = encapsulate_extended(streams)
    tables = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}

    data = compressed(JPEG_LS, pixels, VALUES, NumberOfFrames=2, **tables, **WINDOW)

    assert np.abs(shown(data) - PLAIN).mean() < 2


def test_an_offset_table_that_is_wrong_does_not_matter_to_a_single_frame() -> None:
    pixels = bytearray(encapsulate([ENCODERS[JPEG_2000](VALUES)]))
    pixels[8:12] = b"\x99\x99\x99\x00"

    assert np.abs(shown(compressed(JPEG_2000, bytes(pixels), VALUES, **WINDOW)) - PLAIN).mean() < 2


@pytest.mark.parametrize("syntax", [LOSSLESS_JPEG, JPEG_LS, JPEG_2000])
@pytest.mark.parametrize("bits", [12, 16])
def test_negative_values_keep_their_sign(syntax: str, bits: int) -> None:
    # GIVEN two's complement in an unsigned stream, as most encoders write it
    values = VALUES.astype(np.int16) - 2000
    window = {"WindowCenter": "40", "WindowWidth": "4081"}
    codes = values.view(np.uint16) & (0xFFF if bits == 12 else 0xFFFF)
    depth = {"bitspersample": bits}
    if syntax == LOSSLESS_JPEG:
        stream = imagecodecs.jpeg8_encode(codes, lossless=True, **depth)
    else:
        stream = ENCODERS[syntax](codes)

    data = compressed(syntax, encapsulate([stream]), values, BitsStored=bits, HighBit=bits - 1, **window)

    assert np.abs(shown(data) - PLAIN).max() <= 1


def test_a_signed_stream_is_read() -> None:
    values = VALUES.astype(np.int16) - 2000
    stream = ENCODERS[JPEG_2000](values)

    data = compressed(JPEG_2000, encapsulate([stream]), values, WindowCenter="40", WindowWidth="4081")

    assert np.abs(shown(data) - PLAIN).max() <= 1


COLOUR = np.stack([SHADES, SHADES // 2, 255 - SHADES], -1)


@pytest.mark.parametrize("stored", ["RGB", "YCBCR"])
@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL_422"])
def test_the_colours_of_jpeg_follow_its_header(stored: str, kind: str) -> None:
    stream = imagecodecs.jpeg8_encode(COLOUR, level=95, colorspace="RGB", outcolorspace=stored)

    data = compressed(
        BASELINE, encapsulate([stream]), COLOUR, Rows=80, Columns=96, SamplesPerPixel=3, PhotometricInterpretation=kind
    )

    # libjpeg writes a marker with the colour space, which overrides the DICOM header
    assert np.abs(shown(data) - shown_plainly(COLOUR @ (0.299, 0.587, 0.114))).mean() < 2


@pytest.mark.parametrize(
    ("name", "change", "error", "named"),
    [
        (J2K, lambda s: patched(s, SIZ + 36, ">H", 100), UnreadableImage, "64 x 64 of 100"),
        (J2K, lambda s: patched(s, SIZ + 4, ">I", 65), UnreadableImage, "65 x 64"),
        (J2K, lambda s: patched(s, SIZ + 39, "B", 2), UnreadableImage, "several sizes"),
        (J2K, lambda s: patched(s, SIZ + 38, "B", 31), UnsupportedFormat, "32 bits"),
        (JLS, lambda s: patched(s, s.index(b"\xff\xf7") + 9, "B", 30), UnreadableImage, "64 x 64 of 30"),
        (JLS, lambda s: s[: len(s) // 2], UnreadableImage, "are incomplete"),
        (J2K, lambda s: s[: len(s) // 2], UnreadableImage, "corrupt"),
        (J2K, lambda _: b"nonsense" * 9, UnreadableImage, "are not JPEG"),
    ],
    ids=["components", "width", "subsampled", "bits", "JPEG-LS components", "JPEG-LS cut", "cut", "nonsense"],
)
def test_compressed_pixels_that_contradict_their_header_are_refused(
    name: str, change: Callable[[bytes], bytes], error: type[InputError], named: str
) -> None:
    with pytest.raises(error, match=named):
        shown(recompressed(name, change))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("syntax", [LOSSLESS_JPEG, JPEG_LS])
def test_truncated_jpeg_is_refused(syntax: str, share: float) -> None:
    stream = ENCODERS[syntax](VALUES)

    with pytest.raises(UnreadableImage, match="are incomplete"):
        shown(compressed(syntax, encapsulate([stream[: int(len(stream) * share)]]), VALUES, **WINDOW))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_truncated_file_with_compressed_pixels_is_refused(syntax: str, share: float) -> None:
    data = compressed(syntax, encapsulate([ENCODERS[syntax](VALUES)]), VALUES, **WINDOW)
    pixels = data.index(PIXELS)

    with pytest.raises(UnreadableImage, match="Send the whole file"):
        shown(data[: pixels + int(share * (len(data) - pixels))])


def test_a_compressed_image_must_not_be_larger_than_its_header() -> None:
    lying = pydicom.dcmread(io.BytesIO(bundled(J2K)))
    lying.Rows, lying.Columns = 8, 8

    with pytest.raises(UnreadableImage, match="8 x 8"):
        shown(saved(lying))


@pytest.mark.parametrize("runs", [b"\x80" * 100_000, b"\x7f", b"\x05\x01"], ids=["none", "short", "cut"])
def test_run_lengths_that_do_not_fit_are_corrupt(runs: bytes) -> None:
    file = pydicom.dcmread(io.BytesIO(bundled(RUNS)))
    header = b"".join(number.to_bytes(4, "little") for number in [2, 64, 64 + len(runs)] + [0] * 13)
    file.PixelData = encapsulate([header + runs + runs])

    with pytest.raises(UnreadableImage):
        shown(saved(file))


def test_an_unknown_transfer_syntax_is_refused_by_its_number() -> None:
    explicit = b"1.2.840.10008.1.2.1\0"
    assert dicom().count(explicit) == 1

    with pytest.raises(UnsupportedFormat, match=r"1\.2\.840\.10008\.9\.2\.1"):
        shown(dicom().replace(explicit, b"1.2.840.10008.9.2.1\0"))


def test_an_ordinary_jpeg_is_the_same_in_a_dicom_file() -> None:
    target = io.BytesIO()
    Image.fromarray(SHADES).save(target, "JPEG", quality=95)

    data = compressed(BASELINE, encapsulate([target.getvalue()]), SHADES)

    assert np.abs(shown(data) - PLAIN).mean() < 2


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_large_jpeg_2000_is_decoded_at_a_fraction_of_its_size(
    bits: int, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a smooth image of 1000 x 1200 pixels
    coarse = np.random.default_rng(0).integers(0, 256, (12, 10), dtype=np.uint8)
    shades = np.asarray(Image.fromarray(coarse).resize((1000, 1200), Image.Resampling.BICUBIC)).astype(np.int32)
    values = shades * (2**bits - 1) // 255 - (2 ** (bits - 1) if signed else 0)
    values = values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    header = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": int(signed)}
    stream = imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, bitspersample=bits)
    plain = shown(dicom(values, **header))

    # WHEN only its reduced form can be decoded
    monkeypatch.setattr("imagecodecs.jpeg2k_decode", None)
    reduced = shown(compressed(JPEG_2000, encapsulate([stream]), values, **header))

    assert np.abs(reduced - plain).mean() < 1


def test_a_palette_is_not_decoded_at_a_fraction() -> None:
    """The mean of two palette indices is the index of another colour."""
    indices = np.random.default_rng(0).choice([0, 255], (1024, 1024)).astype(np.uint8)
    ramp = (np.arange(256) == 128).astype(np.uint8) * 255
    header = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        header[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        header[f"{colour}PaletteColorLookupTableData"] = ramp.tobytes()
    stream = imagecodecs.jpeg2k_encode(indices, codecformat="j2k", reversible=True)

    assert shown(compressed(JPEG_2000, encapsulate([stream]), indices, **header)).max() == 0
