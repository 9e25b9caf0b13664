"""DICOM: the first frame as a viewer shows it, in 8-bit grey.

pydicom is imported inside the functions, so that JPEG and PNG do not wait for it. Only the attributes that describe the
pixels are parsed; the patient's stay unread.
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
"""A radiograph has one or a few; a cine run with hundreds is something else."""

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
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
]

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"

_PIXELS = 0x7FE00010
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_SHORT_VALUE = 1024
"""Bytes. The first elements of a file are its length, character set, type and identifiers."""


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file (PS3.10, 7.1), with or without the preamble of 132 bytes.

    Old archives and some networks leave out the preamble, or the meta information too. Such a file is recognized by its
    first two elements: both have group 2 or 8, a short value, and the tags ascend.
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
    """Decode the first frame: rescale and VOI LUT (or window) applied, MONOCHROME1 inverted, colour made grey.

    The first VOI LUT or window that leaves something visible is taken. Without one, 8-bit values are shown as they are,
    and others are spread over the whole range between two percentiles. Padding becomes black.

    Args:
        data: a DICOM file.
        max_pixels: limit on rows x columns.
        least_side: see `handler.imaging.dicom_pixels.first_stored_frame`.

    Returns:
        An image of mode "L".

    Raises:
        UnsupportedFormat: no pixels, an unknown compression or kind of colour, or not 8 to 16 bits; the message names
            what was found.
        InputTooLarge: too many pixels or frames, or a deflated file that grows beyond them.
        UnreadableImage: the pixels contradict their description, or an attribute of it is no number.
        Exception: whatever pydicom and the decoders raise on corrupt bytes.
    """
    file = _read(data, max_pixels * 4)
    _refuse_unsupported(file)
    _refuse_oversized(file, max_pixels)
    frame = first_stored_frame(file, least_side)
    if file.PhotometricInterpretation in _GREY:
        return Image.fromarray(displayed(frame, file))
    return grey_of_colour(frame)


def _read(data: bytes, limit: int) -> "Dataset":
    """The attributes that describe the pixels, and the pixels as they are stored.

    These are the steps of pydicom's own `dcmread`, which inflates a deflated file without any limit and does not stop
    behind the pixels.

    Args:
        limit: on the bytes of a deflated file.
    """
    from pydicom import config
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag
    from pydicom.uid import UID

    config.settings.reading_validation_mode = config.IGNORE
    # As its warnings do, its log quotes what it dislikes. Importing it sets a level of its own.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    source = io.BytesIO(data)
    source.seek(132 if data[128:132] == b"DICM" else 0)
    meta = FileMetaDataset()
    if data[source.tell() :][:2] == b"\2\0":
        # Explicit, little-endian and never compressed, whatever the rest is (PS3.10, 7.1).
        meta = FileMetaDataset(read_dataset(source, False, True, stop_when=lambda tag, *_: tag.group != 2))
    syntax = meta.get("TransferSyntaxUID") or _guessed_syntax(data[source.tell() :][:6])
    meta.TransferSyntaxUID = UID(syntax)
    if syntax == _DEFLATED:
        source = io.BytesIO(_inflated(source.read(), limit))
    file = read_dataset(
        source,
        syntax == _IMPLICIT,
        syntax != _BIG_ENDIAN,
        stop_when=lambda tag, *_: tag > _PIXELS,
        specific_tags=[Tag(name) for name in _ATTRIBUTES],
    )
    file.file_meta = meta
    return file


def _guessed_syntax(head: bytes) -> str:
    """The encoding of a file that does not name it, from its first element of group 8."""
    if head[:2] == b"\0\x08":
        return _BIG_ENDIAN
    return _EXPLICIT if head[4:6].isalpha() and head[4:6].isupper() else _IMPLICIT


def _inflated(deflated: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        raise InputTooLarge(f"the deflated DICOM file swells to more than {limit:,} bytes: export it uncompressed")
    return inflated


def _refuse_unsupported(file: "Dataset") -> None:
    if "PixelData" not in file or "BitsAllocated" not in file:
        raise UnsupportedFormat("the DICOM file holds no image: send an image object, such as CR or DX")
    allocated, stored = file.get("BitsAllocated"), file.get("BitsStored")
    if allocated not in (8, 16) or not isinstance(stored, int) or not 8 <= stored <= allocated:
        raise UnsupportedFormat(f"the DICOM image has {stored} of {allocated} bits: export it with 8 to 16 bits")
    kind = file.get("PhotometricInterpretation")
    if kind not in (_GREY if number(file, "SamplesPerPixel") == 1 else _COLOUR):
        raise UnsupportedFormat(
            f"DICOM images of kind (PhotometricInterpretation) {kind} with {file.SamplesPerPixel} samples per pixel "
            "are not read here: export the image as MONOCHROME2 or RGB"
        )
    syntax = file.file_meta.TransferSyntaxUID
    if syntax not in UNCOMPRESSED and syntax not in COMPRESSED:
        raise UnsupportedFormat(
            f"DICOM pixels compressed as {syntax.name} are not read here: export the file uncompressed, or as JPEG, "
            "JPEG-LS, JPEG 2000 or RLE"
        )


def _refuse_oversized(file: "Dataset", max_pixels: int) -> None:
    """Before anything of the pixels is decoded."""
    frames = int(number_if_any(file, "NumberOfFrames") or 1)
    if frames > MAX_FRAMES:
        raise InputTooLarge(f"the DICOM file has {frames} frames, the limit is {MAX_FRAMES}: send single images")
    columns, rows = (int(number(file, name)) for name in ("Columns", "Rows"))
    if not columns * rows:
        raise UnreadableImage(f"the DICOM image has {columns} x {rows} pixels, which is none: export it again")
    if columns * rows > max_pixels:
        raise InputTooLarge(
            f"the DICOM image has {columns} x {rows} pixels, the limit is {max_pixels:,} in all: scale it down"
        )
