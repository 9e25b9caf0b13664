"""What the header of a compressed picture says, where its decoder would spend memory and time before looking."""

import struct

from handler.errors import InputTooLarge

MAX_SCANS = 100
"""A progressive JPEG has about ten. Each passes over the whole picture, and takes no more than 70 bytes to write."""

_START_OF_SCAN = b"\xff\xda"


def refuse_many_scans(jpeg: bytes) -> None:
    """A few megabytes of empty scans over a large picture would keep a decoder busy for hours.

    Raises:
        InputTooLarge: there are more than `MAX_SCANS`.
    """
    # These two bytes stand for nothing else in compressed data of the JPEG family.
    scans = jpeg.count(_START_OF_SCAN)
    if scans > MAX_SCANS:
        raise InputTooLarge(f"the JPEG has {scans:,} scans, the limit is {MAX_SCANS}: save it again")


def stream_shape(stream: bytes) -> tuple[int, int] | None:
    """Width and height as the header of a JPEG, JPEG-LS or JPEG 2000 stream gives them; None if it gives none."""
    start = stream.find(b"\xff\x4f\xff\x51")  # JPEG 2000 may come in a box
    if start >= 0 and stream[:2] != b"\xff\xd8":
        right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
        return right - left, bottom - top
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">2H", stream, at + 5)
            return width, height
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None
