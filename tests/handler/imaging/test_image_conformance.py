"""libvips, which shares no code with Pillow but the codecs, renders the same images as `decode`."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.imaging.decode import decode
from tests.handler.pictures import deep_png, encode, phantom, png_chunk, tiff

pytestmark = pytest.mark.skipif(shutil.which("vips") is None, reason="libvips is not installed (libvips-tools)")

SIZE = 64
TOLERANCE = 4  # of 255, on average

OTHERWISE = {
    "CMYK": "inks are mixed without a colour profile here, as Pillow and browsers do",
}
"""Images that libvips renders in another way, and why ours is kept."""

GREY = phantom()
COLOUR = Image.merge("RGB", [GREY, GREY.point(lambda value: value * 0.8), GREY.rotate(180)])
DEEP = np.asarray(GREY).astype(np.uint16) * 257
ALPHA = Image.linear_gradient("L").resize(GREY.size)


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(ALPHA)
    return image


def turned(form: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(COLOUR, form, exif=exif, **options)


def small_bits(bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits."""
    levels = np.asarray(GREY) >> (8 - bits)
    packed = np.packbits((levels[..., None] >> np.arange(bits)[::-1]) & 1, axis=None).reshape(GREY.height, -1)
    header = GREY.width.to_bytes(4) + GREY.height.to_bytes(4) + bytes([bits, 0, 0, 0, 0])
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    import zlib

    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    )


def deep(channels: int) -> np.ndarray:
    """16 bits of grey or colour, with or without transparency."""
    colours = np.asarray(COLOUR).astype(np.uint16) * 257 if channels > 2 else DEEP[..., None]
    alpha = np.asarray(ALPHA).astype(np.uint16)[..., None] * 257
    return np.concatenate([colours, alpha], -1) if channels in (2, 4) else colours


def tifffile(values: np.ndarray, **options: Any) -> bytes:
    import tifffile as writer

    file = io.BytesIO()
    writer.imwrite(file, values, **options)
    return file.getvalue()


def planes(image: Image.Image) -> np.ndarray:
    return np.moveaxis(np.asarray(image), -1, 0)


