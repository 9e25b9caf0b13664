"""Pixels as PNG, for callers that cannot show the file that they sent."""

import base64
import io

from PIL import Image

from handler.imaging.decode import Pixels


def preview(pixels: Pixels) -> str:
    """What the network saw of an image.

    Args:
        pixels: uint8 `[S, S]`.

    Returns:
        A greyscale PNG of `S` by `S` pixels in base64.
    """
    return base64.b64encode(png(pixels)).decode("ascii")


def png(values: Pixels) -> bytes:
    """A PNG of greys `[H, W]` or RGBA colours `[H, W, 4]`, uint8."""
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()
