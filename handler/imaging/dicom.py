"""DICOM: the first frame as a viewer would show it, in 8-bit grey.

pydicom is imported inside the functions: whoever sends JPEG does not wait for it. Only the attributes that describe the
pixels are parsed; the patient's stay unread.
"""

import io
import logging
import zlib
from collections.abc import MutableSequence
from typing import TYPE_CHECKING

from PIL import Image

from handler.errors import InputTooLarge, UnreadableImage, UnsupportedFormat
from handler.imaging.dicom_display import displayed, grey_of_colour, number, number_if_any
from handler.imaging.headers import refuse_many_scans, stream_shape

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag
    from pydicom.uid import UID

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
    "PixelData",
]

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_UNCOMPRESSED = (_IMPLICIT, _EXPLICIT, _DEFLATED, _BIG_ENDIAN)
"""As far as the pixels are concerned: a deflated file is deflated as a whole."""

_DECODERS = ("pylibjpeg", "pyjpegls", "pillow")
"""In order of preference. Not pydicom's own for run lengths, which lets them swell without any limit; nor GDCM, even
where it is installed, because corrupt pixels make it end the process."""

_ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_MAX_ITEMS = 10_000
"""Parts of sequences and of compressed pixels. A picture has a few dozen; millions would take pydicom a minute."""

_MAX_READS = 50_000
"""An element takes pydicom two or three, at whatever depth. A picture has a few hundred elements."""

_MAX_VALUE_BYTES = 1 << 18
"""In any value but the pixels. The largest are lookup tables, of 65,536 entries of two bytes at most."""

_PIXELS = 0x7FE00010


def is_dicom(data: bytes) -> bool:
    """Whether the bytes say that they are a DICOM file (PS3.10, 7.1)."""
    return data[128:132] == b"DICM"


def first_frame(data: bytes, max_pixels: int) -> Image.Image:
    """Decode the first frame: rescale and VOI LUT (or window) applied, MONOCHROME1 inverted, colour made grey.

    Without a VOI LUT or window the values between the smallest and the largest are spread over the whole range, but
    for 8 bits, where it is all possible values: without rescaling they are taken as they are. Padding becomes black.

    Args:
        data: a DICOM file.
        max_pixels: limit on rows x columns.

    Returns:
        A picture of mode "L".

    Raises:
        UnsupportedFormat: no pixels, an unknown compression, or not 8 to 16 bits; the message names what was found.
        InputTooLarge: too many pixels, frames or elements, or a deflated file that swells beyond all measure.
        UnreadableImage: the pixels contradict their description, or an attribute of it is no number.
        Exception: whatever pydicom raises on corrupt bytes.
    """
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    file = _read(data, max_pixels * 4)
    _refuse_unsupported(file)
    _refuse_oversized(file, max_pixels)
    try:
        pixels = pixel_array(file, index=0, decoding_plugin=_decoder(file.file_meta.TransferSyntaxUID) or "")
    except BaseException as exc:
        if type(exc).__name__ == "PanicException":  # of a decoder written in Rust, and no `Exception`
            raise UnreadableImage("the pixels are corrupt: export the picture again") from exc
        raise
    kind = file.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, file)
    if pixels.ndim == 3:
        return grey_of_colour(pixels)
    return Image.fromarray(displayed(pixels, file, inverted=kind == "MONOCHROME1"))


