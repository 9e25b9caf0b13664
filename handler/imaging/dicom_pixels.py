"""DICOM: decompress the stored values of the first frame.

imagecodecs is called directly on the frame's bytes: pydicom has no plugin for it, and pydicom's plugins decode neither
lossless JPEG nor 12-bit JPEG. Only three extension modules of imagecodecs are loaded (see `infra/trim.py`).
"""

import io
import struct
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.errors import UnreadableImage, UnsupportedFormat
from handler.imaging import jpeg

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
"""The pixels are uncompressed in these. The third one deflates the whole file, which is inflated before."""

_RUN_LENGTHS = "1.2.840.10008.1.2.5"
_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70)}
_JPEG_LS = {f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
"""The last three are HTJ2K, which OpenJPEG also decodes. OpenJPH, the other HTJ2K decoder, does not report corrupt
data."""

COMPRESSED = {_RUN_LENGTHS} | _JPEG | _JPEG_LS | _JPEG_2000
_LOSSY = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 81, 91, 203)}

_START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"
_CODING_STYLE = b"\xff\x52"


class Frame(NamedTuple):
    """The stored values of one frame."""

    samples: npt.NDArray[Any]
    """uint8 or uint16 `[rows, columns]`, or `[rows, columns, 3]` of RGB. Of luminance and chrominance, only the
    luminance is kept: it is the grey image."""

    bits: int
    """Number of bits of a value, counted from `low_bit`. Other bits are not part of the value."""

    low_bit: int
    signed: bool
    """Whether the values are in two's complement."""

    lossy: bool
    """Whether the values may differ slightly from the values that the device wrote."""


