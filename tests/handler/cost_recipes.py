"""Build files for `tests.handler.cost_search`: a recipe for each format asks for numbers and choices, its genes."""

import random
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from handler.settings import Settings
from tests.handler import costly, costly_dicom

BODY_LIMIT = Settings().max_body_bytes


class Genes:
    """Answers a recipe's questions. The same question gets the same answer again."""

    def __init__(self, dice: random.Random, known: dict[str, float] | None = None) -> None:
        self._dice = dice
        self.known = dict(known or {})

    def _fraction(self, name: str) -> float:
        if name not in self.known:
            # The ends of the range are the most likely to cause errors.
            self.known[name] = self._dice.choice((0.0, 1.0)) if self._dice.random() < 0.3 else self._dice.random()
        return self.known[name]

    def number(self, name: str, low: int, high: int) -> int:
        """A number from `low` to `high`, uniform on a logarithmic scale."""
        shift = 1 - low
        return max(low, min(high, round((high + shift) ** self._fraction(name)) - shift))

    def one_of(self, name: str, choices: Any) -> Any:
        choices = list(choices)
        return choices[min(int(self._fraction(name) * len(choices)), len(choices) - 1)]

    def changed(self, other: Self | None = None) -> "Genes":
        """A child: some genes of another file, some new random ones, some slightly changed."""
        known = dict(self.known)
        if other and self._dice.random() < 0.3:
            known |= {name: value for name, value in other.known.items() if self._dice.random() < 0.5}
        for name in self._dice.sample(sorted(known), min(len(known), self._dice.choice((1, 1, 2, 3)))):
            if self._dice.random() < 0.5:
                known[name] = min(1.0, max(0.0, known[name] + self._dice.gauss(0, 0.1)))
            else:
                del known[name]
        return Genes(self._dice, known)


