"""DICOM as it really arrives, with pydicom's own test files where it brings them along."""

import logging
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.processing import apply_voi_lut
from pydicom.sequence import Sequence

from handler.errors import InputError, InputTooLarge, UnreadableImage, UnsupportedFormat
from handler.imaging.decode import decode
from tests.handler.pictures import dicom, phantom, png

SIZE = 64
SHADES = np.asarray(phantom())
PLAIN = decode(png(), SIZE).astype(int)


def shown(data: bytes) -> np.ndarray:
    return decode(data, SIZE).astype(int)


def spread(shades: np.ndarray) -> np.ndarray:
    """What is shown of shades that fill the whole range."""
    full = (shades - float(shades.min())) / np.ptp(shades) * 255
    return decode(png(Image.fromarray(np.rint(full).astype(np.uint8))), SIZE).astype(int)


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    return Path(str(path)).read_bytes()


def test_eight_bits_are_taken_as_they_are() -> None:
    dim = SHADES // 2

    assert np.array_equal(shown(dicom(dim)), decode(png(Image.fromarray(dim)), SIZE))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_sixteen_bits_without_a_window_fill_the_range(dtype: type) -> None:
    values = (SHADES.astype(np.int32) * 40 - (2000 if dtype is np.int16 else 0)).astype(dtype)

    assert np.abs(shown(dicom(values)) - spread(SHADES)).max() <= 2


def test_monochrome1_is_inverted() -> None:
    inverted = dicom(255 - SHADES, PhotometricInterpretation="MONOCHROME1")

    assert np.abs(shown(inverted) - PLAIN).max() <= 1


def test_rescale_and_window_are_applied() -> None:
    # GIVEN values 1000 + 4 * shade, rescaled by half less 500, and a window over exactly those
    data = dicom(
        SHADES.astype(np.uint16) * 4 + 1000,
        BitsStored=16,
        HighBit=15,
        RescaleSlope="0.5",
        RescaleIntercept="-500",
        WindowCenter="255",
        WindowWidth="510",
        VOILUTFunction="LINEAR_EXACT",
    )

    assert np.abs(shown(data) - PLAIN).max() <= 1


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str | None) -> None:
    values = SHADES.astype(np.uint16) * 16
    attributes = {"VOILUTFunction": function} if function else {}
    attributes |= {"BitsStored": 12, "HighBit": 11}
    data = dicom(values, WindowCenter=["1500", "40"], WindowWidth=["1200", "400"], **attributes)

    file = Dataset()
    file.PhotometricInterpretation = "MONOCHROME2"
    file.WindowCenter, file.WindowWidth, file.BitsStored, file.PixelRepresentation = 1500, 1200, 12, 0
    if function:
        file.VOILUTFunction = function
    theirs = (apply_voi_lut(values, file) / 4095 * 255 + 0.5).astype(np.uint8)

    assert np.abs(shown(data) - decode(png(Image.fromarray(theirs)), SIZE)).max() <= 1


@pytest.mark.parametrize(("slope", "intercept"), [("-1", "255"), ("-1", "0"), ("-4", "-1024")])
def test_eight_bits_may_be_rescaled_upside_down(slope: str, intercept: str) -> None:
    data = dicom(255 - SHADES, RescaleSlope=slope, RescaleIntercept=intercept)

    assert np.array_equal(shown(data), PLAIN)


def test_a_lookup_table_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.add_new("LUTData", "US", [value * 257 for value in range(255, -1, -1)])
    inverting = dicom(255 - SHADES, VOILUTSequence=Sequence([table]))

    assert np.abs(shown(inverting) - PLAIN).max() <= 1


def test_padding_is_black_and_does_not_count() -> None:
    # GIVEN a picture of which the left half is far below everything else
    values = SHADES.astype(np.int16) * 8
    values[:, :48] = -2000

    pixels = shown(dicom(values, PixelPaddingValue=-2000))

    assert pixels[:, :31].max() == 0
    inside = shown(dicom(np.ascontiguousarray(values[:, 48:])))
    assert abs(pixels[:, 34:].mean() - inside[:, 4:].mean()) < 3


def test_the_first_frame_of_several_is_taken() -> None:
    frames = np.stack([SHADES, 255 - SHADES])

    assert np.abs(shown(dicom(frames, NumberOfFrames=2)) - PLAIN).max() <= 1


READABLE = {
    "MR_small_implicit.dcm": "MR_small.dcm",
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "MR_small_RLE.dcm": "MR_small.dcm",
    "MR_small_jp2klossless.dcm": "MR_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "SC_rgb_jpeg_dcmtk.dcm": "SC_rgb_rle.dcm",
    "SC_rgb_gdcm_KY.dcm": "SC_rgb_rle.dcm",
    "SC_rgb_rle_2frame.dcm": "SC_rgb_rle.dcm",
}


