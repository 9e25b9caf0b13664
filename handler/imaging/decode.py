"""Decode the bytes of an image to the pixels that the network takes. Training, calibration, evaluation and serving all
call `decode`. Only training resizes again, from the prepared size to the size of an epoch: see
`training.augment.resize`.
"""

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageChops, ImageFile, ImageOps, UnidentifiedImageError

from handler.errors import (
    DecodingTooCostly,
    EmptyInput,
    InputError,
    InputTooLarge,
    SeveralFrames,
    UnreadableImage,
    UnsupportedFormat,
)
from handler.imaging import jpeg
from handler.imaging.dicom import first_frame, is_dicom
from handler.imaging.frame import content_box
from handler.imaging.greys import bands, eight_bits
from handler.imaging.recognise import unopened
from handler.imaging.wide_colour import grey_of_wide_colour, is_wide_colour

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""The formats that Pillow may read. Each further decoder adds attack surface, and X-rays do not need it."""

MAX_PIXELS = 32_000_000
"""Limit on the pixels that are decoded: twice the largest chest X-rays in common use (about 4300 x 3500)."""

MAX_JPEG_PIXELS = 4 * MAX_PIXELS
"""Limit on the pixels of a JPEG before its decoder reduces it. These pixels take time, but hardly any memory."""

_RESAMPLING = Image.Resampling.BILINEAR  # Pillow antialiases: the filter's support grows with the scale
_DRAFT = (
    4  # JPEG and JPEG 2000 are decoded at this multiple of the final size or more, because frames are cut off first
)
_REDUCING_GAP = 2.0  # Pillow may first use a fast box reduction, down to twice the final size

Pixels = npt.NDArray[np.uint8]


def decode(data: bytes, size: int) -> Pixels:
    """Decode an image to greyscale, cut off the uniform frame around it, and resize it to a square.

    `handler.imaging.frame` finds the frame. The aspect ratio is not kept, as in the data set that the network was
    trained on. Transparent pixels are blended with black, EXIF orientation is applied, and greys of more than 8 bits
    are scaled by `handler.imaging.greys.full_scale`.

    Args:
        data: a JPEG, PNG, WebP, BMP, TIFF or GIF file with one image, or a DICOM file, of which the first frame
            is used (see `handler.imaging.dicom`).
        size: width and height of the result.

    Returns:
        uint8 array `[size, size]`, 0 black to 255 white.

    Raises:
        EmptyInput, UnsupportedFormat, UnreadableImage, SeveralFrames, InputTooLarge, DecodingTooCostly: see
            `handler.errors`.
    """
    if not data:
        raise EmptyInput("The file has 0 bytes. Send the bytes of an image.")
    # Warnings quote bad values, which may be a patient's name, and are not JSON lines like the rest of the log.
    warnings.filterwarnings("ignore", module="PIL|pydicom")
    try:
        grey = first_frame(data, MAX_PIXELS, size * _DRAFT) if is_dicom(data) else _image(data, size)
        return squared(grey, size)
    except InputError:
        raise
    except MemoryError as exc:
        raise DecodingTooCostly("Decoding takes more memory than one image may use. Scale the image down.") from exc
    except Exception as exc:  # the decoders raise many unrelated types on corrupt data; all mean the same
        raise UnreadableImage(f"The image is truncated or corrupt ({exc}). Export it again.") from exc


def squared(grey: Image.Image, size: int) -> Pixels:
    """Do the last step of `decode`: cut off the uniform frame, and resize the rest to a square.

    Args:
        grey: mode "L".
        size: see `decode`.

    Returns:
        uint8 array `[size, size]`.
    """
    return np.asarray(grey.resize((size, size), _RESAMPLING, box=content_box(grey), reducing_gap=_REDUCING_GAP))


def warm_up() -> None:
    """Load the modules that decode the most common formats."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    decode(file.getvalue(), 1)


