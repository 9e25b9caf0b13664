"""From the bytes of a picture to the pixels that the network sees. Training, calibration, evaluation and serving
all come through `decode`; there is no second resizer in this project.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from handler.codestream import refuse_many_scans
from handler.dicom import first_frame, is_dicom
from handler.errors import EmptyInput, InputError, InputTooLarge, SeveralFrames, UnreadableImage, UnsupportedFormat

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What Pillow may try. Every further decoder is more attack surface for nobody's X-ray."""

MAX_PIXELS = 32_000_000
"""Twice the largest chest radiographs in common use (about 4300 x 3500); checked before pixels take memory."""

_RESAMPLING = Image.Resampling.BILINEAR  # antialiased in Pillow: its support grows with the scale
_REDUCING_GAP = 2.0  # a cheap box reduction may go first as long as twice the final size is left

Pixels = npt.NDArray[np.uint8]


def decode(data: bytes, size: int) -> Pixels:
    """Decode a picture to greyscale and squeeze it to a square.

    The aspect ratio is not kept, as in the data set that the network was trained on. Transparency is laid on black,
    EXIF orientation is applied, 16-bit greys keep their range.

    Args:
        data: a JPEG, PNG, WebP, BMP, TIFF or GIF file with one picture in it, or a DICOM file, of which the first frame
            is taken (see `handler.dicom`).
        size: width and height of the result.

    Returns:
        uint8 array `[size, size]`, 0 black to 255 white.

    Raises:
        EmptyInput, UnsupportedFormat, UnreadableImage, SeveralFrames, InputTooLarge: see `handler.errors`.
    """
    if not data:
        raise EmptyInput("the file is empty: send the bytes of a picture")
    try:
        grey = first_frame(data, MAX_PIXELS) if is_dicom(data) else _picture(data, size)
        return np.asarray(grey.resize((size, size), _RESAMPLING, reducing_gap=_REDUCING_GAP))
    except InputError:
        raise
    except MemoryError as exc:
        raise InputTooLarge("the picture needs more memory than there is: scale it down") from exc
    except Exception as exc:  # the decoders raise a dozen unrelated types on hostile bytes; all mean the same
        raise UnreadableImage(f"the picture is truncated or corrupt: export it again ({exc})") from exc


def _picture(data: bytes, size: int) -> Image.Image:
    """What Pillow reads, in 8-bit grey ("L") and no smaller than it must be to be resized to `size`."""
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
        # Ask the JPEG decoder for luminance at a fraction of the size; it is a no-op for all other formats.
        image.draft("L", (round(size * _REDUCING_GAP), round(size * _REDUCING_GAP)))
        return _grey(ImageOps.exif_transpose(image))


def _open(data: bytes) -> Image.Image:
    """Read the header only."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise InputTooLarge(f"the picture has more than {MAX_PIXELS:,} pixels: scale it down") from exc
    except UnidentifiedImageError as exc:
        raise UnsupportedFormat(
            f"the file is no picture of a supported kind: send one of {', '.join(FORMATS)} or DICOM"
        ) from exc


def _grey(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit grey ("L")."""
    if image.mode == "L":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_from_wide(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("L")


def _grey_from_wide(image: Image.Image) -> Image.Image:
    """16-bit greys by their own full scale, where Pillow's own conversion would cut everything above 255 off.

    Detectors deliver 12 bits, which software often stores as they are in a 16-bit file: a picture with no value above
    4095 is taken to be one of those.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 0xFFFF):
        raise ValueError(f"grey values from {low:g} to {high:g} are not the 0 to 65535 of a 16-bit picture")
    full_scale = 0xFFF if high <= 0xFFF else 0xFFFF
    return Image.fromarray((values.astype(np.float32) * (255 / full_scale) + 0.5).astype(np.uint8))