@pytest.mark.parametrize(("name", "same"), READABLE.items())
def test_transfer_syntaxes_give_the_same_picture(name: str, same: str) -> None:
    assert np.abs(shown(bundled(name)) - shown(bundled(same))).mean() < 2


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "image_dfl.dcm", "JPEGLSNearLossless_16.dcm"],
)
def test_other_real_files_are_read(name: str) -> None:
    assert np.ptp(shown(bundled(name))) > 100


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("JPGExtended.dcm", "JPEG Extended"),
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless"),
        ("rtdose_1frame.dcm", "32 of 32 bits"),
        ("test-SR.dcm", "no picture"),
    ],
)
def test_what_is_not_read_is_refused_by_name(name: str, named: str) -> None:
    with pytest.raises(UnsupportedFormat, match=named):
        shown(bundled(name))


def test_an_unknown_transfer_syntax_is_refused_by_its_number() -> None:
    explicit = b"1.2.840.10008.1.2.1\0"
    assert dicom().count(explicit) == 1

    with pytest.raises(UnsupportedFormat, match=r"1\.2\.840\.10008\.9\.2\.1"):
        shown(dicom().replace(explicit, b"1.2.840.10008.9.2.1\0"))


def test_a_compressed_picture_may_not_be_larger_than_it_says() -> None:
    lying = pydicom.dcmread(get_testdata_file("MR_small_jp2klossless.dcm", download=False))
    lying.Rows, lying.Columns = 8, 8
    data = pydicom.filebase.DicomBytesIO()
    lying.save_as(data)

    with pytest.raises(UnreadableImage, match="8 x 8"):
        shown(data.getvalue())


def recompressed(name: str, change: Callable[[bytes], bytes]) -> bytes:
    """One of pydicom's files with its compressed pixels changed."""
    file = pydicom.dcmread(get_testdata_file(name, download=False))
    file.PixelData = encapsulate([change(get_frame(file.PixelData, 0))])
    data = pydicom.filebase.DicomBytesIO()
    file.save_as(data)
    return data.getvalue()


def patched(stream: bytes, at: int, form: str, *values: int) -> bytes:
    changed = bytearray(stream)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


J2K, JLS = "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"
SIZ = 4  # where the size of a JPEG 2000 picture is described, its marker left out


def in_precincts(stream: bytes, exponents: int) -> bytes:
    """With the coding style rewritten to name the size of its precincts."""
    at = stream.index(b"\xff\x52")
    length = int.from_bytes(stream[at + 2 : at + 4])
    style = patched(stream[at : at + 14], 4, "B", stream[at + 4] | 1) + bytes([exponents] * (stream[at + 9] + 1))
    return stream[:at] + patched(style, 2, ">H", len(style) - 2) + stream[at + 2 + length :]


@pytest.mark.parametrize(
    ("name", "change", "error", "named"),
    [
        (J2K, lambda s: b"\0\0\0\x0cjP  \r\n\x87\n" + s, UnreadableImage, "JP2"),
        (J2K, lambda s: patched(s, SIZ + 36, ">H", 100), UnreadableImage, "64 x 64 of 100"),
        (J2K, lambda s: patched(s, SIZ + 20, ">II", 2, 2), InputTooLarge, "1,024 tiles"),
        (J2K, lambda s: patched(s, SIZ + 20, ">II", 0, 0), UnreadableImage, "tiles of no size"),
        (J2K, lambda s: in_precincts(s, 0x11), InputTooLarge, "precincts"),
        (J2K, lambda s: patched(s, s.index(b"\xff\x52") + 10, "BB", 0, 0), InputTooLarge, "code-blocks"),
        (J2K, lambda s: s[:51] + b"\xff\x30" + s[51:], UnreadableImage, "unknown here"),
        (JLS, lambda s: patched(s, s.index(b"\xff\xf7") + 9, "B", 30), UnreadableImage, "64 x 64 of 30"),
    ],
    ids=["JP2", "components", "tiles", "no tiles", "precincts", "code-blocks", "unknown", "JPEG-LS components"],
)
def test_compressed_pixels_may_not_take_more_than_they_say(
    name: str, change: Callable[[bytes], bytes], error: type[InputError], named: str
) -> None:
    with pytest.raises(error, match=named):
        shown(recompressed(name, change))


def test_compressed_pixels_may_come_in_precincts() -> None:
    assert np.array_equal(shown(recompressed(J2K, lambda s: in_precincts(s, 0x88))), shown(bundled(J2K)))


FIRST = b"\x08\x00\x16\x00"
"""Begins what follows the file's meta information."""


