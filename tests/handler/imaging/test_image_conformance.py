"""`decode` compared with libvips, an independent renderer, on images of all layouts."""

import importlib.util
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.errors import SeveralFrames, UnreadableImage
from handler.imaging.decode import decode
from tests.handler.images import deep_png, encode, phantom, png_chunk, tiff, tifffile

pytestmark = pytest.mark.skipif(shutil.which("vips") is None, reason="libvips is not installed (libvips-tools)")

SIZE = 64
TOLERANCE = 4  # of 255, on average

OTHERWISE = {
    "JPEG CMYK": "libvips mixes the inks with a colour profile; here they are mixed without one, as when separated",
    "TIFF CMYK": "the same",
    "TIFF 32-bit float": "libvips treats floats as greys of 8 bits; here floats up to 1 are fractions",
}
"""Images that libvips renders differently, and why `decode` does not follow it."""

REFUSED = {
    "multipage.tif": SeveralFrames,
    "multipage_rgb.tif": UnreadableImage,  # 64-bit floats in planes, which libvips cannot read either
    "no_time_for_that_tiny.gif": SeveralFrames,
}

GREY = phantom()
COLOUR = Image.merge("RGB", [GREY, GREY.point(lambda value: value * 0.8), GREY.rotate(180)])
FEW = COLOUR.quantize(16).convert("RGB")
DEEP = np.asarray(GREY).astype(np.uint16) * 257
ALPHA = Image.linear_gradient("L").resize(GREY.size)


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(ALPHA)
    return image


def premultiplied() -> np.ndarray:
    pixels = np.asarray(with_alpha(COLOUR)).astype(int)
    return np.concatenate([pixels[..., :3] * pixels[..., 3:] // 255, pixels[..., 3:]], -1).astype(np.uint8)


def turned(form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(COLOUR, form, exif=exif)


def few_bits(bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits."""
    levels = np.asarray(GREY) >> (8 - bits)
    rows = np.packbits((levels[..., None] >> np.arange(bits)[::-1]) & 1).reshape(GREY.height, -1)
    chunks = {
        b"IHDR": GREY.width.to_bytes(4) + GREY.height.to_bytes(4) + bytes([bits, 0, 0, 0, 0]),
        b"IDAT": zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes()),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks.items())


def deep(channels: int) -> np.ndarray:
    """uint16 `[rows, columns, channels]` of grey or colour, with or without transparency."""
    colours = np.asarray(COLOUR).astype(np.uint16) * 257 if channels > 2 else DEEP[..., None]
    alpha = np.asarray(ALPHA).astype(np.uint16)[..., None] * 257
    return np.concatenate([colours, alpha], -1) if channels in (2, 4) else colours


def planes(image: Image.Image) -> np.ndarray:
    return np.moveaxis(np.asarray(image), -1, 0)


def files_of(*packages: str) -> list[Path]:
    """Images of installed packages."""
    found = []
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or [] if spec else []:
            found += [path for path in Path(folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(found)


SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp")

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
    "PNG 1 bit": lambda: few_bits(1),
    "PNG 2 bits": lambda: few_bits(2),
    "PNG 4 bits": lambda: few_bits(4),
    "PNG grey": lambda: encode(GREY, "PNG"),
    "PNG grey with a transparent grey": lambda: encode(GREY, "PNG", transparency=150),
    "PNG grey and alpha": lambda: encode(with_alpha(GREY), "PNG"),
    "PNG colour": lambda: encode(COLOUR, "PNG"),
    "PNG colour with a transparent colour": lambda: encode(FEW, "PNG", transparency=FEW.getpixel((48, 40))),
    "PNG colour and alpha": lambda: encode(with_alpha(COLOUR), "PNG"),
    "PNG palette": lambda: encode(COLOUR.quantize(200), "PNG"),
    "PNG palette of 4 bits": lambda: encode(FEW.quantize(16), "PNG"),
    "PNG palette with a transparent colour": lambda: encode(FEW.quantize(16), "PNG", transparency=3),
    "PNG palette with alpha": lambda: encode(FEW.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
    "GIF": lambda: encode(GREY, "GIF"),
    "GIF colour": lambda: encode(COLOUR.quantize(200), "GIF", interlace=1),
    "GIF not interlaced": lambda: encode(COLOUR.quantize(200), "GIF", interlace=0),
    "GIF transparent": lambda: encode(FEW.quantize(16), "GIF", transparency=3),
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
    "TIFF grey and alpha": lambda: encode(with_alpha(GREY), "TIFF"),
    "TIFF colour and alpha": lambda: encode(with_alpha(COLOUR), "TIFF"),
    "TIFF CMYK": lambda: encode(COLOUR.convert("CMYK"), "TIFF"),
    "TIFF palette": lambda: encode(COLOUR.quantize(200), "TIFF"),
    "TIFF with premultiplied alpha": lambda: tifffile(premultiplied(), extrasamples=["assocalpha"]),
    "TIFF 32-bit float": lambda: tifffile(np.asarray(GREY).astype(np.float32) / 255),
    **{
        f"TIFF {compression}": lambda compression=compression: encode(COLOUR, "TIFF", compression=compression)
        for compression in ("jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd")
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
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            byteorder=order,
        )
        for channels in (1, 2, 3, 4)
        for order in "<>"
    },
    **{
        f"{form} orientation {orientation}": lambda form=form, orientation=orientation: turned(form, orientation)
        for form, orientations in {"JPEG": range(1, 9), "PNG": (3, 6), "TIFF": (3, 6), "WEBP": (3, 6)}.items()
        for orientation in orientations
    },
}


def rendered(source: Path, folder: Path) -> bytes:
    """A PNG of 8 bits without transparency, upright, as libvips makes it."""
    # A thumbnail that is never smaller than the image: one command turns it and converts its colours.
    upright, opaque = folder / "upright.png", folder / "opaque.png"
    run("vipsthumbnail", source, "--size", "9999x9999>", "--output", f"{upright}[strip]")
    with Image.open(upright) as image:
        if image.mode not in ("LA", "RGBA"):
            return upright.read_bytes()
    run("vips", "flatten", upright, opaque)
    return opaque.read_bytes()


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def assert_alike(name: str, source: Path, folder: Path) -> None:
    ours, theirs = (decode(data, SIZE).astype(int) for data in (source.read_bytes(), rendered(source, folder)))
    # Listed images must differ, so that outdated entries are found.
    assert (np.abs(ours - theirs).mean() < TOLERANCE) == (name not in OTHERWISE)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_every_layout_is_rendered_alike(name: str, tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(IMAGES[name]())

    assert_alike(name, source, tmp_path)


@pytest.mark.parametrize("source", files_of("skimage", "sklearn"), ids=lambda path: path.name)
def test_a_file_of_an_installed_package_is_rendered_alike(source: Path, tmp_path: Path) -> None:
    if source.name in REFUSED:
        with pytest.raises(REFUSED[source.name]):
            decode(source.read_bytes(), SIZE)
    else:
        assert_alike(source.name, source, tmp_path)
