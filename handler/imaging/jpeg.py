"""The segments of JPEG (ITU-T T.81, annex B) and JPEG-LS (ITU-T T.87), and the signs that rows are missing.

The decoder, libjpeg, reports no error if rows are missing: it fills them with mid-grey. If `Ending.may_lack_rows`,
decode the file again with `Ending.completed(stream, FILLER)`. Both results are equal if the image is complete, because
the decoder ignores extra data before the end marker.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

START = b"\xff\xd8"
_END = b"\xff\xd9"
_SCAN = 0xDA

FILLER = bytes(range(1, 255)) * 8
"""Arbitrary data that does not decode to zeros."""

_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""Begins a segment, or is the end. Compressed data can only contain FF before smaller bytes and in restart markers
(FFD0 to FFD7), which have no segment."""

_CHECKED = 64
"""The last 1 / 64 of the last row is checked. Fewer missing pixels do not matter."""


class Segment(NamedTuple):
    """A segment of a file, or its end marker."""

    marker: int
    """The second byte of the marker."""
    at: int
    """Offset of the marker."""
    content: bytes
    """What follows the length. Empty for the end marker."""


class Ending(NamedTuple):
    """How a file ends."""

    at: int
    """Offset of the end marker, or the size of the file if it has none. What follows is not part of the image."""
    has_marker: bool
    is_coarse: bool
    """Whether the last scan leaves out the lowest bits, as all but the last scans of a progressive image do."""

    def may_lack_rows(self, last_row: npt.NDArray[np.unsignedinteger], bits: int = 8) -> bool:
        """Whether rows may be missing. Complete images are rarely suspected.

        Args:
            last_row: `[columns]` or `[columns, components]`, as decoded.
            bits: number of bits of a value.
        """
        corner = last_row[-max(1, len(last_row) // _CHECKED) :]
        return not self.has_marker or self.is_coarse or bool((corner == 1 << (bits - 1)).all())

    def completed(self, stream: bytes, more: bytes = b"") -> bytes:
        """Return the image with `more` data before its end marker, which is added if it is missing."""
        data = stream[: self.at].rstrip(b"\xff")  # the first byte of a truncated marker
        return data + more + _END


def segments(stream: bytes) -> Iterator[Segment]:
    """Yield the segments up to the end marker. Compressed data is skipped."""
    at = 0
    while found := _MARKER.search(stream, at):
        marker, start = stream[found.start() + 1], found.end()
        if found.group() == _END:
            yield Segment(marker, found.start(), b"")
            return
        at = start + int.from_bytes(stream[start : start + 2])
        yield Segment(marker, found.start(), stream[start + 2 : at])


def ending(stream: bytes) -> Ending:
    """Find the end of a JPEG or JPEG-LS image."""
    lowest_bit = 0
    for marker, at, content in segments(stream):
        if marker == _END[1]:
            return Ending(at, True, lowest_bit > 0)
        if marker == _SCAN and content:
            lowest_bit = content[-1] & 0x0F
    return Ending(len(stream), False, lowest_bit > 0)
