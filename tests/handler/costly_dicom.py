"""Builders of DICOM files whose decoding costs far more than their size suggests; see `tests.handler.costly`."""

import struct
import zlib
from collections.abc import Sequence

RAW, DEFLATED, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG, JPEG_LOSSLESS, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 70, 81, 91))

_LONG = ("OB", "OW", "SQ", "UN", "UT")


def element(group: int, number: int, kind: str, value: bytes, length: int | None = None) -> bytes:
    """An element in explicit little-endian form. `length` replaces its true length."""
    value += bytes(len(value) % 2)
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", group, number, kind.encode())
    return head + (struct.pack("<HI", 0, size) if kind in _LONG else struct.pack("<H", size & 0xFFFF)) + value


def sequence(group: int, number: int, items: Sequence[bytes]) -> bytes:
    """A sequence of items of undefined length."""
    body = b"".join(b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0" for item in items)
    return element(group, number, "SQ", body + b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF)


def dicom(
    pixels: bytes,
    syntax: str = RAW,
    *,
    rows: int = 64,
    columns: int = 64,
    samples: int = 1,
    bits: int = 8,
    photometric: str | None = None,
    frames: int = 0,
    extra: bytes = b"",
    late: bytes = b"",
    fragments: int = 1,
) -> bytes:
    """A DICOM file.

    Args:
        pixels: as they are stored; a codestream for the compressed transfer syntaxes.
        extra: elements before group 0028.
        late: elements between group 0028 and the pixels.
        fragments: number of fragments; all except that of the pixels are empty.
    """
    kind = photometric or ("MONOCHROME2" if samples == 1 else "RGB")
    number = lambda tag, value: element(0x28, tag, "US", struct.pack("<H", value))  # noqa: E731
    body = extra + number(2, samples) + element(0x28, 4, "CS", kind.encode().ljust(16)[: len(kind) + len(kind) % 2])
    body += number(6, 0) if samples > 1 else b""
    body += element(0x28, 8, "IS", f"{frames:04}".encode()) if frames else b""
    allocated = 8 if bits <= 8 else 16
    body += number(0x10, rows) + number(0x11, columns)
    body += number(0x100, allocated) + number(0x101, bits) + number(0x102, bits - 1) + number(0x103, 0) + late
    if syntax in (RAW, DEFLATED):
        body += element(0x7FE0, 0x10, "OB" if allocated == 8 else "OW", pixels)
    else:
        item = lambda data: b"\xfe\xff\x00\xe0" + struct.pack("<I", len(data)) + data  # noqa: E731
        parts = item(b"") + item(pixels + bytes(len(pixels) % 2)) + item(b"") * (fragments - 1)
        body += element(0x7FE0, 0x10, "OB", parts + b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF)
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, wbits=-15)
        body = packer.compress(body) + packer.flush()
    meta = element(2, 0x10, "UI", syntax.encode())
    meta = element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    return bytes(128) + b"DICM" + meta + body


def nested_items(number: int = 2000, depth: int = 60) -> bytes:
    """A deflated DICOM file with many items, each with nested sequences."""
    item = b""
    for _ in range(depth):
        item = sequence(0x11, 0x1001, [item])
    return dicom(bytes(64 * 64), DEFLATED, extra=sequence(0x11, 0x1002, [item] * number))


def jpeg_2000(
    width: int = 64,
    height: int = 64,
    *,
    components: int = 1,
    bits: int = 8,
    tile: tuple[int, int] | None = None,
    layers: int = 1,
    levels: int = 0,
    precincts: bytes = b"",
    block: tuple[int, int] = (4, 4),
    progression: int = 0,
    subsampling: int = 1,
    exponent: int = 8,
    changes: int = 0,
    parts: int = 1,
    transform: int = 1,
    style: int = 0,
    body: bytes = b"\0",
) -> bytes:
    """A JPEG 2000 codestream.

    Args:
        precincts: their exponents, a byte for each resolution; none for the largest.
        block: exponents of a code-block, less 2.
        changes: of the progression order (POC).
        parts: tile-parts, all of the first tile.
        style: of the code-blocks.
        body: the packets of a tile-part.
    """
    across, down = tile or (width, height)
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, across, down, 0, 0, components)
    size += bytes([bits - 1, subsampling, subsampling]) * components
    coding = bytes([bool(precincts), progression]) + struct.pack(">H", layers)
    coding += bytes([int(components == 3), levels, *block, style, transform])
    coding += precincts.ljust(levels + 1, precincts[-1:]) if precincts else b""
    quantization = bytes([2 << 5 if transform else (2 << 5) | 2])
    quantization += (bytes([min(31, exponent) << 3]) if transform else struct.pack(">H", exponent << 11)) * (
        3 * levels + 1
    )
    head = b"\xff\x4f" + _marked(0x51, size) + _marked(0x52, coding) + _marked(0x5C, quantization)
    if changes:
        change = struct.pack(">BBHBBB", 0, 0, layers, levels + 1, min(components, 255), progression)
        head += _marked(0x5F, change * min(changes, 9000))
    part = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14 + len(body), 0, 0) + b"\xff\x93" + body
    part = part[:10] + bytes([0, min(parts, 255)]) + part[12:]
    return head + part * parts + b"\xff\xd9"


def _marked(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_ls(
    width: int = 64, height: int = 64, *, components: int = 1, bits: int = 8, scans: int = 1, body: bytes = b"\0" * 16
) -> bytes:
    """A JPEG-LS codestream, with a scan for each component, or as many as are asked for."""
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    head = b"\xff\xd8" + _marked(0xF7, struct.pack(">BHHB", bits, height, width, components) + parts)
    scan = lambda number: _marked(0xDA, bytes([1, number % components + 1, 0, 0, 0, 0])) + body  # noqa: E731
    return head + b"".join(map(scan, range(scans))) + b"\xff\xd9"


def jpeg_lossless(
    width: int = 64,
    height: int = 64,
    *,
    components: int = 1,
    bits: int = 8,
    predictor: int = 1,
    body: bytes = b"\0" * 16,
) -> bytes:
    """A lossless JPEG (process 14) in which each difference is zero."""
    parts = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    head = b"\xff\xd8" + _marked(0xC3, struct.pack(">BHHB", bits, height, width, components) + parts)
    head += _marked(0xC4, bytes([0, 0, 2, *[0] * 14]) + b"\0\x01")
    which = b"".join(bytes([number + 1, 0]) for number in range(components))
    return head + _marked(0xDA, bytes([components]) + which + bytes([predictor, 0, 0])) + body + b"\xff\xd9"


def run_lengths(segments: int, data: bytes, repeat: int) -> bytes:
    """A frame in DICOM's run lengths, whose segments share their data."""
    header = struct.pack("<16I", segments, *[64] * segments, *[0] * (15 - segments))
    return header + data * repeat
