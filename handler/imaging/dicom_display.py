"""DICOM: convert stored values to the values that a viewer shows, by the pipeline of PS3.4, N.2.

pydicom's functions for this (`apply_modality_lut`, `apply_voi`, `apply_windowing`, `apply_color_lut`) are not used.
They raise errors for an unusable window, even if a second window is usable, and for an empty RescaleSlope. They read
8-bit lookup tables as 16-bit, and palettes of big-endian files as little-endian.
"""

import math
from collections.abc import Iterator, MutableSequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.errors import UnreadableImage
from handler.imaging.dicom_pixels import Frame

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Values = npt.NDArray[np.float64]

_BAND = 256
"""Rows per step: NumPy converts each index to 8 bytes."""

_TAIL = 0.01
"""Share of the pixels at each end that is ignored when there is no window: markers and dead pixels."""

_VISIBLE = 0.01
"""A window is unusable if all but this share of the pixels are black, or all but this share are white."""

_SPREAD_OF_PADDING = 1 / 64
"""How much lossy compression may change padding values, as a share of the range of all values."""


def displayed(frame: Frame, file: "Dataset") -> npt.NDArray[np.uint8]:
    """Convert stored values to display values, 0 to 255. A lookup table is used, because there are far fewer values
    than pixels.

    Args:
        frame: has one sample per pixel.
        file: the attributes that describe the pixels.

    Raises:
        UnreadableImage: a required attribute is not a number, or a lookup table is too short.
    """
    codes = frame.samples
    possible = _stored_values(np.arange(2 ** (8 * codes.itemsize)), frame)
    if file.PhotometricInterpretation == "PALETTE COLOR":
        table = _palette(possible, file)
    else:
        counts = np.zeros(len(possible), np.int64)
        for band in _bands(codes):
            counts += np.bincount(band.ravel(), minlength=len(possible))
        padding = _is_padding(possible, counts > 0, frame, file)
        if counts[~padding].any():
            counts[padding] = 0
        table = _grey(possible, counts, frame, file)
        if file.PhotometricInterpretation == "MONOCHROME1":
            table = 1.0 - table
        table[padding] = 0.0
    levels = (table * 255.0 + 0.5).astype(np.uint8)
    shown = np.empty(codes.shape, np.uint8)
    for source, target in zip(_bands(codes), _bands(shown), strict=True):
        np.take(levels, source, out=target)
    return shown


def grey_of_colour(frame: Frame) -> Image.Image:
    """Convert `[rows, columns, 3]` of RGB, or `[rows, columns]` of luminance, to grey."""
    levels = frame.samples >> max(frame.low_bit + frame.bits - 8, 0)
    return Image.fromarray(levels.astype(np.uint8)).convert("L")