def _sides(genes: Genes, most: int = 32_000_000, longest: int = 65_500) -> tuple[int, int]:
    """Width and height, mostly within the limit on pixels."""
    width = genes.number("width", 1, longest)
    pixels = genes.one_of("pixels", (most - most // 50, most // 100, most // 4, most // 100, most, most * 2))
    return width, max(1, min(longest, pixels // width))


def _fill(genes: Genes) -> bytes:
    return bytes(genes.one_of("fill", (b"\0", b"\xaa", b"\x55", b"\xfe", b"\xff\x00", b"\x01\x80", b"\xff\xd0")))


def _jpeg(genes: Genes, longest: int = 65_500) -> bytes:
    width, height = _sides(genes, longest=longest)
    if genes.one_of("Pillow", (True, *[False] * 5)):
        side = min(width, 3000)
        return costly.repeated_scans(side, min(height, 3000), genes.number("scans", 1, 2000))
    segments = genes.one_of("segments", (0, 0, 1, genes.number("number of segments", 0, 400_000)))
    return costly.jpeg(
        width,
        height,
        genes.one_of("components", (1, 3, 4)),
        sampling=genes.one_of("sampling", (0x11, 0x22, 0x44, 0x14, 0x41, 0x21)),
        frame=genes.one_of("frame", (0xC0, 0xC1, 0xC2, 0xC9, 0xCA, 0xC3)),
        scans=genes.number("scans", 1, 20_000),
        spectral=genes.one_of("spectral", ((1, 63), (1, 1), (0, 0), (63, 63), (0, 63))),
        restart=genes.number("restart", 0, 65_535),
        segments=(
            genes.one_of("marker", (0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xC4, 0xDB)),
            segments,
            genes.number("segment", 0, 60_000) if segments < 500 else 6,
        ),
        tables=genes.number("tables", 0, 10_000),
        fill=_fill(genes),
        length=genes.number("length", 1, 30_000_000) // genes.number("scans", 1, 20_000),
    )


def _png(genes: Genes) -> bytes:
    width, height = _sides(genes, longest=2_000_000)
    size = genes.number("swollen", 0, 100_000_000)
    name = genes.one_of("chunk", (b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"tRNS", b"fcTL", b"acTL", b"gAMA"))
    packed = zlib.compress(bytes(size), 9)
    content = {
        b"iCCP": b"a\0\0" + packed,
        b"zTXt": b"a\0\0" + packed,
        b"iTXt": b"a\0\1\0\0\0" + packed,
    }.get(name, bytes(genes.number("plain", 0, 100_000)))
    number = genes.one_of("chunks", (0, 1, genes.number("number of chunks", 0, 1_000_000)))
    return costly.png(
        width,
        height,
        genes.one_of("depth", (1, 2, 4, 8, 16)),
        genes.one_of("colour", (0, 2, 3, 4, 6)),
        interlaced=genes.one_of("interlaced", (False, True)),
        filter_type=genes.one_of("filter", range(6)),
        piece=genes.number("piece", 1, 1 << 20),
        chunks=[(name, content, min(number, BODY_LIMIT // (len(content) + 12)))],
        inflated=genes.one_of("inflated", (None, None, None, 0)),
    )


def _tiff(genes: Genes) -> bytes:
    width, height = _sides(genes, longest=1_000_000)
    tiled = genes.one_of("tiled", (True, False))
    compression = genes.one_of("compression", (1, 2, 3, 4, 5, 6, 7, 8, 32773, 34925, 34676, 34677, 50000, 50001))
    tile = (16 * genes.number("tile width", 1, 4000), 16 * genes.number("tile height", 1, 125_000))
    data = None
    rows = genes.number("rows", 1, height)
    if compression == 7:
        wide, tall = tile if tiled else (width, rows)
        data = _jpeg(Genes(random.Random(0), {**genes.known, "width": 0.0}))[: BODY_LIMIT // 2]
        if genes.one_of("fitting", (True, False)):
            frame = genes.one_of("frame", (0xC0, 0xC2, 0xCA))
            scans = genes.number("scans", 1, 2000)
            data = costly.jpeg(min(wide, 65_500), min(tall, 65_500), frame=frame, scans=scans, fill=_fill(genes))
    tag = genes.one_of("tag", (34675, 700, 33723, 270, 34665, 320, 301, 40000))
    length = genes.one_of("tag length", (0, 0, genes.number("bytes of the tag", 8, 20_000_000)))
    return costly.tiff(
        width,
        height,
        tile=tile if tiled else None,
        rows=rows,
        segments=genes.one_of("segments", (None, None, None, 1, 65_000, 1_000_000)),
        compression=compression,
        bits=genes.one_of("bits", (1, 2, 4, 8, 12, 16, 32, 64)),
        samples=genes.one_of("samples", (1, 2, 3, 4, 5, 8, 100, 60_000)),
        planar=genes.one_of("planar", (1, 2)),
        photometric=genes.one_of("photometric", (0, 1, 2, 3, 5, 6, 8)),
        data=data,
        tags=[(tag, genes.one_of("tag type", (1, 2, 3, 5, 7, 10, 12)), length // 8, bytes(length))] if length else [],
    )


def _gif(genes: Genes) -> bytes:
    width, height = _sides(genes)
    inner = genes.one_of("inner", (None, (width, height), (1, 1), (width * 2 % 65_500 + 1, 500)))
    if inner and inner[0] * inner[1] > 64_000_000:
        inner = None
    block = genes.number("block", 1, 255)
    return costly.gif(width, height, frames=genes.number("frames", 1, 200_000), block=block, inner=inner)[:BODY_LIMIT]


def _bmp(genes: Genes) -> bytes:
    width, height = _sides(genes)
    data = bytes(genes.one_of("data", (b"\0\0", b"\0\1", b"\xff\1", b"\0\2\0\0", b"\0\2\1\0", b"\1\1")))
    return costly.bmp(
        width,
        height * genes.one_of("upside", (1, -1)),
        bits=genes.one_of("bits", (1, 4, 8, 16, 24, 32)),
        compression=genes.one_of("compression", (0, 1, 2, 3)),
        data=data,
        repeat=genes.number("repeat", 1, 15_000_000),
    )


def _webp(genes: Genes) -> bytes:
    width, height = _sides(genes, most=8_000_000, longest=16_383)
    size = genes.one_of("extra", (0, 0, genes.number("bytes of extra", 1, 20_000_000)))
    chunk = genes.one_of("chunk", (b"EXIF", b"ICCP"))
    return costly.webp(
        width, height, chunk=chunk, size=size, lossless=genes.one_of("lossless", (True, False)), method=0
    )


def _dicom(genes: Genes, syntax: str | None = None) -> bytes:
    columns, rows = _sides(genes)
    samples, bits = genes.one_of("samples", (1, 1, 3)), genes.one_of("bits", (8, 12, 16))
    syntax = syntax or genes.one_of(
        "syntax", ("RAW", "DEFLATED", "RLE", "JPEG", "JPEG_LOSSLESS", "JPEG_LS", "JPEG_2000")
    )
    match syntax:
        case "JPEG":
            pixels = _jpeg(Genes(random.Random(0), genes.known))
        case "JPEG_LOSSLESS":
            predictor = genes.one_of("predictor", range(8))
            body = _fill(genes) * genes.number("body", 1, 10_000_000)
            pixels = costly_dicom.jpeg_lossless(
                columns, rows, components=samples, bits=bits, predictor=predictor, body=body
            )
        case "JPEG_LS":
            body = _fill(genes) * genes.number("body", 1, 1_000_000)
            scans = min(genes.number("scans", 1, 100_000), BODY_LIMIT // len(body))
            pixels = costly_dicom.jpeg_ls(columns, rows, components=samples, bits=bits, scans=scans, body=body)
        case "JPEG_2000":
            pixels = _jpeg_2000(genes, columns, rows, samples, bits)
        case "RLE":
            data = bytes(genes.one_of("run", (b"\x81\0", b"\0\0", b"\x80", b"\x7f" + bytes(128))))
            repeat = genes.number("repeat", 1, 10_000_000) // len(data)
            pixels = costly_dicom.run_lengths(samples * (1 if bits == 8 else 2), data, repeat)
        case _:
            pixels = bytes(min(rows * columns * samples * (1 if bits == 8 else 2), BODY_LIMIT))
    value = genes.one_of("value", (b"1\\1", b"1\\", b"\0\0", b"\\", b"1e9", b"9" * 64))
    length = genes.number("value length", 1, 4_000_000)
    long_value = (value * length)[:length]
    kind = genes.one_of("kind", ("DS", "IS", "US", "OW", "UN", "LO", "UT"))
    group, number = genes.one_of(
        "tag",
        ((0x28, 0x1050), (0x28, 0x1051), (0x28, 0x1052), (0x28, 0x1201), (0x28, 0x3006), (0x28, 0x106), (0x11, 0x1010)),
    )
    many = costly_dicom.element(0x11, 0x1000, "LO", b"x") * genes.one_of(
        "elements", (0, 0, genes.number("number of elements", 0, 500_000))
    )
    item, depth = many[:100] if genes.one_of("full", (True, False)) else b"", genes.number("depth", 0, 3000)
    for _ in range(depth):
        item = costly_dicom.sequence(0x11, 0x1001, [item])
        if len(item) > 1_000_000:
            break
    most_items = max(1, 5_000_000 // (len(item) + 16))
    items = [item] * genes.one_of("items", (0, 0, genes.number("number of items", 0, most_items)))
    late = costly_dicom.element(group, number, kind, long_value)
    if genes.one_of("table", (True, False)):
        table = costly_dicom.element(0x28, 0x3002, "US", b"\0\0\0\0\x10\0") + costly_dicom.element(
            0x28, 0x3006, "OW", long_value
        )
        late = costly_dicom.sequence(0x28, 0x3010, [table] * genes.number("tables", 1, 1000 if length < 10_000 else 1))
    return costly_dicom.dicom(
        pixels,
        getattr(costly_dicom, syntax),
        rows=min(rows, 65_535),
        columns=min(columns, 65_535),
        samples=samples,
        bits=bits,
        photometric=genes.one_of(
            "photometric", (None, None, "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "MONOCHROME1")
        ),
        frames=genes.one_of("frames", (0, 0, 1, 2, 1000, 9999)),
        extra=many + (costly_dicom.sequence(0x11, 0x1002, items) if items else b""),
        late=late,
        fragments=genes.one_of("fragments", (1, 1, genes.number("number of fragments", 1, 1_000_000))),
    )


def _jpeg_2000(genes: Genes, width: int, height: int, components: int, bits: int) -> bytes:
    size = genes.number("precinct", 0, 15)
    body = _fill(genes) * genes.number("body", 1, 2_000_000)
    first = genes.number("block", 0, 8)
    return costly_dicom.jpeg_2000(
        width,
        height,
        components=genes.one_of("codestream components", (components, components, 1, 100, 16_384)),
        bits=bits,
        tile=genes.one_of("tile", (None, None, (128, 128), (1024, 16), (1, 1), (width, 1))),
        layers=genes.number("layers", 1, 65_535),
        levels=genes.number("levels", 0, 32),
        precincts=bytes(genes.one_of("precincts", (b"", b"\x55", bytes([size * 17]), b"\x66"))),
        block=(first, min(8 - first, genes.number("block height", 0, 8))),
        progression=genes.number("progression", 0, 4),
        exponent=genes.number("exponent", 0, 31),
        changes=genes.number("changes", 0, 9000),
        parts=min(genes.number("parts", 1, 10_000), 1 + BODY_LIMIT // (len(body) + 14)),
        transform=genes.one_of("transform", (0, 1)),
        style=genes.one_of("style", (0, 1, 4, 8, 63)),
        body=body,
    )


RECIPES: dict[str, Callable[[Genes], bytes]] = {
    "jpeg": _jpeg,
    "png": _png,
    "tiff": _tiff,
    "gif": _gif,
    "bmp": _bmp,
    "webp": _webp,
    "dicom": _dicom,
    "jpeg2000": partial(_dicom, syntax="JPEG_2000"),
}
