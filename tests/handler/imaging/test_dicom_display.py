"""DICOM: from stored values to greys, with headers as in real files."""

import math

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut
from pydicom.sequence import Sequence

from handler.errors import UnreadableImage
from tests.handler.dicom_files import JPEG_2000_LOSSY, PLAIN, SHADES, compressed, in_order, shown, shown_plainly
from tests.handler.images import dicom

TWELVE = {"BitsStored": 12, "HighBit": 11}
VALUES = SHADES.astype(np.uint16) * 16
"""12 bits, from 0 to 4080 at most."""


def lookup_table(entries: list[int], *, first: int = 0, bits: int = 16, packed: bool = False) -> Sequence:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    table.add_new("LUTData", "OW", np.array(entries, np.uint8 if packed else "<u2").tobytes())
    return Sequence([table])


def test_eight_bits_are_taken_as_they_are() -> None:
    dim = SHADES // 2

    assert np.array_equal(shown(dicom(dim)), shown_plainly(dim))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_values_without_a_window_fill_the_range_between_percentiles(dtype: type) -> None:
    values = (SHADES.astype(np.int32) * 40 - (2000 if dtype is np.int16 else 0)).astype(dtype)
    low, high = np.percentile(SHADES, (1, 99))

    assert np.abs(shown(dicom(values)) - shown_plainly((SHADES - low) / (high - low) * 255)).max() <= 2


def test_a_burnt_in_marker_does_not_set_the_scale() -> None:
    marked = VALUES.copy()
    marked[4:8, 4:14] = 65535  # 0.5 % of the pixels

    assert np.abs(shown(dicom(marked)) - shown(dicom(VALUES)))[16:].mean() < 2


def test_monochrome1_is_inverted() -> None:
    inverted = dicom(255 - SHADES, PhotometricInterpretation="MONOCHROME1")

    assert np.abs(shown(inverted) - PLAIN).max() <= 1


def test_rescale_and_window_are_applied() -> None:
    # GIVEN values 1000 + 4 * shade, rescaled by 0.5 and -500, and a window over exactly the results
    data = dicom(
        SHADES.astype(np.uint16) * 4 + 1000,
        RescaleSlope="0.5",
        RescaleIntercept="-500",
        WindowCenter="255",
        WindowWidth="510",
        VOILUTFunction="LINEAR_EXACT",
    )

    assert np.abs(shown(data) - PLAIN).max() <= 1


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str | None) -> None:
    attributes = TWELVE | ({"VOILUTFunction": function} if function else {})
    data = dicom(VALUES, WindowCenter=["1500", "40"], WindowWidth=["1200", "400"], **attributes)

    file = Dataset()
    file.PhotometricInterpretation = "MONOCHROME2"
    file.WindowCenter, file.WindowWidth, file.BitsStored, file.PixelRepresentation = 1500, 1200, 12, 0
    if function:
        file.VOILUTFunction = function
    theirs = apply_voi_lut(VALUES, file) / 4095 * 255

    assert np.abs(shown(data) - shown_plainly(theirs)).max() <= 1


@pytest.mark.parametrize("width", ["0", "0.21", "nan"])
@pytest.mark.parametrize("function", [None, "LINEAR"])
def test_the_first_window_that_can_be_used_is_used(width: str, function: str | None) -> None:
    attributes = TWELVE | ({"VOILUTFunction": function} if function else {})
    second = dicom(VALUES, WindowCenter="1500", WindowWidth="1200", **attributes)

    both = dicom(VALUES, WindowCenter=["7", "1500"], WindowWidth=[width, "1200"], **attributes)

    assert np.array_equal(shown(both), shown(second))


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": "1500", "WindowWidth": "0"},
        {"WindowCenter": "1500", "WindowWidth": "0", "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "nan", "WindowWidth": "1200"},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": "1500"},
        {"WindowCenter": "9000", "WindowWidth": "100"},
        {"WindowCenter": "-9000", "WindowWidth": "100"},
        {"VOILUTSequence": lookup_table([0] * 4095 + [255])},
    ],
    ids=str,
)
def test_a_window_that_shows_nothing_is_none(window: dict) -> None:
    assert np.array_equal(shown(dicom(VALUES, **TWELVE, **window)), shown(dicom(VALUES, **TWELVE)))


@pytest.mark.parametrize(("function", "width"), [("LINEAR_EXACT", "0.8"), ("SIGMOID", "0.5")])
def test_a_window_may_be_narrower_than_one_where_it_is_not_linear(function: str, width: str) -> None:
    data = dicom(
        VALUES,
        RescaleSlope=str(1 / 4096),
        RescaleIntercept="0",
        WindowCenter="0.5",
        WindowWidth=width,
        VOILUTFunction=function,
        **TWELVE,
    )
    x = (VALUES / 4096 - 0.5) / float(width)
    expected = x + 0.5 if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * x))

    assert np.abs(shown(data) - shown_plainly(expected * 255)).max() <= 1


@pytest.mark.parametrize(("slope", "intercept"), [("-1", "255"), ("-1", "0"), ("-4", "-1024")])
def test_eight_bits_may_be_rescaled_upside_down(slope: str, intercept: str) -> None:
    data = dicom(255 - SHADES, RescaleSlope=slope, RescaleIntercept=intercept)

    assert np.array_equal(shown(data), PLAIN)


def test_an_empty_rescale_is_none() -> None:
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}

    data = dicom(VALUES, RescaleSlope="", RescaleIntercept="", **TWELVE, **window)

    assert np.array_equal(shown(data), shown(dicom(VALUES, **TWELVE, **window)))