def deflated(data: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


def test_a_deflated_file_may_not_swell() -> None:
    plain = dicom()
    uid = b"1.2.840.10008.1.2.1\0"
    start = plain.index(FIRST)
    head = plain[:start].replace(b"UI\x14\x00" + uid, b"UI\x16\x00" + b"1.2.840.10008.1.2.1.99")

    assert np.array_equal(shown(head + deflated(plain[start:])), shown(plain))
    with pytest.raises(InputTooLarge, match="swells"):
        shown(head + deflated(plain[start:] + bytes(200_000_000)))


def test_a_file_is_inflated_once() -> None:
    # GIVEN a file whose deflated data completes the very statement that it is deflated
    uid = b"1.2.840.10008.1.2.1.99"
    statement = struct.pack("<HH2sHI", 2, 5, b"OF", 32, 0) + struct.pack("<HH2sH", 2, 0x10, b"UI", 22) + uid[:-2]
    twice = deflated(uid[-2:] + deflated(bytes(50_000_000)))
    data = uid.ljust(128, b"\0") + b"DICM" + struct.pack("<HH2sH6s", 2, 2, b"UI", 6, b"1.2.3\0") + statement + twice

    tracemalloc.start()
    with pytest.raises(InputError):
        shown(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 25_000_000


@pytest.mark.parametrize(
    "runs", [b"\x81\0" * 100_000, b"\x80" * 100_000, b"\x7f", b"\x05\x01"], ids=["many", "none", "short", "cut"]
)
def test_run_lengths_that_do_not_fit_are_corrupt(runs: bytes) -> None:
    file = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm", download=False))
    header = b"".join(number.to_bytes(4, "little") for number in [2, 64, 64 + len(runs)] + [0] * 13)
    file.PixelData = encapsulate([header + runs + runs])
    data = pydicom.filebase.DicomBytesIO()
    file.save_as(data)

    with pytest.raises(UnreadableImage):
        shown(data.getvalue())


TABLES = b"\x28\x00\x10\x30SQ\0\0"  # a sequence that is read
ITEM = b"\xfe\xff\x00\xe0"
UNBOUNDED = b"\xff\xff\xff\xff"
ELEMENT = b"\x09\x00\x10\x10LO\0\0"
LONG = ELEMENT * 40_000


@pytest.mark.parametrize(
    ("crowd", "named"),
    [
        (TABLES + UNBOUNDED + (ITEM + bytes(4)) * 20_000, "nested items"),
        (ELEMENT * 60_000, "far more elements"),
        (TABLES + UNBOUNDED + ITEM + UNBOUNDED + ELEMENT * 60_000, "far more elements"),
        (TABLES + struct.pack("<I4sI", len(LONG) + 8, ITEM, len(LONG)) + LONG, "320,008 bytes"),
    ],
    ids=["items", "elements", "elements of an item", "a long sequence"],
)
def test_a_file_may_not_be_full_of_trifles(crowd: bytes, named: str) -> None:
    plain = dicom()
    start = plain.index(FIRST)

    with pytest.raises(InputTooLarge, match=named):
        shown(plain[:start] + crowd + plain[start:])


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"RescaleSlope": "", "RescaleIntercept": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "1e308", "RescaleIntercept": "0"}, "out of all bounds"),
        ({"WindowWidth": "nan", "WindowCenter": "5"}, "WindowWidth"),
        ({"WindowWidth": "5", "WindowCenter": "nan"}, "WindowCenter"),
    ],
    ids=str,
)
def test_an_attribute_that_is_no_number_is_named(attributes: dict, named: str) -> None:
    with pytest.raises(UnreadableImage, match=named):
        shown(dicom(**attributes))


@pytest.mark.parametrize(("tag", "name"), [(0x0120, "PixelPaddingValue"), (0x0008, "NumberOfFrames")])
def test_an_attribute_that_is_text_is_named_and_not_quoted(tag: int, name: str) -> None:
    text = struct.pack("<HH2sH", 0x28, tag, b"LO", 8) + b"DOE_JANE"
    pixels = b"\xe0\x7f\x10\x00"

    with pytest.raises(UnreadableImage, match=name) as raised:
        shown(dicom().replace(pixels, text + pixels, 1))

    assert "DOE" not in str(raised.value)


def test_empty_windows_are_none() -> None:
    assert np.array_equal(shown(dicom(SHADES, WindowCenter="", WindowWidth="")), PLAIN)


def test_bits_that_are_stored_in_another_place_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match="HighBit 11"):
        shown(dicom(BitsStored=12, HighBit=15))


def test_nothing_of_the_file_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    charset = b"\x08\x00\x05\x00CS\x08\0DOE_JANE"
    plain = dicom()
    start = plain.index(FIRST)

    with caplog.at_level(logging.INFO):
        shown(plain[:start] + charset + plain[start:])

    assert "DOE" not in caplog.text


@pytest.mark.parametrize(
    "attributes",
    [
        {"Rows": None},
        {"Rows": 0},
        {"BitsStored": 99},
        {"SamplesPerPixel": 7},
        {"PhotometricInterpretation": "NONSENSE"},
        {"WindowCenter": "1", "WindowWidth": "0"},
        {"PixelData": b"\0\0"},
    ],
    ids=str,
)
def test_contradictions_are_errors_of_ours(attributes: dict) -> None:
    with pytest.raises(InputError):
        shown(dicom(**attributes))


def test_the_patient_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = pydicom.filereader.read_dataset
    monkeypatch.setattr(
        pydicom.filereader, "read_dataset", lambda *a, **named: seen.append(real(*a, **named)) or seen[-1]
    )

    shown(dicom())

    assert "Rows" in seen[-1]
    assert "PatientName" not in seen[-1]
