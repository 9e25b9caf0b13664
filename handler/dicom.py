"""DICOM: the first frame as a viewer would show it, in 8-bit grey.

pydicom is imported inside the functions: whoever sends JPEG does not wait for it. Only the attributes that describe the
pixels are parsed; the patient's stay unread.
"""

import io
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.codestream import refuse_many_scans, stream_shape
from handler.errors import InputTooLarge, UnreadableImage, UnsupportedFormat

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
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

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1"

_UNCOMPRESSED = (_EXPLICIT.decode(), "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")

_DECODERS = ("pylibjpeg", "pyjpegls", "pillow")
"""In order of preference. Not pydicom's own for run lengths, which lets them swell without any limit; nor GDCM, even
where it is installed, because corrupt pixels make it end the process."""

_ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_MAX_ITEMS = 10_000
"""Parts of sequences and of compressed pixels. A picture has a few dozen; millions would take pydicom a minute."""

Values = npt.NDArray[np.float64]


def is_dicom(data: bytes) -> bool:
    """Whether the bytes say that they are a DICOM file (PS3.10, 7.1)."""
    return data[128:132] == b"DICM"


def first_frame(data: bytes, max_pixels: int) -> Image.Image:
    """Decode the first frame: rescale and VOI LUT (or window) applied, MONOCHROME1 inverted, colour made grey.

    Without a VOI LUT or window the values between the smallest and the largest are spread over the whole range, but
    for 8 bits, which are taken as they are. Padding becomes black.

    Args:
        data: a DICOM file.
        max_pixels: limit on rows x columns.

    Returns:
        A picture of mode "L".

    Raises:
        UnsupportedFormat: no pixels, an unknown compression, or not 8 to 16 bits; the message names what was found.
        InputTooLarge: too many pixels or frames, or a deflated file that swells beyond all measure.
        UnreadableImage: the pixels contradict their description.
        Exception: whatever pydicom raises on corrupt bytes.
    """
    # Its warnings quote what they dislike, which may be a patient's name.
    warnings.filterwarnings("ignore", module="pydicom")
    from pydicom import config, dcmread
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    config.settings.reading_validation_mode = config.IGNORE
    data = _inflated(data, max_pixels * 4)
    if sum(map(data.count, _ITEM)) > _MAX_ITEMS:
        raise InputTooLarge(f"the DICOM file has more than {_MAX_ITEMS:,} nested items: export the picture alone")
    file = dcmread(io.BytesIO(data), specific_tags=_ATTRIBUTES)
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
        return _grey_of_colour(pixels)
    return Image.fromarray(_displayed(pixels, file, inverted=kind == "MONOCHROME1"))


def _displayed(stored: npt.NDArray[Any], file: "FileDataset", *, inverted: bool) -> npt.NDArray[np.uint8]:
    """Stored values to display values, by way of a table: there are far fewer values than pixels."""
    stored = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    codes = stored.view(f"u{stored.itemsize}")
    table = _display_table(np.arange(2 ** (8 * stored.itemsize), dtype=codes.dtype).view(stored.dtype), stored, file)
    if inverted:
        table = 1.0 - table
    padding = _padding(file)
    if padding is not None:
        possible = np.arange(len(table), dtype=codes.dtype).view(stored.dtype)
        table[(possible >= padding[0]) & (possible <= padding[1])] = 0.0
    levels = (table * 255.0 + 0.5).astype(np.uint8)
    shown = np.empty(stored.shape, np.uint8)
    for source, target in zip(codes, shown, strict=True):  # by rows, for numpy turns indices into 8 bytes each
        np.take(levels, source, out=target)
    return shown


