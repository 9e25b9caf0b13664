"""A calibration that is fitted on images of another place."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from handler.calibration import Array, Labels, calibrate
from handler.contract import Contract, load_bundle
from handler.errors import LocalCalibrationError
from handler.files import write_json
from handler.local_calibration import LocalCalibration, fit_local, load_calibration
from tests.tiny_bundle import write_tiny_bundle

LABELS = {2: ("NORMAL", "PNEUMONIA"), 3: ("CLEAR", "Covid", "TB")}


def contract_of(folder: Path, classes: int) -> Contract:
    return load_bundle(write_tiny_bundle(folder / "bundle", LABELS[classes]))[0]


def elsewhere(classes: int, count: int, seed: int = 0) -> tuple[Array, Labels]:
    """Overconfident and biased probabilities, with the labels of equally frequent classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    honest = calibrate(np.exp(rng.normal(size=(count, classes)) + 2 * np.eye(classes)[labels]) / 1000)
    return calibrate(honest, 0.25, np.linspace(0, 1.5, classes)), labels


def fitted(contract: Contract, count: int = 900, coverage: float = 0.9) -> LocalCalibration:
    probabilities, labels = elsewhere(len(contract.labels), count)
    distances = np.linspace(0, 2, count)
    return fit_local(contract, probabilities, distances, labels, coverage=coverage, sensitivity=0.9)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_restores_calibration_and_coverage_on_new_images(tmp_path: Path, classes: int) -> None:
    contract = contract_of(tmp_path, classes)
    calibration = fitted(contract)
    probabilities, labels = elsewhere(classes, 6000, seed=1)

    found = calibration.calibrated(probabilities)
    served = calibration.applied_to(contract)

    for index, label in enumerate(contract.labels):
        own = found[labels == index]
        covered = np.mean([label in served.prediction_set(row) for row in own[:1000]])
        assert covered == pytest.approx(0.9, abs=0.06)
    before, after = calibration.measured["before"], calibration.measured["after"]
    assert after["ece"] < before["ece"] / 2
    assert after["log_loss"] < before["log_loss"]
    share, low, high = after["covered"][contract.labels[0]]
    assert 0 <= low < share < high <= 1
    assert served.ood_threshold == pytest.approx(2 * 1.2, rel=0.01)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    contract = contract_of(tmp_path, 2)

    with pytest.raises(LocalCalibrationError, match=r"NORMAL has 9 images.* needs 49: add images"):
        fitted(contract, count=18, coverage=0.98)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    calibration = fitted(contract_of(tmp_path, 3))
    write_json(tmp_path / "calibration.json", dataclasses.asdict(calibration))

    assert load_calibration(tmp_path / "calibration.json") == calibration


def test_it_belongs_to_one_bundle(tmp_path: Path) -> None:
    contract = contract_of(tmp_path, 2)
    calibration = fitted(contract)

    with pytest.raises(LocalCalibrationError, match="run `python -m handler calibrate` with this bundle"):
        calibration.applied_to(dataclasses.replace(contract, sha256="0" * 64))


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"temperature": "1"}, {"biases": [0.0]}, {"extra": 1}, {"threshold": ...}, {"labels": "AB"}],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    values = dataclasses.asdict(fitted(contract_of(tmp_path, 2))) | change
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))

    with pytest.raises(LocalCalibrationError, match="python -m handler calibrate"):
        load_calibration(file)


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(text)

    with pytest.raises(LocalCalibrationError, match="python -m handler calibrate"):
        load_calibration(file)
