"""Decode colour, or grey with transparency, of 16 bits per channel. Pillow alone keeps only the upper 8 bits.

Pillow can unpack the bytes of such a pixel in either order. So the upper and the lower bytes are decoded separately,
each as an 8-bit image, and then combined.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from handler.errors import UnsupportedFormat
from handler.imaging.greys import bands

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow
_PLANAR = 2  # TIFF tag PlanarConfiguration

_ALPHA = 2  # TIFF tag ExtraSamples; 1 is premultiplied alpha: the grey is blended with black already

# Pillow does not read TIFFs with grey and one more channel of 16 bits each. Unpacking as "RGBA" keeps a pixel's four
# bytes unchanged. The keys: byte order, black is zero, unsigned, bit order, bits, extra samples.
for _order in (b"II", b"MM"):
    for _extra in (0, 1, _ALPHA):
        TiffImagePlugin.OPEN_INFO[(_order, 1, (1,), 1, (16, 16), (_extra,))] = ("RGBA", "RGBA")


def is_wide_colour(image: ImageFile.ImageFile) -> bool:
    """Whether the file has several channels of 16 bits. `image` must not be loaded yet."""
    bits = _tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE)
    if bits is None:
        return image.mode in ("RGB", "RGBA") and _rawmode(image).endswith(";16B")  # PNG
    return max(bits) > 8 and len(image.getbands()) > 1


def grey_of_wide_colour(
    image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile]
) -> tuple[Image.Image, Image.Image | None]:
    """Decode to 16-bit grey.

    Args:
        image: an image that `is_wide_colour`, not loaded yet.
        reopen: opens the same file again.

    Returns:
        An image of mode "I;16", with the `info` of `image`, and its opacity in mode "L", or None.

    Raises:
        UnsupportedFormat: the image has separate planes, premultiplied alpha, a transparent colour, or CMYK.
    """
    layout = _rawmode(image).partition(";")[0]
    if _rawmode(image) in ("LA;16B", "RGBA"):
        layout = "LA" if _tiff_tag(image, TiffImagePlugin.EXTRASAMPLES) in (None, (_ALPHA,)) else "LX"
    planar = _tiff_tag(image, TiffImagePlugin.PLANAR_CONFIGURATION) == _PLANAR
    if planar or layout not in ("LA", "LX", "RGB", "RGBA", "RGBX") or "transparency" in image.info:
        raise UnsupportedFormat(
            f"A 16-bit {image.format} of this layout ({image.mode}{' in planes' if planar else ''}) is not supported. "
            "Save it as 16-bit grey, or with 8 bits per channel."
        )
    big_endian = _is_big_endian(image)
    upper, lower = ("B", "L") if big_endian else ("L", "B")
    if layout in ("LA", "LX"):
        passes = [("RGBA", np.array([256, 1, 0] if big_endian else [1, 256, 0], np.float32))]
    else:
        passes = [(f"{layout};16{upper}", 256 * _LUMA), (f"{layout};16{lower}", _LUMA)]
    alpha = {"RGBA": 3, "LA": 2 if big_endian else 3}.get(layout)
    opacity = None
    grey = np.zeros((image.height, image.width), np.uint16)
    for rawmode, weights in passes:
        part = reopen()
        part.tile = [_unpacked_as(tile, rawmode) for tile in part.tile]
        part.load()
        for top, band in bands(part):
            pixels = np.asarray(band)
            grey[top : top + band.height] += np.rint(pixels[..., :3] @ weights).astype(np.uint16)
        if alpha is not None and opacity is None:
            opacity = part.getchannel(alpha)
    wide = Image.fromarray(grey)
    wide.info = part.info
    return wide, opacity


def _rawmode(image: ImageFile.ImageFile) -> str:
    if not image.tile:
        return ""
    args = image.tile[0].args
    return str(args if isinstance(args, str) else args[0] if args else "")


def _tiff_tag(image: ImageFile.ImageFile, tag: int) -> Any:
    return getattr(image, "tag_v2", {}).get(tag)


def _is_big_endian(image: ImageFile.ImageFile) -> bool:
    if image.format == "PNG":
        return True
    if image.tile[0].codec_name == "libtiff":  # libtiff converts to the byte order of the CPU
        return sys.byteorder == "big"
    return bool(image.tag_v2.prefix == b"MM")  # type: ignore[attr-defined]


def _unpacked_as(tile: ImageFile._Tile, rawmode: str) -> ImageFile._Tile:
    args = tile.args
    return tile._replace(args=rawmode if isinstance(args, str) else (rawmode, *(args or ())[1:]))
