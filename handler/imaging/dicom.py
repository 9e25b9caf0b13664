"""DICOM: the first frame as a viewer shows it, in 8-bit grey.

pydicom is imported inside the functions, so that JPEG and PNG do not need it. Only the attributes that describe the
pixels are parsed, not those of the patient.
"""

import io
import logging
import zlib
from typing import TYPE_CHECKING

from PIL import Image

from handler.errors import InputTooLarge, UnreadableImage, UnsupportedFormat
from handler.imaging.dicom_display import displayed, grey_of_colour, number, number_if_any
from handler.imaging.dicom_pixels import COMPRESSED, UNCOMPRESSED, first_stored_frame

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_FRAMES = 64
"""A radiograph has one frame or a few. A series with hundreds of frames is not a radiograph."""

_FLOATS = ("FloatPixelData", "DoubleFloatPixelData")
_ATTRIBUTES = [
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", *_FLOATS, "PixelData"),
]

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

_PIXELS = 0x7FE00010
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_SHORT_VALUE = 1024
"""Bytes. The first elements of a file are short: a length, a character set, a type or an identifier."""


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file (PS3.10, 7.1), with or without the preamble of 132 bytes.

    Old archives and some networks leave out the preamble, or the meta information too. Such a file is detected by its
    first two elements: both have group 2 or 8 and a short value, and their tags are in ascending order.
    """
    if data[128:132] == b"DICM":
        return True
    at, last = 0, (0, -1)
    for _ in range(2):
        head = data[at : at + 8]
        tag = (int.from_bytes(head[:2], "little"), int.from_bytes(head[2:4], "little"))
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
        if explicit and head[4:6] == b"OB":  # FileMetaInformationVersion
            length = 4 + int.from_bytes(data[at + 8 : at + 12], "little")
        if len(head) < 8 or tag[0] not in (2, 8) or tag <= last or length > _SHORT_VALUE:
            return False
        at, last = at + 8 + length, tag
    return True


def first_frame(data: bytes, max_pixels: int, least_side: int) -> Image.Image:
    """Decode the first frame: rescale and VOI LUT (or window) applied, MONOCHROME1 inverted, colour converted
    to grey.

    The first VOI LUT or window that leaves something visible is used. Without one, 8-bit values are not changed, and
    other values are scaled so that two percentiles become black and white. Padding becomes black.

    Args:
        data: a DICOM file.
        max_pixels: limit on rows x columns.
        least_side: see `handler.imaging.dicom_pixels.first_stored_frame`.

    Returns:
        An image of mode "L".

    Raises:
        UnsupportedFormat: there are no pixels, the compression or colour type is unknown, or there are not 8 to 16
            bits; the message names what the file has.
        InputTooLarge: there are too many pixels or frames, or a deflated file is too large when inflated.
        UnreadableImage: the file is truncated, the pixels contradict their description, or one of its attributes is not
            a number.
        Exception: any exception that pydicom and the decoders raise on corrupt data.
    """
    file = _read(data, max_pixels * 4)
    _refuse_unsupported(file)
    _refuse_oversized(file, max_pixels)
    frame = first_stored_frame(file, least_side)
    if file.PhotometricInterpretation in _GREY:
        return Image.fromarray(displayed(frame, file))
    return grey_of_colour(frame)


def _read(data: bytes, limit: int) -> "Dataset":
    """Read the attributes that describe the pixels, and the stored pixels.

    This does the steps of pydicom's `dcmread`, because `dcmread` inflates a deflated file without a limit and does not
    stop after the pixels.

    Args:
        limit: most bytes of a deflated file after inflation.
    """
    from pydicom import config
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag
    from pydicom.uid import UID

    config.settings.reading_validation_mode = config.IGNORE
    # Like its warnings, its log quotes bad values. Set this after the import, which sets the level itself.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    source = io.BytesIO(data)
    source.seek(132 if data[128:132] == b"DICM" else 0)
    meta = FileMetaDataset()
    if data[source.tell() :][:2] == b"\2\0":
        # Always explicit, little-endian and uncompressed. The rest may differ (PS3.10, 7.1).
        meta = FileMetaDataset(read_dataset(source, False, True, stop_when=lambda tag, *_: tag.group != 2))
    syntax = meta.get("TransferSyntaxUID") or _guessed_syntax(data[source.tell() :][:6])
    meta.TransferSyntaxUID = UID(syntax)
    if syntax == _DEFLATED:
        source = io.BytesIO(_inflated(source.read(), limit))
    file = read_dataset(
        source,
        syntax == _IMPLICIT,
        syntax != _BIG_ENDIAN,
        # With a length, pydicom keeps the attributes that precede truncated pixels.
        bytelength=source.getbuffer().nbytes,
        stop_when=lambda tag, *_: tag > _PIXELS,
        specific_tags=[Tag(name) for name in _ATTRIBUTES],
    )
    file.file_meta = meta
    return file


def _guessed_syntax(head: bytes) -> str:
    """Guess the transfer syntax of a file that does not name it, from its first element of group 8."""
    if head[:2] == b"\0\x08":
        return _BIG_ENDIAN
    return _EXPLICIT if head[4:6].isalpha() and head[4:6].isupper() else _IMPLICIT


def _inflated(deflated: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        raise InputTooLarge(f"The deflated DICOM file inflates to more than {limit:,} bytes. Export it uncompressed.")
    return inflated


def _refuse_unsupported(file: "Dataset") -> None:
    if any(name in file for name in _FLOATS):
        raise UnsupportedFormat("The DICOM pixels are floating-point numbers. Export the image with 8 to 16 bits.")
    # pydicom drops compressed pixels that have no end.
    if "PixelData" not in file and "Rows" in file:
        raise UnreadableImage("The DICOM file ends before its pixels do. Send the whole file.")
    if "PixelData" not in file or "BitsAllocated" not in file:
        raise UnsupportedFormat("The DICOM file does not contain an image. Send an image object, such as CR or DX.")
    allocated, stored = file.get("BitsAllocated"), file.get("BitsStored")
    if allocated not in (8, 16) or not isinstance(stored, int) or not 8 <= stored <= allocated:
        raise UnsupportedFormat(f"The DICOM image has {stored} of {allocated} bits. Export it with 8 to 16 bits.")
    kind = file.get("PhotometricInterpretation")
    if kind not in (_GREY if number(file, "SamplesPerPixel") == 1 else _COLOUR):
        raise UnsupportedFormat(
            f"DICOM images of kind (PhotometricInterpretation) {kind} with {file.SamplesPerPixel} samples per pixel "
            "are not supported. Export the image as MONOCHROME2 or RGB."
        )
    syntax = file.file_meta.TransferSyntaxUID
    if syntax not in UNCOMPRESSED and syntax not in COMPRESSED:
        raise UnsupportedFormat(
            f"DICOM pixels compressed as {syntax.name} are not supported. Export the file uncompressed, or as JPEG, "
            "JPEG-LS, JPEG 2000 or RLE."
        )


def _refuse_oversized(file: "Dataset", max_pixels: int) -> None:
    """Check the size before any pixels are decoded."""
    frames = int(number_if_any(file, "NumberOfFrames") or 1)
    if frames > MAX_FRAMES:
        raise InputTooLarge(f"The DICOM file has {frames} frames, the limit is {MAX_FRAMES}. Send single images.")
    columns, rows = (int(number(file, name)) for name in ("Columns", "Rows"))
    if not columns * rows:
        raise UnreadableImage(f"The DICOM image is empty: it has {columns} x {rows} pixels. Export it again.")
    if columns * rows > max_pixels:
        raise InputTooLarge(
            f"The DICOM image has {columns} x {rows} pixels, the limit is {max_pixels:,} in total. Scale it down."
        )