def _bands(pixels: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    for top in range(0, len(pixels), _BAND):
        yield pixels[top : top + _BAND]


def _stored_values(codes: npt.NDArray[np.int64], frame: Frame) -> npt.NDArray[np.int64]:
    """The stored values of codes: the used bits only, with their sign."""
    values = codes >> frame.low_bit & (1 << frame.bits) - 1
    return values - (values >> frame.bits - 1 << frame.bits) if frame.signed else values


def _is_padding(
    possible: npt.NDArray[np.int64], present: npt.NDArray[np.bool_], frame: Frame, file: "Dataset"
) -> npt.NDArray[np.bool_]:
    """Which stored values are padding outside of the image."""
    ends = [number_if_any(file, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    # Convert them like the pixels: a negative value is often written as an unsigned one.
    found = [int(_stored_values(np.array(int(end) << frame.low_bit), frame)) for end in ends if end is not None]
    if ends[0] is None:
        return np.zeros(len(possible), np.bool_)
    low, high = float(min(found)), float(max(found))
    if frame.lossy:
        lowest, highest = possible[present].min(), possible[present].max()
        margin = (highest - lowest) * _SPREAD_OF_PADDING
        if low <= lowest + margin:
            low, high = -math.inf, high + margin
        elif high >= highest - margin:
            low, high = low - margin, math.inf
    inside: npt.NDArray[np.bool_] = (possible >= low) & (possible <= high)
    return inside


def _grey(stored: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], frame: Frame, file: "Dataset") -> Values:
    """The display value, 0 to 1, of every stored value, before MONOCHROME1 is inverted.

    Args:
        counts: number of pixels with each value.
    """
    values = _rescaled(stored, file)
    for table in _tables_of_interest(values, file):
        black, white = counts[table * 255.0 < 0.5].sum(), counts[table * 255.0 >= 254.5].sum()
        if max(black, white) <= (1.0 - _VISIBLE) * counts.sum():
            return table
    low, high = (values.min(), values.max()) if frame.bits == 8 else _ends(values, counts)
    spread: Values = ((values - low) / max(float(high - low), 1e-6)).clip(0.0, 1.0)
    return spread


def _rescaled(stored: npt.NDArray[np.int64], file: "Dataset") -> Values:
    if file.get("ModalityLUTSequence"):
        return _looked_up(stored, file.ModalityLUTSequence[0], "LUT", file)[0]
    slope, intercept = number_if_any(file, "RescaleSlope"), number_if_any(file, "RescaleIntercept")
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float64) * (1.0 if slope is None else slope) + (intercept or 0.0)
    if not np.isfinite(values).all():
        raise UnreadableImage(
            "RescaleSlope and RescaleIntercept give values out of range. Export the DICOM image again."
        )
    return values


def _tables_of_interest(values: Values, file: "Dataset") -> Iterator[Values]:
    """Display values, 0 to 1, from each VOI lookup table and then from each usable window."""
    for item in file.get("VOILUTSequence") or ():
        table, greatest = _looked_up(values, item, "LUT", file)
        yield table / greatest
    function = file.get("VOILUTFunction")
    for center, width in zip(_numbers(file, "WindowCenter"), _numbers(file, "WindowWidth"), strict=False):
        usable = width > 0 if function in ("LINEAR_EXACT", "SIGMOID") else width >= 1
        if usable and math.isfinite(center) and math.isfinite(width):
            yield _windowed(values, center, width, function)


def _windowed(values: Values, center: float, width: float, function: str | None) -> Values:
    """The three window functions of PS3.3, C.11.2.1, with output values from 0 to 1."""
    if function == "SIGMOID":
        exponents: Values = (-4.0 * (values - center) / width).clip(-60.0, 60.0)
        return 1.0 / (1.0 + np.exp(exponents))
    table: Values
    if function == "LINEAR_EXACT":
        table = (values - center) / width + 0.5
    else:
        table = (values - (center - 0.5)) / max(width - 1.0, 1e-6) + 0.5
    return table.clip(0.0, 1.0)


def _ends(values: Values, counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Two percentiles, `_TAIL` and one minus `_TAIL`; the least and the greatest value if both are equal."""
    order = np.argsort(values)
    order = order[counts[order] > 0]
    below = np.cumsum(counts[order]) / counts.sum()
    low, high = (values[order[np.searchsorted(below, share)]] for share in (_TAIL, 1.0 - _TAIL))
    return (low, high) if high > low else (values[order[0]], values[order[-1]])


def _palette(values: npt.NDArray[np.int64], file: "Dataset") -> Values:
    """The luminance, 0 to 1, of the palette colours of stored values."""
    tables, greatest = zip(
        *(_looked_up(values, file, f"{colour}PaletteColorLookupTable", file) for colour in ("Red", "Green", "Blue")),
        strict=True,
    )
    # 8-bit entries may be stored in 16-bit words, even if the descriptor says otherwise.
    full_scale = 0xFF if max(greatest) <= 0xFF else 0xFFFF
    luminance: Values = np.tensordot((0.299, 0.587, 0.114), tables, 1) / full_scale
    return luminance


def _looked_up(values: npt.NDArray[Any], item: "Dataset", name: str, file: "Dataset") -> tuple[Values, float]:
    """Look up values in a table. Values beyond an end of the table get the entry at that end.

    The raw bytes of the file are read, because pydicom does not keep the width of the entries.

    Args:
        item: has the attributes `name` + Descriptor and `name` + Data.

    Returns:
        The entries, and the greatest entry of the table.

    Raises:
        UnreadableImage: the table is absent, or shorter than its descriptor says.
    """
    descriptor, data = item.get(f"{name}Descriptor"), item.get_item(f"{name}Data")
    if not descriptor or data is None or not data.value:
        raise UnreadableImage(f"The DICOM image has no {name}Data, or no {name}Descriptor. Export it again.")
    count, first = int(descriptor[0]) & 0xFFFF or 1 << 16, int(descriptor[1])
    # The descriptor does not say whether this value is signed.
    if first > 0x7FFF and values.min() < 0:
        first -= 1 << 16
    elif first < 0 <= values.min():
        first += 1 << 16
    content, order = bytes(data.value), "<" if file.file_meta.TransferSyntaxUID.is_little_endian else ">"
    if len(content) >= 2 * count:
        entries = np.frombuffer(content, order + "u2", count)
    elif len(content) < count:
        raise UnreadableImage(
            f"The DICOM attribute {name}Data is shorter than its descriptor says. Export the image again."
        )
    elif order == ">":  # each word holds two 8-bit entries, the first one in the low byte
        entries = np.frombuffer(content[: len(content) & ~1], "u2").byteswap().view("u1")[:count]
    else:
        entries = np.frombuffer(content, "u1", count)
    at = (np.rint(values) - first).clip(0, count - 1).astype(np.intp)
    return entries.astype(np.float64)[at], max(float(entries.max()), 1.0)


def number(file: "Dataset", name: str) -> float:
    """An attribute's value, or the first of several values.

    Raises:
        UnreadableImage: the value is absent, or is not a finite number.
    """
    found = number_if_any(file, name)
    if found is None:
        raise UnreadableImage(f"The DICOM attribute {name} is absent or empty. Export the image again.")
    return found


def number_if_any(file: "Dataset", name: str) -> float | None:
    """Return the same as `number`, but None if the attribute is absent or empty."""
    found = _numbers(file, name)
    if not found:
        return None
    if not math.isfinite(found[0]):
        raise UnreadableImage(f"The DICOM attribute {name} is not a valid number. Export the image again.")
    return found[0]


def _numbers(file: "Dataset", name: str) -> list[float]:
    """All values of an attribute: `[nan]` if they are not numbers, `[]` if the attribute is absent or empty."""
    try:
        value = file[name].value
        if value is None or value == "":
            return []
        return [float(single) for single in (value if isinstance(value, MutableSequence) else [value])]
    except KeyError:
        return []
    except (TypeError, ValueError, OverflowError):
        return [math.nan]