def test_a_lookup_table_is_applied() -> None:
    table = lookup_table([value * 257 for value in range(255, -1, -1)])

    assert np.abs(shown(dicom(255 - SHADES, VOILUTSequence=table)) - PLAIN).max() <= 1


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize(("bits", "packed"), [(8, True), (8, False), (16, False), (12, False)])
def test_a_lookup_table_is_scaled_by_its_greatest_entry(bits: int, packed: bool, little: bool) -> None:
    # GIVEN a table from 12 bits to 0 to 255, with different real and declared widths of its entries
    table = lookup_table([value >> 4 for value in range(4096)], bits=bits, packed=packed)

    data = in_order(dicom(VALUES, VOILUTSequence=table, **TWELVE), little=little)

    assert np.abs(shown(data) - PLAIN).max() <= 1


@pytest.mark.parametrize("kind", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_lookup_table_may_begin_below_zero(kind: str) -> None:
    values = SHADES.astype(np.int16) - 100
    table = lookup_table(list(range(256)), first=0xFFFF - 99)

    data = dicom(values, **{kind: table}, WindowCenter="127.5", WindowWidth="255", VOILUTFunction="LINEAR_EXACT")

    assert np.abs(shown(data) - shown_plainly(SHADES)).max() <= 1


def test_a_lookup_table_that_is_too_short_is_refused() -> None:
    table = lookup_table(list(range(100)))
    table[0].LUTDescriptor = [4096, 0, 16]

    with pytest.raises(UnreadableImage, match="LUTData is shorter"):
        shown(dicom(VALUES, VOILUTSequence=table, **TWELVE))


def test_padding_is_black_and_does_not_count() -> None:
    # GIVEN an image whose middle third is far darker than the rest
    values = SHADES.astype(np.int16) * 8
    values[:, 32:64] = -2000

    pixels = shown(dicom(values, PixelPaddingValue=-2000))

    assert pixels[:, 24:40].max() == 0
    outside = shown(dicom(np.hstack([values[:, :32], values[:, 64:]])))
    assert abs(pixels[:, 46:].mean() - outside[:, 37:].mean()) < 3


def test_padding_may_be_white_in_monochrome1() -> None:
    values = VALUES + 8
    values[:, 32:64] = 4095

    pixels = shown(dicom(values, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=4095, **TWELVE))

    assert pixels[:, 24:40].max() == 0


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_that_lossy_coding_moved_is_padding(kind: str) -> None:
    from imagecodecs import jpeg2k_encode
    from pydicom.encaps import encapsulate

    values = VALUES // 4 + 2000
    values[:, :48] = 0
    exact = dicom(values, PixelPaddingValue=0, PhotometricInterpretation=kind, **TWELVE)
    moved = values + np.random.default_rng(0).integers(0, 12, values.shape).astype(np.uint16)
    stream = jpeg2k_encode(moved, codecformat="j2k", reversible=True)

    lossy = compressed(
        JPEG_2000_LOSSY, encapsulate([stream]), values, PixelPaddingValue=0, PhotometricInterpretation=kind, **TWELVE
    )

    assert np.abs(shown(lossy) - shown(exact)).mean() < 3


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("index", [np.uint8, np.uint16])
def test_a_palette_is_applied(index: type, bits: int, little: bool) -> None:
    # GIVEN a palette that inverts, with little blue and red
    entries = np.arange(255, -1, -1)
    attributes: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, share in (("Red", 0.5), ("Green", 1), ("Blue", 0.25)):
        data = np.rint(entries * share).astype(np.uint8)
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        attributes[f"{colour}PaletteColorLookupTableData"] = (
            data.tobytes() if bits == 8 else (data.astype("<u2") * 257).tobytes()
        )

    data = in_order(dicom((255 - SHADES).astype(index), **attributes), little=little)

    expected = SHADES * (0.5 * 0.299 + 0.587 + 0.25 * 0.114)
    assert np.abs(shown(data) - shown_plainly(expected)).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("little", [True, False])
def test_colour_becomes_grey(dtype: type, little: bool) -> None:
    colour = np.stack([SHADES, SHADES // 2, 255 - SHADES], -1)
    expected = colour @ (0.299, 0.587, 0.114)
    stored = colour.astype(dtype) * (257 if dtype is np.uint16 else 1)
    attributes = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}

    data = dicom(stored, Rows=80, Columns=96, **attributes)

    assert np.abs(shown(in_order(data, little=little)) - shown_plainly(expected)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_unused_bits_are_not_part_of_the_value(dtype: type) -> None:
    # GIVEN 12 bits from bit 2 on, with an old overlay in bit 15, and a rest in bit 0
    window = {"WindowCenter": "1000", "WindowWidth": "1600", "VOILUTFunction": "LINEAR_EXACT"}
    values = VALUES.astype(np.int32) - (1500 if dtype is np.int16 else 0)
    crowded = ((values & 0xFFF) << 2 | 0x8001).astype(np.uint16).view(dtype)
    usual = (values & 0xFFF).astype(np.uint16).view(dtype)

    data = dicom(crowded, BitsStored=12, HighBit=13, **window)

    assert np.array_equal(shown(data), shown(dicom(usual, **TWELVE, **window)))


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "1e308", "RescaleIntercept": "0"}, "give values out of range"),
        ({"RescaleSlope": "1", "RescaleIntercept": str(math.inf)}, "RescaleIntercept"),
    ],
    ids=str,
)
def test_a_rescale_that_is_not_a_number_is_named(attributes: dict, named: str) -> None:
    with pytest.raises(UnreadableImage, match=named):
        shown(dicom(**attributes))