IMAGES: dict[str, Callable[[], bytes]] = {
    "JPEG grey": lambda: encode(GREY, "JPEG"),
    "JPEG colour 4:2:0": lambda: encode(COLOUR, "JPEG"),
    "JPEG colour 4:4:4": lambda: encode(COLOUR, "JPEG", subsampling=0),
    "JPEG RGB": lambda: encode(COLOUR, "JPEG", keep_rgb=True),
    "JPEG progressive": lambda: encode(COLOUR, "JPEG", progressive=True),
    "JPEG restart markers": lambda: encode(COLOUR, "JPEG", restart_marker_blocks=3),
    "JPEG quality 10": lambda: encode(COLOUR, "JPEG", quality=10),
    "JPEG larger than needed": lambda: encode(COLOUR.resize((1920, 1600)), "JPEG"),
    "JPEG CMYK": lambda: encode(COLOUR.convert("CMYK"), "JPEG"),
    "PNG 1 bit": lambda: small_bits(1),
    "PNG 2 bits": lambda: small_bits(2),
    "PNG 4 bits": lambda: small_bits(4),
    "PNG grey": lambda: encode(GREY, "PNG"),
    "PNG grey with a transparent grey": lambda: encode(GREY, "PNG", transparency=150),
    "PNG grey and alpha": lambda: encode(with_alpha(GREY), "PNG"),
    "PNG colour": lambda: encode(COLOUR, "PNG"),
    "PNG colour with a transparent colour": lambda: encode(COLOUR.quantize(8).convert("RGB"), "PNG", transparency=COLOUR.quantize(8).convert("RGB").getpixel((48, 40))),
    "PNG colour and alpha": lambda: encode(with_alpha(COLOUR), "PNG"),
    "PNG palette": lambda: encode(COLOUR.quantize(200), "PNG"),
    "PNG palette of 4 bits": lambda: encode(COLOUR.quantize(16), "PNG"),
    "PNG palette with a transparent colour": lambda: encode(COLOUR.quantize(16), "PNG", transparency=3),
    "PNG palette with alpha": lambda: encode(COLOUR.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
    "GIF": lambda: encode(GREY, "GIF"),
    "GIF colour": lambda: encode(COLOUR.quantize(200), "GIF", interlace=1),
    "GIF not interlaced": lambda: encode(COLOUR.quantize(200), "GIF", interlace=0),
    "GIF transparent": lambda: encode(COLOUR.quantize(16), "GIF", transparency=3),
    "WebP lossy": lambda: encode(COLOUR, "WEBP"),
    "WebP lossless": lambda: encode(COLOUR, "WEBP", lossless=True),
    "WebP lossy with alpha": lambda: encode(with_alpha(COLOUR), "WEBP"),
    "WebP lossless with alpha": lambda: encode(with_alpha(COLOUR), "WEBP", lossless=True),
    "BMP 1 bit": lambda: encode(GREY.convert("1"), "BMP"),
    "BMP grey": lambda: encode(GREY, "BMP"),
    "BMP palette": lambda: encode(COLOUR.quantize(200), "BMP"),
    "BMP colour": lambda: encode(COLOUR, "BMP"),
    "TIFF 1 bit": lambda: encode(GREY.convert("1"), "TIFF"),
    "TIFF 1 bit, fax": lambda: encode(GREY.convert("1"), "TIFF", compression="group4"),
    "TIFF in one tile": lambda: tiff(np.asarray(GREY)),
    "TIFF big-endian": lambda: tiff(DEEP, order=">"),
    "BigTIFF": lambda: tiff(DEEP, big=True),
    "TIFF in tiles": lambda: tifffile(np.asarray(COLOUR), tile=(32, 16)),
    "TIFF grey in strips": lambda: tifffile(np.asarray(GREY), rowsperstrip=7),
    "TIFF white is zero": lambda: tifffile(255 - np.asarray(GREY), photometric="miniswhite"),
    "TIFF 16 bits, white is zero": lambda: tifffile(65535 - DEEP, photometric="miniswhite"),
    "TIFF in planes": lambda: tifffile(planes(COLOUR), photometric="rgb", planarconfig="separate"),
    "TIFF in planes and tiles": lambda: tifffile(planes(COLOUR), photometric="rgb", planarconfig="separate", tile=(32, 16)),
    "TIFF grey and alpha": lambda: encode(with_alpha(GREY), "TIFF"),
    "TIFF colour and alpha": lambda: encode(with_alpha(COLOUR), "TIFF"),
    "TIFF CMYK": lambda: encode(COLOUR.convert("CMYK"), "TIFF"),
    "TIFF CIELAB": lambda: encode(Image.fromarray(np.stack([GREY] + 2 * [np.zeros_like(GREY)], -1), "LAB"), "TIFF"),
    "TIFF palette": lambda: encode(COLOUR.quantize(200), "TIFF"),
    "TIFF with premultiplied alpha": lambda: tifffile(np.asarray(Image.alpha_composite(Image.new("RGBA", GREY.size, "black"), with_alpha(COLOUR)))[..., :3].repeat([1, 1, 2], -1)[..., :4] if False else premultiplied(), photometric="rgb", extrasamples=["assocalpha"]),
    "TIFF 32-bit float": lambda: tifffile(np.asarray(GREY).astype(np.float32) / 255),
    **{
        f"TIFF {compression}": lambda compression=compression: encode(COLOUR, "TIFF", compression=compression)
        for compression in ("jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "webp")
    },
    **{
        f"PNG {channels} x 16 bits{', interlaced' * interlaced}": lambda channels=channels, interlaced=interlaced: (
            deep_png(deep(channels), interlaced=interlaced)
        )
        for channels in (1, 2, 3, 4)
        for interlaced in (False, True)
    },
    **{
        f"TIFF {channels} x 16 bits {order}": lambda channels=channels, order=order: tifffile(
            deep(channels) if channels > 1 else DEEP,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            byteorder=order,
        )
        for channels in (1, 2, 3, 4)
        for order in "<>"
    },
    **{
        f"{form} orientation {orientation}": lambda form=form, orientation=orientation: turned(form, orientation)
        for form in ("JPEG", "PNG", "TIFF", "WEBP")
        for orientation in range(1, 9)
    },
}


def premultiplied() -> np.ndarray:
    pixels = np.asarray(with_alpha(COLOUR)).astype(int)
    return np.concatenate([pixels[..., :3] * pixels[..., 3:] // 255, pixels[..., 3:]], -1).astype(np.uint8)


def files_of(package: str) -> list[Path]:
    folder = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages", package)
    forms = {".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp"}
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in forms)


def rendered(source: Path, folder: Path) -> bytes:
    """A PNG of 8 bits without transparency, as libvips makes it."""

    def vips(*arguments: object) -> str:
        return subprocess.run(["vips", *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    steps = iter([folder / f"{step}.v" for step in range(9)])
    vips("autorot", source, at := next(steps))
    header = subprocess.run(["vipsheader", at], check=True, capture_output=True, text=True).stdout
    if "2 bands" in header or ("4 bands" in header and "cmyk" not in header):
        vips("flatten", at, at := next(steps))
    vips("colourspace", at, at := next(steps), "srgb")
    vips("cast", at, f"{folder / 'rendered.png'}[strip]", "uchar")
    return (folder / "rendered.png").read_bytes()


def difference(source: Path, folder: Path) -> float:
    ours, theirs = (decode(data, SIZE).astype(int) for data in (source.read_bytes(), rendered(source, folder)))
    return float(np.abs(ours - theirs).mean())


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_are_made_here(name: str, tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(IMAGES[name]())

    assert difference(source, tmp_path) < TOLERANCE
