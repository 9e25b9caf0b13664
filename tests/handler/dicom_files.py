"""Changed and compressed DICOM files for tests."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID

from handler.imaging.decode import decode
from tests.handler.images import dicom, phantom, png

SIZE = 64
SHADES = np.asarray(phantom())
PLAIN = decode(png(), SIZE).astype(int)

LOSSLESS_JPEG, JPEG_2000, JPEG_2000_LOSSY = (f"1.2.840.10008.1.2.4.{number}" for number in (70, 90, 91))
JPEG_LS, JPEG_LS_LOSSY = (f"1.2.840.10008.1.2.4.{number}" for number in (80, 81))
BASELINE, EXTENDED, HTJ2K = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 201))

REAL = Path(__file__).parents[3] / "shared" / "inputs"
"""Real compressed radiographs, if this machine has them."""


def shown(data: bytes) -> np.ndarray:
    return decode(data, SIZE).astype(int)


def shown_plainly(shades: np.ndarray) -> np.ndarray:
    """The displayed values of grey values from 0 to 255 that need no conversion."""
    return shown(png(Image.fromarray(np.rint(shades).clip(0, 255).astype(np.uint8))))


def real(name: str) -> bytes:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return path.read_bytes()


def bundled(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    return Path(str(path)).read_bytes()


def saved(file: Dataset) -> bytes:
    target = io.BytesIO()
    file.save_as(target)
    return target.getvalue()


def recompressed(name: str, change: Callable[[bytes], bytes]) -> bytes:
    """One of pydicom's files with its compressed pixels changed."""
    file = pydicom.dcmread(io.BytesIO(bundled(name)))
    file.PixelData = encapsulate([change(get_frame(file.PixelData, 0))])
    return saved(file)


def compressed(syntax: str, pixels: bytes, like: np.ndarray, **attributes: object) -> bytes:
    """A file with the given compressed pixels, with the size and depth of `like`.

    Args:
        pixels: encapsulated.
    """
    file = pydicom.dcmread(io.BytesIO(dicom(like, **attributes)))
    file.file_meta.TransferSyntaxUID = UID(syntax)
    file.PixelData = pixels
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    return saved(file)


def in_order(data: bytes, *, implicit: bool = False, little: bool = True) -> bytes:
    """An uncompressed file in another encoding."""
    file = pydicom.dcmread(io.BytesIO(data))
    if not little:
        for element in file.iterall():  # pydicom leaves such values as they are
            if element.VR == "OW" and (element.keyword != "PixelData" or file.BitsAllocated == 16):
                element.value = np.frombuffer(element.value, "<u2").byteswap().tobytes()
    syntax = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
    file.file_meta.TransferSyntaxUID = UID(syntax)
    target = io.BytesIO()
    pydicom.dcmwrite(target, file, implicit_vr=implicit, little_endian=little)
    return target.getvalue()
