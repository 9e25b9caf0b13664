"""A calibration that is fitted on images of another hospital."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.__main__ import main
from handler.calibration import Array, Labels, calibrate
from handler.card import card
from handler.commands import program
from handler.contract import Contract, load_bundle
from handler.errors import LocalCalibrationError
from handler.files import write_json
from handler.imaging.decode import decode
from handler.loading import load
from handler.local_calibration import LocalCalibration, fit_local, load_calibration
from handler.prevalence import predictive_values
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.images import png
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
def test_a_file_that_is_not_a_calibration_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    values = dataclasses.asdict(fitted(contract_of(tmp_path, 2))) | change
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))

    with pytest.raises(LocalCalibrationError, match="python -m handler calibrate"):
        load_calibration(file)


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_a_file_that_is_not_a_json_object_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(text)

    with pytest.raises(LocalCalibrationError, match="python -m handler calibrate"):
        load_calibration(file)


def test_it_is_fitted_by_the_command_line_and_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    rng = np.random.default_rng(0)
    for label, grey in (("normal", 90), ("Pneumonia", 150)):
        folder = tmp_path / "ours" / label
        folder.mkdir(parents=True)
        for number in range(60):
            pixels = rng.normal(grey, 40, (64, 64)).clip(0, 255).astype(np.uint8)
            (folder / f"{number}.png").write_bytes(png(Image.fromarray(pixels)))
    (tmp_path / "ours" / "normal" / "notes.txt").write_text("no image")
    out = tmp_path / "calibration.json"

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_BUNDLE", str(bundle))
        patch.setenv("CALIBRATION", str(tmp_path / "absent.json"))  # an earlier one does not count
        assert main(["calibrate", str(tmp_path / "ours"), "--out", str(out)]) == 0
        said = capsys.readouterr().out
        assert "notes.txt" in said
        assert "PNEUMONIA (60) in the prediction set" in said
        assert f"CALIBRATION={out} {program('handler')} serve" in said

        served = load(Settings(bundle=bundle, calibration=out))
        plain = load(Settings(bundle=bundle))
        image = np.full((1, 64, 64), 110, np.uint8)
        assert served.contract.threshold != plain.contract.threshold
        expected = load_calibration(out).calibrated(plain.score(image).probabilities.astype(float))
        np.testing.assert_allclose(served.score(image).probabilities, expected, rtol=1e-5)
        answer = card(Predictor(served, decode), Settings())
        assert answer["calibration"]["images"] == {"NORMAL": 60, "PNEUMONIA": 60}

        assert main(["calibrate", str(tmp_path / "ours" / "normal"), "--out", str(out)]) == 2
        assert "has no folder NORMAL/" in capsys.readouterr().err
        assert main(["calibrate", str(tmp_path / "ours"), "--out", str(out), "--coverage", "0.99"]) == 2
        assert "NORMAL has 60 images" in capsys.readouterr().err


def test_predictive_values_are_those_of_the_calibration(tmp_path: Path) -> None:
    contract = contract_of(tmp_path, 2)
    local = fitted(contract)
    sensitivity, specificity = (local.measured["after"]["correct"][label][0] for label in reversed(contract.labels))

    half = predictive_values(contract, local)[-1]

    assert half["prevalence"] == 0.5
    assert half["positive_predictive_value"] == pytest.approx(sensitivity / (sensitivity + 1 - specificity))
