"""Of how many parts a picture's file is made. Pillow takes each of them apart in Python when it opens the file, before
anybody can look at what it found: a file of nothing but tiny ones would keep it busy for minutes."""

from collections.abc import Callable, Iterator
from itertools import islice

from PIL.JpegImagePlugin import MARKER

from handler.errors import InputTooLarge, UnreadableImage

MAX_PARTS = 1000
"""Segments of a JPEG before its first scan, chunks of a PNG, blocks of a GIF. Pictures have a dozen or two; ..."""

MEAN_PART = 128
"""... the sub-blocks of a large GIF, of 255 bytes each, are more: so many more may be as leave this mean of bytes."""

MAX_EXIF = 16
"""EXIF segments of a JPEG, which may have one: Pillow joins them one by one, copying all that it has each time."""


def refuse_many_parts(data: bytes) -> None:
    """Count the parts of a JPEG, PNG or GIF as Pillow would come by them: who counts otherwise can be shown others.
    What breaks off or makes no sense is left to the decoder to refuse.

    Raises:
        InputTooLarge: there are too many.
        UnreadableImage: see `_blocks`.
    """
    for start, walk in _WALKS.items():
        if data.startswith(start):
            most = MAX_PARTS + len(data) // MEAN_PART
            if sum(1 for _ in islice(walk(data), most + 1)) > most:
                raise InputTooLarge("the picture's file is made of far too many small parts: save it again")
    if data.startswith(_JPEG) and data.count(b"Exif\0\0") > MAX_EXIF:
        raise InputTooLarge(f"the JPEG has more than {MAX_EXIF} EXIF segments: save it again without")


def _segments(jpeg: bytes) -> Iterator[int]:
    """Places of the markers up to the first scan, and of the bytes between them that are passed over."""
    at = 2
    while at + 4 <= len(jpeg):
        yield at
        if jpeg[at] != 0xFF or jpeg[at + 1] in (0x00, 0xFF):
            at += 1
            continue
        marker = int.from_bytes(jpeg[at : at + 2])
        if marker == _START_OF_SCAN or marker not in MARKER:
            return
        _, _, content = MARKER[marker]
        at += 2
        if content is not None:
            at += max(2, int.from_bytes(jpeg[at : at + 2]))


def _chunks(png: bytes) -> Iterator[int]:
    at = 8
    while at + 8 <= len(png):
        yield at
        at += 12 + int.from_bytes(png[at : at + 4])


def _blocks(gif: bytes) -> Iterator[int]:
    """Places of the extensions, pictures and sub-blocks.

    Raises:
        UnreadableImage: an extension has no content; Pillow takes what follows for it.
    """
    at = 13 + _palette(gif, 10)
    while at < len(gif) and gif[at] != 0x3B:
        yield at
        if gif[at] == 0x21:
            label, first = gif[at + 1 : at + 2], gif[at + 2 : at + 3]
            second_at = at + 3 + int.from_bytes(first)
            second = gif[second_at : second_at + 1]
            if label != b"\xfe" and (first == b"\0" or (label == b"\xff" and second == b"\0")):
                raise UnreadableImage("the GIF has an extension without content: save it again")
            at += 2
        elif gif[at] == 0x2C:
            at += 11 + _palette(gif, at + 9)
        else:  # passed over
            at += 1
            continue
        while at < len(gif) and gif[at]:
            yield at
            at += 1 + gif[at]
        at += 1


def _palette(gif: bytes, flags_at: int) -> int:
    """Bytes of the table of colours that flags tell of."""
    flags = gif[flags_at] if flags_at < len(gif) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


_JPEG = b"\xff\xd8"
_START_OF_SCAN = 0xFFDA
_WALKS: dict[bytes, Callable[[bytes], Iterator[int]]] = {_JPEG: _segments, b"\x89PNG": _chunks, b"GIF8": _blocks}