def _display_table(possible: npt.NDArray[Any], stored: npt.NDArray[Any], file: "FileDataset") -> Values:
    """The display value, 0 to 1, of every possible stored value, along the pipeline of PS3.4, N.2."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values: Values = np.asarray(apply_modality_lut(possible, file), np.float64)
    table: Values
    if file.get("VOILUTSequence"):
        *_, bits = file.VOILUTSequence[0].LUTDescriptor
        table = apply_voi(np.rint(values).astype(np.int32), file) / (2.0**bits - 1)
    elif file.get("WindowWidth") is not None and file.get("WindowCenter") is not None:
        table = _windowed(values, _first(file.WindowCenter), _first(file.WindowWidth), file.get("VOILUTFunction"))
    elif stored.dtype == np.uint8:
        table = possible / 255.0
    else:
        low, high = _seen(stored, file)
        ends = values[np.isin(possible, (low, high))]
        table = (values - ends.min()) / max(ends.max() - ends.min(), 1e-6)
    return table.clip(0.0, 1.0)


def _windowed(values: Values, center: float, width: float, function: str | None) -> Values:
    """The three window functions of PS3.3, C.11.2.1, with 0..1 for the range of output values."""
    if width < 1.0:
        raise UnreadableImage(f"the window is {width:g} wide, which leaves nothing to see: export the picture again")
    if function == "SIGMOID":
        exponents: Values = (-4.0 * (values - center) / width).clip(-60.0, 60.0)
        return 1.0 / (1.0 + np.exp(exponents))
    if function == "LINEAR_EXACT":
        return (values - center) / width + 0.5
    return (values - (center - 0.5)) / max(width - 1.0, 1e-6) + 0.5


def _padding(file: "FileDataset") -> tuple[int, int] | None:
    """The range of stored values with which the device filled up what is not picture."""
    value = file.get("PixelPaddingValue")
    if value is None:
        return None
    other = file.get("PixelPaddingRangeLimit", value)
    return min(value, other), max(value, other)


def _seen(stored: npt.NDArray[Any], file: "FileDataset") -> tuple[int, int]:
    """Smallest and largest stored value of the picture itself."""
    padding = _padding(file)
    if padding is not None:
        inside = stored[(stored < padding[0]) | (stored > padding[1])]
        stored = inside if inside.size else stored
    return int(stored.min()), int(stored.max())


def _grey_of_colour(pixels: npt.NDArray[Any]) -> Image.Image:
    if pixels.dtype == np.uint16:  # lookup tables often give 16 bits
        pixels = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("L")


def _first(value: Any) -> float:
    """The first of several windows is the one to begin with."""
    return float(value[0] if hasattr(value, "__getitem__") else value)


def _refuse_unsupported(file: "FileDataset") -> None:
    syntax = file.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise UnreadableImage("the DICOM file does not say how it is encoded (TransferSyntaxUID): export it again")
    if "PixelData" not in file:
        raise UnsupportedFormat("the DICOM file holds no picture: send an image object, such as CR or DX")
    allocated, stored = file.get("BitsAllocated"), file.get("BitsStored")
    if allocated not in (8, 16) or not isinstance(stored, int) or not 8 <= stored <= allocated:
        raise UnsupportedFormat(f"the DICOM picture has {stored} of {allocated} bits: export it with 8 to 16 bits")
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


def _refuse_oversized(file: "FileDataset", max_pixels: int) -> None:
    """Before anything of the pixels is decoded."""
    from pydicom.encaps import get_frame

    frames = int(file.get("NumberOfFrames") or 1)
    if frames > MAX_FRAMES:
        raise InputTooLarge(f"the DICOM file has {frames} frames, the limit is {MAX_FRAMES}: send single pictures")
    shape = int(file.Columns), int(file.Rows)
    if not (0 < shape[0] * shape[1] <= max_pixels):
        raise InputTooLarge(f"the DICOM picture has {shape[0]} x {shape[1]} pixels, the limit is {max_pixels:,} in all")
    syntax = file.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax.name != "RLE Lossless":
        stream = get_frame(file.PixelData, 0, number_of_frames=frames)
        refuse_many_scans(stream)
        inner = stream_shape(stream)
        if inner != shape:
            raise UnreadableImage(f"the DICOM picture is {shape[0]} x {shape[1]} pixels, but its data says {inner}")


def _inflated(data: bytes, limit: int) -> bytes:
    """A deflated file as the same file uninflated would be, because pydicom inflates without any limit."""
    if _DEFLATED not in data:
        return data
    start = 132
    while data[start : start + 2] == b"\x02\x00":  # the file's meta information is never compressed
        if data[start + 4 : start + 6] in (b"OB", b"UN", b"OW", b"SQ", b"UT"):
            start += 12 + int.from_bytes(data[start + 8 : start + 12], "little")
        else:
            start += 8 + int.from_bytes(data[start + 6 : start + 8], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data[start:], limit)
    if inflater.unconsumed_tail:
        raise InputTooLarge(f"the deflated DICOM file swells to more than {limit:,} bytes: export it uncompressed")
    if _DEFLATED in inflated:
        raise UnreadableImage("the DICOM file is deflated more than once: export it uncompressed")
    return data[:start].replace(_DEFLATED, _EXPLICIT.ljust(len(_DEFLATED), b"\0")) + inflated
