"""Which orientations an answer warns of."""

import dataclasses

import numpy as np
import pytest

from handler.classifier import Scores
from handler.contract import Contract
from handler.warnings import CODES, warnings_of
from tests.handler.http.brightness import Brightness

CONTRACT = dataclasses.replace(
    Brightness.contract,
    orientations=("upright", "mirrored", "photographed", "inverted"),
    least_upright=0.4,
    most_photographed=0.7,
)
PIXELS = np.tile(np.arange(0, 200, 2, np.uint8), (100, 1))


def codes(*orientations: float, contract: Contract = CONTRACT) -> list[str]:
    ones = np.ones(1, np.float32)
    scores = Scores(np.full((1, 2), 0.5, np.float32), ones, ones, np.array([orientations], np.float32))
    found = warnings_of(contract, scores, PIXELS)
    assert all(warning["detail"].endswith(".") for warning in found)
    return [warning["code"] for warning in found]


@pytest.mark.parametrize(
    ("orientations", "expected"),
    [
        ((0.9, 0.1, 0.0, 0.0), []),
        ((0.1, 0.8, 0.05, 0.05), ["mirrored"]),
        ((0.1, 0.3, 0.0, 0.6), ["inverted"]),
        ((0.1, 0.05, 0.8, 0.05), ["photographed"]),
        ((0.1, 0.15, 0.6, 0.15), []),
        ((0.0, 0.6, 0.3, 0.1), ["mirrored"]),
        ((np.nan, np.nan, np.nan, np.nan), ["photographed", "mirrored"]),
    ],
)
def test_a_warning_names_the_likeliest_orientation(orientations: tuple[float, ...], expected: list[str]) -> None:
    assert codes(*orientations) == expected
    assert set(expected) <= set(CODES)


def test_a_mirrored_photograph_gets_both_warnings() -> None:
    contract = dataclasses.replace(CONTRACT, least_upright=0.9)

    assert codes(0.05, 0.2, 0.75, 0.0, contract=contract) == ["photographed", "mirrored"]


def test_a_bundle_that_detects_no_photographs_warns_of_the_other_orientations() -> None:
    contract = dataclasses.replace(Brightness.contract, least_upright=0.4)

    assert codes(0.1, 0.9, contract=contract) == ["mirrored"]
    assert codes(0.9, 0.1, contract=contract) == []
