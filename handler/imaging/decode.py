"""From the bytes of a picture to the pixels that the network sees. Training, calibration, evaluation and serving
all come through `decode`. Only training shrinks once more, from its prepared size to that of an epoch, see
`training.augment.resize`.
"""

import io
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from handler.errors import (
    DecodingTooCostly,
    EmptyInput,
    InputError,
    InputTooLarge,
    SeveralFrames,
    UnreadableImage,
    UnsupportedFormat,
)
from handler.imaging.dicom import first_frame, is_dicom
from handler.imaging.headers import refuse_costly_header, refuse_many_scans
from handler.imaging.parts import refuse_many_parts

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What Pillow may try. Every further decoder is more attack surface for nobody's X-ray."""

MAX_PIXELS = 32_000_000
"""Twice the largest chest radiographs in common use (about 4300 x 3500); checked before pixels take memory."""

_RESAMPLING = Image.Resampling.BILINEAR  # antialiased in Pillow: its support grows with the scale
_BAND = 256  # rows
_DETECTORS = tuple(2**bits - 1 for bits in (12, 14, 15, 16))  # 15 are what is left of 16 with a sign
_REDUCING_GAP = 2.0  # a cheap box reduction may go first as long as twice the final size is left

Pixels = npt.NDArray[np.uint8]


def decode(data: bytes, size: int) -> Pixels:
    """Decode a picture to greyscale and squeeze it to a square.

    The aspect ratio is not kept, as in the data set that the network was trained on. Transparency is laid on black,
    EXIF orientation is applied, and wider greys are scaled to 8 bits by the full scale of what they hold: see
    `_scaled`.

    Args:
        data: a JPEG, PNG, WebP, BMP, TIFF or GIF file with one picture in it, or a DICOM file, of which the first frame
            is taken (see `handler.imaging.dicom`).
        size: width and height of the result.

    Returns:
        uint8 array `[size, size]`, 0 black to 255 white.

    Raises:
        EmptyInput, UnsupportedFormat, UnreadableImage, SeveralFrames, InputTooLarge: see `handler.errors`.
    """
    if not data:
        raise EmptyInput("the file is empty: send the bytes of a picture")
    # They quote what they dislike, which may be a patient's name, and stand between the lines of a JSON log.
    warnings.filterwarnings("ignore", module="PIL|pydicom")
    try:
        grey = first_frame(data, MAX_PIXELS) if is_dicom(data) else _picture(data, size)
        return np.asarray(grey.resize((size, size), _RESAMPLING, reducing_gap=_REDUCING_GAP))
    except InputError:
        raise
    except MemoryError as exc:
        raise DecodingTooCostly(
            "The image costs too much to decode: it needs more memory than one image may take. Scale it down."
        ) from exc
    except Exception as exc:  # the decoders raise a dozen unrelated types on hostile bytes; all mean the same
        raise UnreadableImage(f"the picture is truncated or corrupt: export it again ({exc})") from exc


def warm_up() -> None:
    """Load what decoding the commonest files needs."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    decode(file.getvalue(), 1)


def _picture(data: bytes, size: int) -> Image.Image:
    """What Pillow reads, in 8-bit grey ("L") and no smaller than it must be to be resized to `size`."""
    refuse_many_parts(data)
    refuse_costly_header(data, MAX_PIXELS)
    with _open(data) as image:
        if image.width * image.height > MAX_PIXELS:
            raise InputTooLarge(
                f"the picture has {image.width} x {image.height} pixels, the limit is {MAX_PIXELS:,} in all: "
                "scale it down"
            )
        # An MPO is a JPEG with previews behind it, as phones write them: the first picture is the picture.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise SeveralFrames("the file is an animation or has several pages: send one picture per file")
        if image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg":  # which TIFF has, too
            refuse_many_scans(data)
        if any(tile[0] in Image.DECODERS for tile in image.tile):  # those written in Python, which take seconds
            raise UnsupportedFormat(f"{image.format} in run lengths is not read here: save it uncompressed, or as PNG")
        # Pillow sees to it up to 8 bits.
        white_is_zero = _wide(image) and _tiff_tag(image, ExifTags.Base.PhotometricInterpretation) == 0
        # Ask the JPEG decoder for luminance at a fraction of the size; it is a no-op for all other formats.
        image.draft("L", (round(size * _REDUCING_GAP), round(size * _REDUCING_GAP)))
        grey = ImageOps.exif_transpose(_grey(image))
    return ImageOps.invert(grey) if white_is_zero else grey


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header only."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as exc:
        raise InputTooLarge(f"the picture has more than {MAX_PIXELS:,} pixels: scale it down") from exc
    except UnidentifiedImageError as exc:
        raise UnsupportedFormat(
            f"the file is no picture of a supported kind: send one of {', '.join(FORMATS)} or DICOM"
        ) from exc


def _grey(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit grey ("L"), by bands: the four bytes that some modes take for a pixel never stand beside the
    picture for all of it."""
    image.load()
    if image.mode == "L":
        return image
    convert = _scaled(image) if _wide(image) else _on_black
    grey = Image.new("L", image.size)
    for top, band in _bands(image):
        grey.paste(convert(band), (0, top))
    grey.info = image.info  # EXIF and its like
    return grey


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """All of a picture, by so many rows, and where they begin."""
    for top in range(0, image.height, _BAND):
        yield top, image.crop((0, top, image.width, min(top + _BAND, image.height)))


def _on_black(band: Image.Image) -> Image.Image:
    if band.has_transparency_data:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, "black"), band)
    return band.convert("L")


def _wide(image: Image.Image) -> bool:
    """Whether its greys have more than 8 bits: modes "I", "I;16" and the like, and "F"."""
    return image.mode[0] in "IF"


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """A value from the directory of a TIFF; None if it is not there, or no TIFF."""
    return getattr(image, "tag_v2", {}).get(tag)


def _scaled(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What makes 8-bit greys of the wide ones of a picture or its bands, by their own full scale, where Pillow's own
    conversion would cut everything above 255 off.

    Detectors deliver 12 to 16 bits, which software often stores as they are in a 16-bit file: the full scale is that of
    the fewest of these bits that hold the greatest value. No detector delivers 32 bits, but software computes with
    them: integers and floats up to 255 are taken for 8 bits, and floats up to 1 for fractions. An unsigned 16-bit
    picture is never taken for one of 8 bits, however dark it is.

    Raises:
        UnreadableImage: the values are not within 0 to 65535.
    """
    extremes = [(values.min(), values.max()) for _, band in _bands(image) for values in [np.asarray(band)]]
    low, high = float(np.min(extremes)), float(np.max(extremes))
    if not (low >= 0 and high <= 0xFFFF):
        raise UnreadableImage(
            f"grey values from {low:g} to {high:g} are not the 0 to 65535 of a 16-bit picture: scale them to that range"
        )
    narrow = {"F": (1, 0xFF), "I": (0xFF,)}.get(image.mode, ())
    full_scale = next(limit for limit in (*narrow, *_DETECTORS) if high <= limit)

    def scaled(band: Image.Image) -> Image.Image:
        values = np.asarray(band).astype(np.float32)
        return Image.fromarray((values * (255 / full_scale) + 0.5).astype(np.uint8))

    return scaled
