"""DICOM compared with an independent renderer: dcmtk's `dcm2pnm` gives the same greys, within 4 of 255 on average.

The files are those of pydicom, and files that dcmtk's encoders make from synthetic images.
"""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image

from handler.errors import InputError
from handler.imaging.decode import squared
from tests.handler.dicom_files import SHADES, in_order, shown
from tests.handler.images import dicom
from tests.handler.imaging.test_dicom_display import lookup_table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcmtk is not installed"),
    pytest.mark.filterwarnings("ignore"),  # warnings of pydicom about its own files
]

CLOSE = 4.0
"""Mean difference, of 255. Nearly all are below 1."""

FILES = Path(pydicom.data.__file__).with_name("test_files")

JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")

WITHOUT_IMAGE = "no image in the file"
NOT_READ = "more than 16 bits, or a mask of 1 bit: no radiograph"
CORRUPT = "corrupt on purpose"
LISTED = {
    **dict.fromkeys(("17136", "17166", "17196"), "the window leaves all white, so the range of the values is shown"),
    **dict.fromkeys(("liver_1frame.dcm", "liver_expb_1frame.dcm", "badVR.dcm"), NOT_READ),
    **dict.fromkeys((f"rtdose{kind}.dcm" for kind in ("", "_1frame", "_expb", "_expb_1frame")), NOT_READ),
    **dict.fromkeys(("rtdose_rle.dcm", "rtdose_rle_1frame.dcm"), NOT_READ),
    **dict.fromkeys(("SC_rgb_rle_32bit.dcm", "SC_rgb_rle_32bit_2frame.dcm"), NOT_READ),
    **dict.fromkeys(("MR_truncated.dcm", "no_meta.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"), CORRUPT),
    **dict.fromkeys(("meta_missing_tsyntax.dcm", "nested_priv_SQ.dcm"), WITHOUT_IMAGE),
    "SC_rgb_jpeg.dcm": "dcmtk treats it as uncompressed",
    "GDCMJ2K_TextGBR.dcm": "neither dcmtk nor Pillow decodes this JPEG 2000",
    "J2K_pixelrep_mismatch.dcm": "neither dcmtk nor Pillow decodes this JPEG 2000",
}
"""Files that are not compared, and why."""


