"""DICOM as it really arrives, with pydicom's own test files where it brings them along."""

import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_voi_lut
from pydicom.sequence import Sequence

from handler.errors import InputError, InputTooLarge, UnreadableImage, UnsupportedFormat
from handler.image import decode
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


def test_a_deflated_file_may_not_swell() -> None:
    plain = dicom()
    uid = b"1.2.840.10008.1.2.1\0"
    start = plain.index(b"\x08\x00\x16\x00")  # the first element after the file's meta information
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    swollen = squeezer.compress(plain[start:] + bytes(200_000_000)) + squeezer.flush()
    head = plain[:start].replace(b"UI\x14\x00" + uid, b"UI\x16\x00" + b"1.2.840.10008.1.2.1.99")

    with pytest.raises(InputTooLarge, match="swells"):
        shown(head + swollen)


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


def test_a_file_may_not_be_full_of_nested_items() -> None:
    plain = dicom()
    start = plain.index(b"\x08\x00\x16\x00")
    crowd = b"\x28\x00\x10\x30SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 20_000

    with pytest.raises(InputTooLarge, match="nested items"):
        shown(plain[:start] + crowd + plain[start:])


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
    real = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **named: seen.append(real(*a, **named)) or seen[-1])

    shown(dicom())

    assert "Rows" in seen[0]
    assert "PatientName" not in seen[0]
