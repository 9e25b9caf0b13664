"""What the headers of a picture say, where its decoder would spend memory and time before looking."""

import struct

from handler.errors import InputTooLarge, UnreadableImage, UnsupportedFormat

MAX_SCANS = 100
"""A progressive JPEG has about ten. Each passes over the whole picture, and takes no more than 70 bytes to write."""

MAX_TIFF_VALUES = 65_536
"""In one tag of a TIFF, such as the places of its strips: Pillow makes an object of each when it opens the file."""

MAX_PROFILES = 8
"""Colour profiles in a PNG, which may have one. Each inflates to a megabyte, and the last one counts."""

_START_OF_SCAN = b"\xff\xda"

_TIFF_VERSIONS = (b"*\0", b"\0*", b"+\0", b"\0+")  # Pillow takes them in either byte order
_TIFF_BYTES = (1, 2, 7)  # types of which Pillow makes one object, however long
_TIFF_NUMBERS = {3: "H", 4: "L", 16: "Q"}
_TILE_WIDTH, _TILE_LENGTH = 322, 323


def refuse_costly_header(data: bytes, max_pixels: int) -> None:
    """Look at a file before Pillow opens it, which reads far more than one would think.

    Raises:
        InputTooLarge: a TIFF with tiles of more than `max_pixels` or with tags of more than `MAX_TIFF_VALUES`, or a PNG
            with more than `MAX_PROFILES`.
        UnsupportedFormat: a TIFF in which Pillow and its TIFF library see different things.
        UnreadableImage: a TIFF whose tile size is no number.
        struct.error: a TIFF that breaks off.
    """
    if data[:2] in (b"II", b"MM") and data[2:4] in _TIFF_VERSIONS:
        _refuse_costly_tags(data, max_pixels)
    elif data.startswith(b"\x89PNG") and data.count(b"iCCP") > MAX_PROFILES:
        raise InputTooLarge(f"the PNG has more than {MAX_PROFILES} colour profiles: save it again without")


def _refuse_costly_tags(tiff: bytes, max_pixels: int) -> None:
    if tiff[:4] == b"MM\0+":
        raise UnsupportedFormat("BigTIFF in big-endian order is not read here: save it as a usual TIFF, or as PNG")
    order = "<" if tiff[:2] == b"II" else ">"
    big = tiff[2] == ord("+")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    [start] = struct.unpack_from(order + ("Q" if big else "L"), tiff, 8 if big else 4)
    [count] = struct.unpack_from(order + ("Q" if big else "H"), tiff, start)
    if count > MAX_TIFF_VALUES:
        raise InputTooLarge(f"the TIFF has {count:,} tags, the limit is {MAX_TIFF_VALUES:,}: save it again")
    start += 8 if big else 2
    end = start + min(count, (len(tiff) - start) // entry.size) * entry.size
    tile = {_TILE_WIDTH: 1, _TILE_LENGTH: 1}
    for tag, kind, values, value in entry.iter_unpack(tiff[start:end]):
        if values > MAX_TIFF_VALUES and kind not in _TIFF_BYTES:
            raise InputTooLarge(
                f"the TIFF has {values:,} values in its tag {tag}, the limit is {MAX_TIFF_VALUES:,}: save it again "
                "with larger strips or tiles"
            )
        if tag in tile:
            if values != 1 or kind not in _TIFF_NUMBERS or (kind == 16 and not big):
                raise UnreadableImage("the TIFF does not say how large its tiles are: save it again")
            # Of several entries for one tag some readers take the first, some the last.
            tile[tag] = max(tile[tag], *struct.unpack_from(order + _TIFF_NUMBERS[kind], value))
    if tile[_TILE_WIDTH] * tile[_TILE_LENGTH] > max_pixels:
        raise InputTooLarge(
            f"the TIFF has tiles of {tile[_TILE_WIDTH]} x {tile[_TILE_LENGTH]} pixels, the limit is {max_pixels:,} in "
            "all: save it again with smaller ones"
        )


def refuse_many_scans(jpeg: bytes) -> None:
    """A few megabytes of empty scans over a large picture would keep a decoder busy for hours.

    Raises:
        InputTooLarge: there are more than `MAX_SCANS`.
    """
    # These two bytes stand for nothing else in compressed data of the JPEG family.
    scans = jpeg.count(_START_OF_SCAN)
    if scans > MAX_SCANS:
        raise InputTooLarge(f"the JPEG has {scans:,} scans, the limit is {MAX_SCANS}: save it again")