def carried() -> list[Path]:
    """The files of pydicom that have pixels."""
    found = []
    for path in sorted(FILES.rglob("*")):
        if path.is_file() and not path.name.startswith(("README", "LICENSE", "__init__")):
            with path.open("rb") as file:
                content = file.read()
            if b"\xe0\x7f\x10\x00" in content or b"\x7f\xe0\x00\x10" in content:
                found.append(path)
    return found


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare whole images: a small difference may move the edge of a frame by far more."""
    monkeypatch.setattr("handler.imaging.decode.content_box", lambda image: (0, 0, *image.size))


def rendered(data: bytes, folder: Path) -> np.ndarray:
    """The image that dcmtk shows for a file, with the window or table of its header."""
    source, target = folder / "source.dcm", folder / "target.pnm"
    file = pydicom.dcmread(io.BytesIO(data), force=True)
    if file.file_meta.TransferSyntaxUID in JPEG_2000:  # dcmtk does not decode these
        file.decompress(decoding_plugin="pillow")
        file.save_as(source)
    else:
        source.write_bytes(data)
    if file.get("VOILUTSequence"):
        window = ["--use-voi-lut", "1", "--ignore-vlut-depth"]
    elif file.get("WindowWidth"):
        window = ["--use-window", "1"]
    elif file.SamplesPerPixel == 3 or file.PhotometricInterpretation == "PALETTE COLOR":
        window = ["--grayscale"]
    else:
        window = [] if file.BitsStored == 8 else ["--histogram-window", "1"]
    is_jpeg_ls = file.file_meta.TransferSyntaxUID.startswith("1.2.840.10008.1.2.4.8")
    tool = "dcml2pnm" if is_jpeg_ls else "dcmj2pnm"
    run(tool, *window, "--no-overlays", "--frame", "1", "--write-raw-pnm", source, target)
    return squared(Image.open(target).convert("L"), len(shown(data))).astype(int)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", carried(), ids=lambda path: path.name)
def test_files_of_pydicom_are_shown_as_dcmtk_shows_them(path: Path, tmp_path: Path) -> None:
    if path.name in LISTED:
        pytest.skip(LISTED[path.name])
    data = path.read_bytes()

    assert np.abs(shown(data) - rendered(data, tmp_path)).mean() <= CLOSE


@pytest.mark.parametrize(
    "name", [name for name, reason in LISTED.items() if reason in (NOT_READ, CORRUPT, WITHOUT_IMAGE)]
)
def test_what_is_listed_as_not_read_is_refused(name: str) -> None:
    [path] = FILES.rglob(name)

    with pytest.raises(InputError):
        shown(path.read_bytes())


VALUES = SHADES.astype(np.uint16)
WINDOW = {"WindowCenter": ["1500", "40"], "WindowWidth": ["1800", "400"]}
TWELVE = {"BitsStored": 12, "HighBit": 11}
RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Rows": 80, "Columns": 96}
BASES = {
    "8 bits": dicom(SHADES),
    "10 bits": dicom(VALUES * 4, BitsStored=10, HighBit=9, WindowCenter="500", WindowWidth="900"),
    "12 bits": dicom(VALUES * 16, **TWELVE, **WINDOW),
    "12 bits without a window": dicom(VALUES * 16, **TWELVE),
    "12 bits, inverted": dicom(VALUES * 16, PhotometricInterpretation="MONOCHROME1", **TWELVE, **WINDOW),
    "16 bits": dicom(VALUES * 250, WindowCenter="30000", WindowWidth="50000"),
    "16 bits, signed": dicom(VALUES.astype(np.int16) * 16 - 2000, WindowCenter="100", WindowWidth="3000"),
    "12 bits, rescaled": dicom(
        VALUES * 16, RescaleSlope="0.5", RescaleIntercept="-200", WindowCenter="700", WindowWidth="1500", **TWELVE
    ),
    "sigmoid": dicom(VALUES * 16, VOILUTFunction="SIGMOID", WindowCenter="1500", WindowWidth="1800", **TWELVE),
    "VOI LUT": dicom(
        VALUES * 16, VOILUTSequence=lookup_table([round(i**0.5 * 1023) for i in range(4096)], bits=16), **TWELVE
    ),
    "VOI LUT of 12 bits": dicom(
        VALUES * 16, VOILUTSequence=lookup_table([4095 - i for i in range(4096)], bits=16), **TWELVE
    ),
    "modality LUT": dicom(
        VALUES * 16, ModalityLUTSequence=lookup_table([i // 2 for i in range(4096)], bits=16), **TWELVE, **WINDOW
    ),
    "colour": dicom(np.stack([SHADES, SHADES // 2, 255 - SHADES], -1), **RGB),
}
ENCODERS = {
    "implicit": [],
    "big-endian": [],
    "RLE": ["dcmcrle"],
    "JPEG lossless": ["dcmcjpeg", "--encode-lossless-sv1", "--true-lossless"],
    "JPEG lossless, another predictor": ["dcmcjpeg", "--encode-lossless", "--selection-value", "6", "--true-lossless"],
    "JPEG baseline": ["dcmcjpeg", "--encode-baseline"],
    "JPEG extended": ["dcmcjpeg", "--encode-extended", "--bits-force-12"],
    "JPEG progressive": ["dcmcjpeg", "--encode-progressive", "--bits-force-12"],
    "JPEG-LS": ["dcmcjpls", "--encode-lossless"],
    "JPEG-LS, near lossless": ["dcmcjpls", "--encode-nearlossless"],
    "JPEG-LS, by sample": ["dcmcjpls", "--encode-lossless", "--interleave-sample"],
    "JPEG-LS, by component": ["dcmcjpls", "--encode-lossless", "--interleave-none"],
    "fragments": ["dcmcjpeg", "--encode-lossless-sv1", "--true-lossless", "--fragment-size", "2"],
}
ANY_BASE = ("implicit", "JPEG lossless", "JPEG-LS")
SOME_BASES = dict.fromkeys(ENCODERS, ("12 bits", "12 bits, inverted", "16 bits, signed", "colour")) | {
    "JPEG baseline": ("8 bits", "colour"),
    "JPEG extended": ("12 bits", "12 bits, inverted", "12 bits without a window"),
    "JPEG progressive": ("12 bits",),
    "JPEG-LS, near lossless": ("12 bits", "16 bits", "colour"),
}
"""Of those that the encoder takes."""
PAIRS = [(base, encoder) for encoder in ENCODERS for base in (BASES if encoder in ANY_BASE else SOME_BASES[encoder])]


@pytest.mark.parametrize(("base", "encoder"), PAIRS)
def test_what_dcmtk_compresses_is_shown_as_dcmtk_shows_it(base: str, encoder: str, tmp_path: Path) -> None:
    data = BASES[base]
    if not ENCODERS[encoder]:
        compressed = in_order(data, implicit=encoder == "implicit", little=encoder != "big-endian")
    else:
        source, target = tmp_path / "plain.dcm", tmp_path / "compressed.dcm"
        source.write_bytes(data)
        run(*ENCODERS[encoder], source, target)
        compressed = target.read_bytes()

    assert np.abs(shown(compressed) - rendered(compressed, tmp_path)).mean() <= CLOSE
