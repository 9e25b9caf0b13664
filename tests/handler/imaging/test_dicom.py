"""DICOM files as devices write them, and pydicom's test files if they are installed."""

import logging
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest

from handler.errors import InputError, InputTooLarge, UnreadableImage, UnsupportedFormat
from handler.imaging.dicom import is_dicom
from tests.handler.dicom_files import PLAIN, SHADES, bundled, in_order, shown
from tests.handler.images import dicom


def test_the_first_frame_of_several_is_taken() -> None:
    frames = np.stack([SHADES, 255 - SHADES])

    assert np.abs(shown(dicom(frames, NumberOfFrames=2)) - PLAIN).max() <= 1


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "image_dfl.dcm", "JPEGLSNearLossless_16.dcm"],
)
def test_other_real_files_are_read(name: str) -> None:
    assert np.ptp(shown(bundled(name))) > 100


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("liver_1frame.dcm", "1 of 1 bits"),
        ("rtdose_1frame.dcm", "32 of 32 bits"),
        ("test-SR.dcm", "does not contain an image"),
    ],
)
def test_what_is_not_read_is_refused_by_name(name: str, named: str) -> None:
    with pytest.raises(UnsupportedFormat, match=named):
        shown(bundled(name))


@pytest.mark.parametrize(("name", "number"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_floating_point_pixels_are_refused_by_name(name: str, number: type) -> None:
    with pytest.raises(UnsupportedFormat, match="floating-point"):
        shown(dicom(PixelData=None, **{name: SHADES.astype(number).tobytes()}))


FIRST = b"\x08\x00\x16\x00"
"""Begins what follows the file's meta information."""

PIXELS = b"\xe0\x7f\x10\x00"


@pytest.mark.parametrize("order", ["implicit", "little", "big"])
@pytest.mark.parametrize("kept", ["preamble", "meta", "nothing"])
def test_preamble_and_meta_information_may_be_missing(order: str, kept: str) -> None:
    plain = dicom(SHADES.astype(np.uint16) * 16, WindowCenter="2040", WindowWidth="4081")
    data = in_order(plain, implicit=order == "implicit", little=order != "big")
    start = data.index(b"\x00\x08\x00\x16" if order == "big" else FIRST)

    shorter = {"preamble": data[:132] + data[start:], "meta": data[132:], "nothing": data[start:]}[kept]

    if order == "big" and kept == "nothing":  # no device writes this
        with pytest.raises(UnsupportedFormat):
            shown(shorter)
    else:
        assert np.abs(shown(shorter) - PLAIN).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x00",
        b"\x08\x00\x16\x00",
        bytes(200),
        FIRST + struct.pack("<I", 10_000_000) + bytes(40),
        b"\x08\x00\x18\x00\4\0\0\0abcd" + b"\x08\x00\x16\x00\4\0\0\0abcd",
        b"\2\0\0\0UL\4\0",
    ],
    ids=["empty", "two bytes", "four bytes", "zeros", "long", "descending", "one element"],
)
def test_other_bytes_are_not_dicom(data: bytes) -> None:
    assert not is_dicom(data)


def test_what_stands_behind_the_pixels_is_not_read() -> None:
    plain = dicom()
    private = struct.pack("<HH2sH", 0x7FE1, 0x0010, b"LO", 2) + b"X "
    private += struct.pack("<HH2sH", 0x7FE1, 0x1010, b"LO", 0) * 310_000

    started = time.process_time()
    pixels = shown(plain + private)

    assert np.array_equal(pixels, shown(plain))
    assert time.process_time() - started < 1


def deflated(data: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


def test_a_deflated_file_may_not_swell() -> None:
    plain = dicom()
    uid = b"1.2.840.10008.1.2.1\0"
    start = plain.index(FIRST)
    head = plain[:start].replace(b"UI\x14\x00" + uid, b"UI\x16\x00" + b"1.2.840.10008.1.2.1.99")

    assert np.array_equal(shown(head + deflated(plain[start:])), shown(plain))
    with pytest.raises(InputTooLarge, match="inflates to more"):
        shown(head + deflated(plain[start:] + bytes(200_000_000)))


def test_a_file_is_inflated_once() -> None:
    # GIVEN a file whose deflated data completes the transfer syntax that declares it as deflated
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


@pytest.mark.parametrize(("tag", "name"), [(0x0120, "PixelPaddingValue"), (0x0008, "NumberOfFrames")])
def test_an_attribute_that_is_text_is_named_and_not_quoted(tag: int, name: str) -> None:
    text = struct.pack("<HH2sH", 0x28, tag, b"LO", 8) + b"DOE_JANE"

    with pytest.raises(UnreadableImage, match=name) as raised:
        shown(dicom().replace(PIXELS, text + PIXELS, 1))

    assert "DOE" not in str(raised.value)


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
