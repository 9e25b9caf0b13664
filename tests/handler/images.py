"""Synthetic images for tests, in all formats."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

XRAYS = Path(__file__).parents[3] / "shared" / "data" / "chest-xray" / "test"
"""Real X-rays, if this machine has them."""


def phantom(width: int = 96, height: int = 80, *, seed: int = 0) -> Image.Image:
    """A simple chest X-ray: two dark lungs in a bright body, with noise."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    body = 190 * np.exp(-((x / 0.9) ** 4) - (y / 1.1) ** 4)
    lungs = sum(120 * np.exp(-(((x - side) / 0.28) ** 2) - (y / 0.6) ** 2) for side in (-0.42, 0.42))
    noise = np.random.default_rng(seed).normal(0, 4, (height, width))
    return Image.fromarray((body - lungs + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def jpeg(**options: Any) -> bytes:
    return encode(phantom(), "JPEG", **options)


def png(image: Image.Image | None = None) -> bytes:
    return encode(image or phantom(), "PNG")


def noise() -> bytes:
    """An image that is clearly not an X-ray."""
    return png(Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)))


def animation() -> bytes:
    return encode(phantom(), "GIF", save_all=True, append_images=[phantom(seed=1)])


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of a few hundred bytes whose header has an enormous size."""
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(100_000))
    chunks = {b"IHDR": header, b"IDAT": pixels, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks.items())


def png_chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


def deep_png(values: np.ndarray, *, interlaced: bool = False, **chunks: bytes) -> bytes:
    """A PNG of 16 bits per channel from uint16 `[rows, columns, channels]`; `chunks` go before the pixels."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([16, colour, 0, 0, interlaced])
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\1" + difference_to_the_left(row)
        for y, x, down, right in (passes if interlaced else [(0, 0, 1, 1)])
        for row in values[y::down, x::right]
        if row.size
    )
    parts = {b"IHDR": header, **{name.encode(): content for name, content in chunks.items()}}
    parts |= {b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts.items())


def difference_to_the_left(row: np.ndarray) -> bytes:
    """PNG's filter "Sub" over big-endian samples `[columns, channels]`."""
    raw = np.frombuffer(row.astype(">u2").tobytes(), np.uint8).reshape(len(row), -1)
    return (raw - np.vstack([raw[:1] * 0, raw[:-1]])).tobytes()


def tiff(
    pixels: np.ndarray, *, order: str = "<", big: bool = False, tags: dict[int, tuple[int, ...]] | None = None
) -> bytes:
    """An uncompressed grey TIFF in one tile. `tags` replace or add: number to type, count and value."""
    height, width = pixels.shape
    word, entry, head = ("Q", "HHQ", 16) if big else ("I", "HHI", 8)
    found = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, pixels.itemsize * 8),
        262: (3, 1, 1),
        277: (3, 1, 1),
        322: (4, 1, width),
        323: (4, 1, height),
        324: (4, 1, 0),
        325: (4, 1, pixels.nbytes),
    } | (tags or {})
    start = head + struct.calcsize("<Q" if big else "<H") + (20 if big else 12) * len(found) + (8 if big else 4)
    found[324] = (4, 1, start)
    directory = struct.pack(order + ("Q" if big else "H"), len(found))
    for tag, (kind, count, value) in sorted(found.items()):
        content = struct.pack(order + {3: "H", 4: "I", 16: "Q"}[kind], value)
        directory += struct.pack(order + entry, tag, kind, count) + content.ljust(8 if big else 4, b"\0")
    magic = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
    header = magic + (struct.pack(order + "HHQ", 8, 0, head) if big else struct.pack(order + "I", head))
    return header + directory + struct.pack(order + word, 0) + pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()


def tifffile(values: np.ndarray, **options: Any) -> bytes:
    """An uncompressed TIFF of the library tifffile, for layouts that Pillow does not write."""
    import tifffile as library

    file = io.BytesIO()
    kind = "rgb" if values.ndim == 3 and values.shape[-1] > 2 else "minisblack"
    layout = {"planarconfig": "contig"} if values.ndim == 3 else {}
    library.imwrite(file, values, **({"photometric": kind} | layout | options))
    return file.getvalue()


def dicom(pixels: np.ndarray | None = None, **attributes: Any) -> bytes:
    """An uncompressed DICOM file. Attributes by keyword replace or, as None, remove what is there."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    pixels = np.asarray(phantom()).astype(np.uint16) * 16 if pixels is None else pixels
    file = Dataset()
    file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    file.SOPInstanceUID = "1.2.3.4"
    file.PatientName = "Doe^Jane"
    file.PatientID = "PATIENT-4711"
    file.Rows, file.Columns = pixels.shape[-2:]
    file.SamplesPerPixel = 1
    file.PhotometricInterpretation = "MONOCHROME2"
    file.BitsAllocated = pixels.itemsize * 8
    file.BitsStored = file.BitsAllocated
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    for name, value in attributes.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    target = io.BytesIO()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(target, enforce_file_format=True)
    return target.getvalue()
