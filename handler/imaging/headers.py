"""What the headers of a picture say, where its decoder would spend memory and time before looking."""

import struct

from handler.errors import InputTooLarge, UnreadableImage

MAX_SCANS = 100
"""A progressive JPEG has about ten. Each passes over the whole picture, and takes no more than 70 bytes to write."""

MAX_TILES = 1000
"""Of a JPEG 2000 picture, whose decoder keeps books on every one. 4300 x 3500 pixels in tiles of 128 x 128 are 952."""

MIN_PRECINCT, MIN_BLOCK = 5, 8
"""Of a JPEG 2000 picture, likewise, as powers of two: precincts of 32 x 32, code-blocks of 256 samples. Usual are
64 x 64 and more of both; a large picture in precincts of 2 x 2 takes 8 GB."""

_START_OF_SCAN = b"\xff\xda"
_START_OF_JPEG = b"\xff\xd8"  # and of JPEG-LS
_START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"

_TILE_PART, _TILE_PART_DATA, _END = 0xFF90, 0xFF93, 0xFFD9
_STYLE, _STYLE_OF_COMPONENT = 0xFF52, 0xFF53
_JPEG_2000_SEGMENTS = bytes.fromhex("50515253555758595c5d5e5f6061636474757778")  # those that the decoder knows as well


def refuse_many_scans(jpeg: bytes) -> None:
    """A few megabytes of empty scans over a large picture would keep a decoder busy for hours.

    Raises:
        InputTooLarge: there are more than `MAX_SCANS`.
    """
    # These two bytes stand for nothing else in compressed data of the JPEG family.
    scans = jpeg.count(_START_OF_SCAN)
    if scans > MAX_SCANS:
        raise InputTooLarge(f"the JPEG has {scans:,} scans, the limit is {MAX_SCANS}: save it again")


def stream_shape(stream: bytes) -> tuple[int, int, int]:
    """Width, height and number of components as the header of a JPEG, JPEG-LS or JPEG 2000 codestream gives them.

    Raises:
        UnreadableImage: it is no such codestream, or gives none.
        InputTooLarge: JPEG 2000 with more than `MAX_TILES`, or in smaller parts than `MIN_PRECINCT` and `MIN_BLOCK`.
    """
    if stream.startswith(_START_OF_JPEG_2000):
        _refuse_small_parts(stream)
        return _jpeg_2000_shape(stream)
    at = 2 if stream.startswith(_START_OF_JPEG) else len(stream)
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width, components = struct.unpack_from(">2HB", stream, at + 5)
            return width, height, components
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise UnreadableImage(
        "the compressed pixels are no codestream of JPEG, JPEG-LS or JPEG 2000 (a whole JP2 file is none): export the "
        "picture again, or uncompressed"
    )


def _jpeg_2000_shape(stream: bytes) -> tuple[int, int, int]:
    right, bottom, left, top, tile_width, tile_height, tiles_left, tiles_top, components = struct.unpack_from(
        ">8IH", stream, 8
    )
    if not (tile_width and tile_height):
        raise UnreadableImage("the JPEG 2000 pixels come in tiles of no size: export the picture again")
    tiles = -((tiles_left - right) // tile_width) * -((tiles_top - bottom) // tile_height)
    if tiles > MAX_TILES:
        raise InputTooLarge(f"the JPEG 2000 picture has {tiles:,} tiles, the limit is {MAX_TILES:,}: export it again")
    return right - left, bottom - top, components


def _refuse_small_parts(stream: bytes) -> None:
    """Walk the headers of a JPEG 2000 picture and of its tile-parts, each of which may say how finely it is divided."""
    at, end = 2, 0
    while at + 12 <= len(stream):
        marker, length = struct.unpack_from(">HH", stream, at)
        if marker == _TILE_PART:
            [length_of_part] = struct.unpack_from(">I", stream, at + 6)
            end = at + length_of_part if length_of_part else len(stream)
        elif marker == _TILE_PART_DATA and at < end:
            at = end
            continue
        elif marker == _END:
            break
        elif marker >> 8 != 0xFF or marker & 0xFF not in _JPEG_2000_SEGMENTS:
            # Decoders look for the next marker then, each in its own way.
            raise UnreadableImage("the JPEG 2000 pixels have a header that is unknown here: export the picture again")
        elif marker in (_STYLE, _STYLE_OF_COMPONENT):
            style, divisions = (at + 4, at + 9) if marker == _STYLE else (at + 5, at + 6)
            precincts = stream[divisions + 5 : at + 2 + length] if stream[style] & 1 else b""
            block = stream[divisions + 1] + stream[divisions + 2] + 4  # their exponents are stored less 2
            if block < MIN_BLOCK or any(min(size & 15, size >> 4) < MIN_PRECINCT for size in precincts):
                raise InputTooLarge(
                    "the JPEG 2000 picture is cut into far too small precincts or code-blocks: export it with 64 x 64"
                )
        at += 2 + length