class _Limited(io.BytesIO):
    """A file that may be read in so many pieces and no more."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise InputTooLarge("the DICOM file has far more elements than a picture needs: export the picture alone")
        return super().read(size)


def _read(data: bytes, limit: int) -> "Dataset":
    """The attributes that describe the pixels, and the pixels as they are stored.

    Done in pydicom's own steps, but for the one between them: it would inflate a file without any limit.

    Args:
        limit: on the bytes of a deflated file.
    """
    from pydicom import config
    from pydicom.dataset import FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    config.settings.reading_validation_mode = config.IGNORE
    # As its warnings do, its log quotes what it dislikes. Importing it sets a level of its own.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    source = _Limited(data)
    source.seek(132)
    # Explicit, little-endian and never compressed, whatever the rest is (PS3.10, 7.1).
    meta = read_dataset(source, False, True, stop_when=lambda tag, *_: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if not syntax:
        raise UnreadableImage("the DICOM file does not say how it is encoded (TransferSyntaxUID): export it again")
    if syntax == _DEFLATED:
        data = _inflated(source.read(), limit)
        source = _Limited(data)
    if sum(map(data.count, _ITEM)) > _MAX_ITEMS:
        raise InputTooLarge(f"the DICOM file has more than {_MAX_ITEMS:,} nested items: export the picture alone")
    tags: list[BaseTag | int] = [Tag(name) for name in _ATTRIBUTES]
    file = read_dataset(source, syntax == _IMPLICIT, syntax != _BIG_ENDIAN, specific_tags=tags)
    file.file_meta = FileMetaDataset(meta)
    _refuse_long_values(file)
    return file


def _inflated(deflated: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, limit)
    if inflater.unconsumed_tail:
        raise InputTooLarge(f"the deflated DICOM file swells to more than {limit:,} bytes: export it uncompressed")
    return inflated


def _refuse_long_values(dataset: "Dataset") -> None:
    """Before pydicom turns them into numbers, one Python object each."""
    for element in dataset.values():
        if isinstance(element.value, bytes) and element.tag != _PIXELS and len(element.value) > _MAX_VALUE_BYTES:
            raise InputTooLarge(
                f"the DICOM attribute {element.tag} has {len(element.value):,} bytes, the limit is "
                f"{_MAX_VALUE_BYTES:,}: export the picture again"
            )
        if isinstance(element.value, MutableSequence):
            for item in element.value:
                _refuse_long_values(item)


def _refuse_unsupported(file: "Dataset") -> None:
    syntax = file.file_meta.TransferSyntaxUID
    if "PixelData" not in file:
        raise UnsupportedFormat("the DICOM file holds no picture: send an image object, such as CR or DX")
    allocated, stored = file.get("BitsAllocated"), file.get("BitsStored")
    if allocated not in (8, 16) or not isinstance(stored, int) or not 8 <= stored <= allocated:
        raise UnsupportedFormat(f"the DICOM picture has {stored} of {allocated} bits: export it with 8 to 16 bits")
    if file.get("HighBit", stored - 1) != stored - 1:
        raise UnsupportedFormat(
            f"the DICOM picture has {stored} bits that end at bit {file.HighBit}: export it with HighBit {stored - 1}"
        )
    # What offers itself for this one reads its 8-bit half only.
    if _decoder(syntax) is None or (syntax.name.startswith("JPEG Extended") and stored > 8):
        raise UnsupportedFormat(
            f"DICOM pixels compressed as {syntax.name} are not read here: export the file uncompressed, or as "
            "JPEG 2000, JPEG-LS or RLE"
        )


def _decoder(syntax: "UID") -> str | None:
    """The plugin of pydicom that may decode a transfer syntax: "" where none is needed, None where there is none."""
    from pydicom.pixels.decoders.base import get_decoder

    if syntax in _UNCOMPRESSED:
        return ""
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return None
    return next((name for name in _DECODERS if name in available), None)


def _refuse_oversized(file: "Dataset", max_pixels: int) -> None:
    """Before anything of the pixels is decoded."""
    from pydicom.encaps import get_frame

    frames = int(number_if_any(file, "NumberOfFrames") or 1)
    if frames > MAX_FRAMES:
        raise InputTooLarge(f"the DICOM file has {frames} frames, the limit is {MAX_FRAMES}: send single pictures")
    columns, rows, samples = (int(number(file, name)) for name in ("Columns", "Rows", "SamplesPerPixel"))
    if not (0 < columns * rows <= max_pixels):
        raise InputTooLarge(
            f"the DICOM picture has {columns} x {rows} pixels, the limit is {max_pixels:,} in all: scale it down"
        )
    syntax = file.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax.name != "RLE Lossless":
        stream = get_frame(file.PixelData, 0, number_of_frames=frames)
        refuse_many_scans(stream)
        inner = stream_shape(stream)
        if inner != (columns, rows, samples):
            raise UnreadableImage(
                f"the DICOM picture is {columns} x {rows} pixels of {samples} samples, but its data says "
                f"{inner[0]} x {inner[1]} of {inner[2]}: export it again"
            )
