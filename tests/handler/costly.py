"""Builders of files whose decoding costs far more than their size suggests. The arguments multiply the cost.

The defaults make a small and harmless file. `tests.handler.cost_search` searches for the costliest arguments.
"""

import io
import lzma
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

from tests.handler.images import encode, phantom, png_chunk


def tall_tiles(number: int = 3000) -> bytes:
    """A TIFF of 16 rows whose tiles have two million: each takes a fiftieth of a second, and little memory."""
    return tiff(16 * number, 16, tile=(16, 1_999_984), compression=8)


def repeated_scans(width: int, height: int, repeats: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each one processes the whole image."""
    whole = encode(phantom(64, 64).resize((width, height)), progressive=True)
    last = whole.rindex(b"\xff\xc4")  # the last scan starts with its Huffman table
    return whole[:-2] + whole[last:-2] * repeats + whole[-2:]


def swelling_png(width: int, height: int, mode: str = "RGBA") -> bytes:
    """An image of one colour, which is small as a file and large in memory."""
    return encode(Image.new(mode, (width, height), "grey"), "PNG", compress_level=9)


def jpeg(
    width: int = 64,
    height: int = 64,
    components: int = 1,
    *,
    sampling: int = 0x11,
    frame: int = 0xC2,
    scans: int = 1,
    spectral: tuple[int, int] = (1, 63),
    restart: int = 0,
    segments: tuple[int, int, int] = (0xE1, 0, 0),
    tables: int = 0,
    fill: bytes = b"\0",
    length: int = 16,
) -> bytes:
    """Build a JPEG from its segments.

    Args:
        sampling: of the first component, as the two nibbles of its header.
        frame: the marker: 0xC0 baseline, 0xC2 progressive, 0xC9 and 0xCA the same with arithmetic coding.
        scans: of one component each, after the first one, which has the DC values of all.
        spectral: first and last coefficient of these.
        restart: interval, in blocks.
        segments: marker, number and size of further segments at the front.
        tables: how often the Huffman tables are defined.
        fill: what the compressed data consist of.
        length: of the compressed data of a scan.
    """
    marker, number, size = segments
    head = b"\xff\xd8" + _segment(marker, b"Exif\0\0".ljust(size, b"\0")) * number + _segment(0xDB, b"\0" + b"\1" * 64)
    parts = b"".join(bytes([c + 1, sampling if c == 0 else 0x11, 0]) for c in range(components))
    head += _segment(frame, struct.pack(">BHHB", 8, height, width, components) + parts)
    counts = bytes([0, 2, *[0] * 14])
    for kind in (0x00, 0x10):
        head += _segment(0xC4, bytes([kind]) + counts + b"\0\1") * max(1, tables)
    head += _segment(0xDD, struct.pack(">H", restart)) if restart else b""
    sequential = frame in (0xC0, 0xC1, 0xC9)
    data = (fill * length)[:length]
    body = _scan(range(1, components + 1), (0, 63) if sequential else (0, 0), 0, 0) + data
    for number in range(scans - 1):
        low = max(0, 13 - number // components)
        high = 0 if number < components else low + 1
        body += _scan([number % components + 1], spectral, high, low) + data
    return head + body + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _scan(components: Sequence[int], spectral: tuple[int, int], high: int, low: int) -> bytes:
    which = b"".join(bytes([component, 0]) for component in components)
    return _segment(0xDA, bytes([len(components)]) + which + bytes([*spectral, high << 4 | low]))


def png(
    width: int = 64,
    height: int = 64,
    depth: int = 8,
    colour: int = 0,
    *,
    interlaced: bool = False,
    filter_type: int = 0,
    piece: int = 1 << 20,
    chunks: Sequence[tuple[bytes, bytes, int]] = (),
    inflated: int | None = None,
) -> bytes:
    """A PNG of zeros.

    Args:
        filter_type: of each row, 0 to 4.
        piece: bytes of compressed data in one IDAT chunk.
        chunks: name, content and number of further ones before the data.
        inflated: bytes of pixels, if not as many as belong there.
    """
    row = (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8
    rows = bytes([filter_type]) + bytes(row)
    packer, packed = zlib.compressobj(1), b""
    total = min(height * (row + 1), 300 << 20) if inflated is None else inflated
    block = rows * max(1, (1 << 20) // len(rows))
    for at in range(0, total, len(block)):
        packed += packer.compress(block[: total - at])
    packed += packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = png_chunk(b"IHDR", header)
    for name, content, number in chunks:
        body += png_chunk(name, content) * number
    if colour == 3:
        body += png_chunk(b"PLTE", bytes(768))
    body += b"".join(png_chunk(b"IDAT", packed[at : at + piece]) for at in range(0, len(packed), piece))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def tiff(
    width: int = 64,
    height: int = 64,
    *,
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    segments: int | None = None,
    compression: int = 1,
    bits: int = 8,
    samples: int = 1,
    planar: int = 1,
    photometric: int = 1,
    data: bytes | None = None,
    tags: Sequence[tuple[int, int, int, bytes]] = (),
) -> bytes:
    """A TIFF whose strips or tiles all share the same data.

    Args:
        tile: width and height of a tile; None for strips.
        rows: of a strip.
        segments: strips or tiles, if not as many as belong there.
        data: of one strip or tile; None for zeros, compressed.
        tags: further ones: number, type, count and value.
    """
    wide, tall = tile or (width, rows or height)
    if data is None:
        data = zeros(wide, tall, compression, bits, samples if planar == 1 else 1)
    across, down = -(-width // wide), -(-height // tall)
    number = segments or across * down * (samples if planar == 2 else 1)
    number = max(1, min(number, 1 << 20))
    place, size = (324, 325) if tile else (273, 279)
    found = {
        256: (4, 1, struct.pack("<L", width)),
        257: (4, 1, struct.pack("<L", height)),
        258: (3, samples, struct.pack("<H", bits) * samples),
        259: (3, 1, struct.pack("<H", compression)),
        262: (3, 1, struct.pack("<H", photometric)),
        277: (3, 1, struct.pack("<H", samples)),
        284: (3, 1, struct.pack("<H", planar)),
        place: (4, number, struct.pack("<L", 8) * number),
        size: (4, number, struct.pack("<L", len(data)) * number),
    }
    found |= {322: (4, 1, struct.pack("<L", wide)), 323: (4, 1, struct.pack("<L", tall))} if tile else {}
    found |= {} if tile else {278: (4, 1, struct.pack("<L", tall))}
    found |= {tag: (kind, count, value) for tag, kind, count, value in tags}
    body = data + bytes(len(data) % 2)
    entries = b""
    for tag, (kind, count, value) in sorted(found.items()):
        if len(value) > 4:
            value, body = struct.pack("<L", 8 + len(body)), body + value + bytes(len(value) % 2)
        entries += struct.pack("<HHL", tag, kind, count) + value.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<L", 8 + len(body)) + body + struct.pack("<H", len(found)) + entries + bytes(4)


def zeros(width: int, height: int, compression: int, bits: int, samples: int) -> bytes:
    """Black pixels as a TIFF compresses them, of at most 64 MB."""
    count = min((width * bits * samples + 7) // 8 * height, 64 << 20)
    match compression:
        case 8 | 32946:
            return zlib.compress(bytes(count), 1)
        case 34925:
            return lzma.compress(bytes(count), preset=1)
        case 32773:
            return b"\x81\0" * (count // 128 + 1)
        case 5:
            file = io.BytesIO(
                encode(Image.new("L", (min(count, 60_000), count // 60_000 + 1)), "TIFF", compression="tiff_lzw")
            )
            with Image.open(file) as image:
                at, size = image.tag_v2[273][0], image.tag_v2[279][0]
            return file.getvalue()[at : at + size]
        case 7:
            return jpeg(min(width, 65_500), min(height, 65_500), frame=0xC0)
        case 1:
            return bytes(min(count, 4 << 20))
        case _:
            return bytes(64)


def gif(
    width: int = 64, height: int = 64, *, frames: int = 1, block: int = 255, inner: tuple[int, int] | None = None
) -> bytes:
    """A GIF of one colour: `block` bytes in each sub-block, `inner` the size of its frames."""
    source = encode(Image.new("L", inner or (width, height)), "GIF")
    start = source.index(b"\x2c", 13 + 768 if source[10] & 0x80 and source[10] & 7 == 7 else 13)
    frame, at = source[start : start + 11], start + 11
    data = b""
    while source[at]:
        data += source[at + 1 : at + 1 + source[at]]
        at += 1 + source[at]
    cut = b"".join(bytes([len(part)]) + part for n in range(0, len(data), block) for part in [data[n : n + block]])
    head = source[:6] + struct.pack("<HH", width, height) + source[10:start]
    return head + (frame + cut + b"\0") * frames + b";"


def bmp(
    width: int = 64, height: int = 64, *, bits: int = 8, compression: int = 1, data: bytes = b"\0\0", repeat: int = 1
) -> bytes:
    """A BMP whose run-length data repeat: by default runs of nothing."""
    offset = 14 + 40 + 1024
    pixels = data * repeat
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + bytes(1024) + pixels


def webp(width: int = 64, height: int = 64, *, chunk: bytes = b"EXIF", size: int = 0, **options: object) -> bytes:
    """A WebP by Pillow, with a further chunk."""
    extra = {"exif": bytes(size)} if chunk == b"EXIF" and size else {"icc_profile": bytes(size)} if size else {}
    return encode(Image.new("RGB", (width, height)), "WEBP", **extra, **options)


def costly_files() -> dict[str, bytes]:
    """Files that cost more than a second of CPU time, or more memory than one image may use, by their cause."""
    from tests.handler.costly_dicom import JPEG_2000, dicom, jpeg_2000, nested_items

    side = 5600
    layers = jpeg_2000(side, side, layers=65_535, precincts=b"\x55")
    shared = jpeg(3968, 1, frame=0xCA, scans=99)
    return {
        "scans of a JPEG": jpeg(side, side, 3, frame=0xC2, scans=5000),
        "arithmetic scans": jpeg(side, side, 4, frame=0xCA, scans=400),
        "strips of a TIFF": tiff(3968, 6000, rows=1, compression=7, data=shared),
        "tall tiles": tall_tiles(),
        "layers of a DICOM": dicom(layers, JPEG_2000, rows=side, columns=side),
        "items of a DICOM": nested_items(),
        "runs of a BMP": bmp(1, 8_000_000, data=b"\1\1", repeat=8_000_000),
    }