def _image(data: bytes, size: int) -> Image.Image:
    """Decode with Pillow to 8-bit grey ("L"), at `_DRAFT` times `size` or more if the image is that large."""
    stored = _jpeg(data, size) if data.startswith(jpeg.START) else _stored(data, size)
    return ImageOps.exif_transpose(stored)


def _jpeg(data: bytes, size: int) -> Image.Image:
    """Decode a JPEG, with or without an end marker, as it is stored.

    Raises:
        UnreadableImage: rows are missing.
    """
    end = jpeg.ending(data)
    image = _stored(data if end.has_marker else end.completed(data), size)
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    if end.may_lack_rows(np.asarray(last_row)[0]):
        other = _stored(end.completed(data, jpeg.FILLER), size)
        # With an end marker, a file that leaves out the lowest bits is valid.
        if (end.is_coarse and not end.has_marker) or ImageChops.difference(image, other).getbbox():
            raise UnreadableImage("The JPEG ends before its last row. Send the whole file.")
    return image


def _stored(data: bytes, size: int) -> Image.Image:
    """Do the work of `_image`, except for the orientation."""
    with _open(data) as image:
        _refuse_pixels(image, _max_pixels(data))
        # Phones write MPO files: a JPEG followed by previews. The first image is used.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise SeveralFrames("The file is an animation or has several pages. Send one image per file.")
        # The JPEG decoder can output luminance at a fraction of the size. `draft` does nothing for other formats.
        image.draft("L", (size * _DRAFT, size * _DRAFT))
        _refuse_pixels(image, MAX_PIXELS)
        white_is_zero = _is_wide(image) and _tiff_tag(image, ExifTags.Base.PhotometricInterpretation) == 0
        grey = _grey(image, data)
    return ImageOps.invert(grey) if white_is_zero else grey


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header only."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as exc:
        raise InputTooLarge(f"The image has more than {_max_pixels(data):,} pixels. Scale it down.") from exc
    except UnidentifiedImageError as exc:
        raise unopened(data, FORMATS) from exc


def _max_pixels(data: bytes) -> int:
    return MAX_JPEG_PIXELS if data.startswith(jpeg.START) else MAX_PIXELS


def _refuse_pixels(image: Image.Image, limit: int) -> None:
    if image.width * image.height > limit:
        raise InputTooLarge(
            f"The image has {image.width} x {image.height} pixels, the limit is {limit:,} in total. Scale it down."
        )


def _grey(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Convert any mode to 8-bit grey ("L"), in bands: some modes take four bytes per pixel, and two
    whole images of that type would take too much memory."""
    if is_wide_colour(image):
        # The full scale is found before transparent pixels are blended with black.
        wide, opacity = grey_of_wide_colour(image, lambda: _open(data))
        opaque = eight_bits(wide)
        if opacity is None:
            return opaque
        grey = ImageChops.multiply(opaque, opacity)
        grey.info = wide.info
        return grey
    if image.mode == "LAB":
        raise UnsupportedFormat(f"A {image.format} in CIELAB colours is not supported. Save it as grey.")
    image.load()
    if _is_wide(image):
        return eight_bits(image)
    if image.mode == "L" and not image.has_transparency_data:
        return image
    grey = Image.new("L", image.size)
    for top, band in bands(image):
        grey.paste(_on_black(band), (0, top))
    grey.info = image.info  # EXIF and other metadata
    return grey


def _on_black(band: Image.Image) -> Image.Image:
    if band.mode == "La":  # premultiplied
        band = band.convert("LA")
    if band.has_transparency_data:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, "black"), band)
    return band.convert("L")


def _is_wide(image: Image.Image) -> bool:
    """Whether the greys have more than 8 bits: modes "I", "I;16" in any byte order, and "F"."""
    return image.mode[0] in "IF"


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """Return the value of a TIFF tag; None if it is absent, or if the file is not a TIFF."""
    return getattr(image, "tag_v2", {}).get(tag)
