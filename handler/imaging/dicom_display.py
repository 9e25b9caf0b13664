"""DICOM: from stored values to what a viewer shows of them, along the pipeline of PS3.4, N.2."""

import math
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.errors import UnreadableImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Values = npt.NDArray[np.float64]


def displayed(stored: npt.NDArray[Any], file: "Dataset", *, inverted: bool) -> npt.NDArray[np.uint8]:
    """Stored values to display values, 0 to 255, by way of a table: there are far fewer values than pixels.

    Args:
        stored: `[rows, columns]` of 8 or 16 bits, signed or not.
        inverted: as in MONOCHROME1, where the smallest value is white.

    Raises:
        UnreadableImage: an attribute that is needed is no number.
    """
    stored = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    codes = stored.view(f"u{stored.itemsize}")
    table = _display_table(np.arange(2 ** (8 * stored.itemsize), dtype=codes.dtype).view(stored.dtype), stored, file)
    if inverted:
        table = 1.0 - table
    padding = _padding(file)
    if padding is not None:
        possible = np.arange(len(table), dtype=codes.dtype).view(stored.dtype)
        table[(possible >= padding[0]) & (possible <= padding[1])] = 0.0
    levels = (table * 255.0 + 0.5).astype(np.uint8)
    shown = np.empty(stored.shape, np.uint8)
    for source, target in zip(codes, shown, strict=True):  # by rows, for numpy turns indices into 8 bytes each
        np.take(levels, source, out=target)
    return shown


def _display_table(possible: npt.NDArray[Any], stored: npt.NDArray[Any], file: "Dataset") -> Values:
    """The display value, 0 to 1, of every possible stored value, along the pipeline of PS3.4, N.2."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    for name in ("RescaleSlope", "RescaleIntercept"):
        if name in file:
            number(file, name)
    values: Values = np.asarray(apply_modality_lut(possible, file), np.float64)
    if not np.isfinite(values).all():
        raise UnreadableImage(
            "RescaleSlope and RescaleIntercept take the DICOM picture out of all bounds: export it again"
        )
    table: Values
    if file.get("VOILUTSequence"):
        *_, bits = file.VOILUTSequence[0].LUTDescriptor
        table = apply_voi(np.rint(values).astype(np.int32), file) / (2.0**bits - 1)
    elif (width := number_if_any(file, "WindowWidth")) is not None and (
        center := number_if_any(file, "WindowCenter")
    ) is not None:
        table = _windowed(values, center, width, file.get("VOILUTFunction"))
    else:
        ends = values if stored.dtype == np.uint8 else values[np.isin(possible, _seen(stored, file))]
        table = (values - ends.min()) / max(ends.max() - ends.min(), 1e-6)
    return table.clip(0.0, 1.0)


def _windowed(values: Values, center: float, width: float, function: str | None) -> Values:
    """The three window functions of PS3.3, C.11.2.1, with 0..1 for the range of output values."""
    if width < 1.0:
        raise UnreadableImage(f"the window is {width:g} wide, which leaves nothing to see: export the picture again")
    if function == "SIGMOID":
        exponents: Values = (-4.0 * (values - center) / width).clip(-60.0, 60.0)
        return 1.0 / (1.0 + np.exp(exponents))
    if function == "LINEAR_EXACT":
        return (values - center) / width + 0.5
    return (values - (center - 0.5)) / max(width - 1.0, 1e-6) + 0.5


def _padding(file: "Dataset") -> tuple[float, float] | None:
    """The range of stored values with which the device filled up what is not picture."""
    value, other = (number_if_any(file, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None:
        return None
    other = value if other is None else other
    return min(value, other), max(value, other)


def _seen(stored: npt.NDArray[Any], file: "Dataset") -> tuple[int, int]:
    """Smallest and largest stored value of the picture itself."""
    padding = _padding(file)
    if padding is not None:
        inside = stored[(stored < padding[0]) | (stored > padding[1])]
        stored = inside if inside.size else stored
    return int(stored.min()), int(stored.max())


def grey_of_colour(pixels: npt.NDArray[Any]) -> Image.Image:
    """From `[rows, columns, 3]` of 8 or 16 bits."""
    if pixels.dtype == np.uint16:  # lookup tables often give 16 bits
        pixels = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("L")


def number(file: "Dataset", name: str) -> float:
    """An attribute's value, or the first of several, such as windows: it is the one to begin with.

    Raises:
        UnreadableImage: there is none, or it is no finite number.
    """
    try:
        value = file[name].value
        found = float(value[0] if isinstance(value, MutableSequence) else value)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise UnreadableImage(f"the DICOM attribute {name} is no number that can be used: export the picture again")
    return found


def number_if_any(file: "Dataset", name: str) -> float | None:
    """The same; None if the attribute is absent or empty."""
    try:
        if file.get(name) is None:
            return None
    except (TypeError, ValueError, OverflowError):  # not empty, then
        pass
    return number(file, name)