def first_stored_frame(file: "Dataset", least_side: int) -> Frame:
    """Decompress the first frame.

    Args:
        file: the pixels and the attributes that describe them. Its transfer syntax is one of `UNCOMPRESSED` or
            `COMPRESSED`.
        least_side: grey JPEG 2000 may be decoded at a fraction of its size, down to this many pixels per side. For a
            large radiograph this takes a fiftieth of the time.

    Raises:
        UnsupportedFormat: the compressed data does not have 2 to 16 bits.
        UnreadableImage: the compressed data is truncated, has an unknown format, or contradicts the description.
        Exception: any exception that pydicom and the decoders raise on corrupt data.
    """
    from pydicom.pixels.utils import pixel_array

    syntax, stored = file.file_meta.TransferSyntaxUID, int(file.BitsStored)
    lossy = syntax in _LOSSY
    kind, signed = file.PhotometricInterpretation, bool(file.get("PixelRepresentation"))
    high_bit = file.get("HighBit")
    low_bit = (stored - 1 if high_bit is None else int(high_bit)) + 1 - stored
    if syntax in UNCOMPRESSED or syntax == _RUN_LENGTHS:
        if not 0 <= low_bit <= file.BitsAllocated - stored:
            low_bit = 0
        # pydicom would assume that the unused bits are the top ones, which is not always so.
        pixels = pixel_array(file, index=0, raw=True, correct_unused_bits=False, decoding_plugin=_plugin(syntax))
        bits, colour_is_rgb = stored, kind == "RGB"
    else:
        stream = _first_stream(file)
        described = _described(stream)
        _refuse_contradictions(file, described)
        colour_is_rgb = described.is_rgb if described.is_rgb is not None else kind in ("RGB", "YBR_RCT", "YBR_ICT")
        may_shrink = syntax in _JPEG_2000 and kind in ("MONOCHROME1", "MONOCHROME2")
        halvings = _halvings(stream, described, least_side) if may_shrink else 0
        pixels = _decoded(stream, syntax, described, colour_is_rgb, halvings)
        if pixels.shape[:2] != tuple(-(-side // 2**halvings) for side in (described.height, described.width)):
            raise UnreadableImage(
                "The size of the compressed pixels differs from their header. Export the image again."
            )
        lossy = lossy or halvings > 0
        # Lossy values may need more than the stored bits. Do not let them wrap around.
        bits = described.bits if syntax in _LOSSY else min(stored, described.bits)
        if not 0 <= low_bit <= described.bits - bits:
            low_bit = 0
    if pixels.ndim == 3 and not colour_is_rgb:
        pixels = pixels[..., 0]
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    return Frame(pixels.view(f"u{pixels.itemsize}"), bits, low_bit, signed, lossy)


def _plugin(syntax: str) -> str:
    return "pydicom" if syntax == _RUN_LENGTHS else ""


def _first_stream(file: "Dataset") -> bytes:
    """The compressed data of the first frame, without the boxes that precede it in a JP2 file."""
    from pydicom.encaps import generate_fragments, generate_frames

    frames = int(file.get("NumberOfFrames") or 1)
    if frames == 1:  # All fragments belong to it. The offset tables are not needed, and often wrong.
        _, *fragments = generate_fragments(file.PixelData)
        stream = b"".join(fragments)
    else:
        tables = file.get("ExtendedOffsetTable"), file.get("ExtendedOffsetTableLengths")
        offsets = tables if all(tables) else None
        stream = next(generate_frames(file.PixelData, number_of_frames=frames, extended_offsets=offsets))
    if file.file_meta.TransferSyntaxUID in _JPEG_2000:
        start = stream.find(_START_OF_JPEG_2000)
        if start > 0:
            stream = stream[start:]
    return stream


class _Description(NamedTuple):
    """The header of a compressed frame."""

    width: int
    height: int
    components: int
    bits: int
    is_rgb: bool | None
    """None if the header does not say it."""
    signed: bool = False
    """Only set for JPEG 2000."""


def _described(stream: bytes) -> _Description:
    """Read the header of JPEG, JPEG-LS or JPEG 2000.

    Raises:
        UnreadableImage: the data has another format, is truncated, or has components of several sizes.
    """
    if stream.startswith(_START_OF_JPEG_2000):
        return _described_jpeg_2000(stream)
    is_rgb = None
    for marker, _, content in jpeg.segments(stream) if stream.startswith(jpeg.START) else ():
        if marker == 0xE0 and content.startswith(b"JFIF"):
            is_rgb = False
        elif marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12:
            is_rgb = content[11] == 0
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, height, width, components = struct.unpack_from(">B2HB", content)
            if content[6::3] in (b"RGB", b"rgb"):
                is_rgb = True
            # For lossless coding, only the DICOM header defines the colour space.
            return _Description(width, height, components, bits, None if marker in (0xC3, 0xF7) else is_rgb)
    raise UnreadableImage(
        "The compressed pixels are not JPEG, JPEG-LS or JPEG 2000. Export the image again, or uncompressed."
    )


def _described_jpeg_2000(stream: bytes) -> _Description:
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    [components] = struct.unpack_from(">H", stream, 40)
    parts = {stream[42 + 3 * i : 45 + 3 * i] for i in range(components if components <= 3 else 1)}
    if len(parts) != 1 or not parts <= {bytes([depth, 1, 1]) for depth in range(256)}:
        raise UnreadableImage("The JPEG 2000 pixels have components of several sizes. Export the image again.")
    [[depth, _, _]] = parts
    return _Description(right - left, bottom - top, components, (depth & 0x7F) + 1, None, bool(depth & 0x80))


def _refuse_contradictions(file: "Dataset", described: _Description) -> None:
    columns, rows, samples = (int(file[name].value) for name in ("Columns", "Rows", "SamplesPerPixel"))
    if described[:3] != (columns, rows, samples):
        raise UnreadableImage(
            f"The DICOM image has {columns} x {rows} pixels of {samples} samples, but its data says "
            f"{described.width} x {described.height} of {described.components}. Export it again."
        )
    if not 2 <= described.bits <= 16:
        raise UnsupportedFormat(
            f"The compressed pixels have {described.bits} bits. Export the image with 8 to 16 bits."
        )


def _halvings(stream: bytes, described: _Description, least_side: int) -> int:
    """Return how often a grey JPEG 2000 image can be halved. No side gets shorter than `least_side`, and the header
    limits the number."""
    style = stream.find(_CODING_STYLE)
    if described.components != 1 or style < 0:
        return 0
    levels, side = stream[style + 9], min(described.width, described.height)
    return max((n for n in range(levels + 1) if side >> n >= least_side), default=0)


def _decoded(
    stream: bytes, syntax: str, described: _Description, colour_is_rgb: bool, halvings: int
) -> npt.NDArray[Any]:
    """`[rows, columns]`, or `[rows, columns, 3]` of RGB or of luminance and chrominance."""
    if halvings:
        return _reduced_jpeg_2000(stream, described, halvings)
    import imagecodecs

    pixels: npt.NDArray[Any]
    if syntax in _JPEG_2000:
        pixels = imagecodecs.jpeg2k_decode(stream, numthreads=1)
        return pixels
    incomplete = UnreadableImage("The compressed pixels are incomplete. Export the image again.")
    end = jpeg.ending(stream)
    if not end.has_marker:  # CharLS would search for it forever.
        raise incomplete
    if syntax in _JPEG_LS:
        pixels = imagecodecs.jpegls_decode(stream)
        return pixels
    space = None
    if described.components == 3:  # Without this, libjpeg would guess it from the JPEG header alone.
        space = "RGB" if colour_is_rgb else "YCBCR"
    decode = partial(imagecodecs.jpeg8_decode, colorspace=space, outcolorspace=space)
    pixels = decode(stream)
    if end.may_lack_rows(pixels[-1], described.bits):
        other = decode(end.completed(stream, jpeg.FILLER))
        if not np.array_equal(pixels, other):
            raise incomplete
    return pixels


def _reduced_jpeg_2000(stream: bytes, described: _Description, halvings: int) -> npt.NDArray[Any]:
    """Decode grey at a fraction of its size to `[rows, columns]`. Pillow can do this, imagecodecs cannot."""
    with Image.open(io.BytesIO(stream), formats=["JPEG2000"]) as image:
        image.reduce = halvings  # type: ignore[assignment, method-assign]  # a property of this format's images
        image.load()
        values = np.asarray(image)
    # Pillow shifts values up to 8 or 16 bits, and adds an offset to signed values to make them positive.
    values = values >> (8 * values.itemsize - described.bits)
    return values ^ (1 << (described.bits - 1)) if described.signed else values
