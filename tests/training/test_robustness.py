"""The robustness evaluation: changes that decoding reverts do not change decisions."""

import json
from pathlib import Path

import pytest
from PIL import Image

from handler.classifier import Classifier
from handler.contract import EMBEDDED_BUNDLE, PHOTOGRAPHED
from handler.imaging.decode import decode
from handler.scoring import Predictor
from tests.handler.images import encode
from training.prepare import load, prepare
from training.robustness import CHANGES, evaluate_robustness, table

FRAMES = ("letterboxed, 1.35 : 1", "black frame of a fifth", "white frame of a twelfth")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robustness")


@pytest.fixture(scope="module")
def result(phantoms: Path, out: Path) -> dict:
    prepare(phantoms, out / "data", size=96)
    return evaluate_robustness(EMBEDDED_BUNDLE, load(out / "data"), out)


def test_every_change_is_evaluated_and_saved(result: dict, out: Path) -> None:
    assert result.keys() == CHANGES.keys()
    assert json.loads((out / "robustness.json").read_text())["changes"] == result
    assert (out / "robustness.png").stat().st_size > 10_000
    assert all(name in table(result) for name in CHANGES)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_changes_hardly_anything(result: dict, frame: str) -> None:
    assert result["none"]["changed"] == 0
    assert result[frame]["changed"] < 0.05
    assert abs(result[frame]["log_loss"] - result["none"]["log_loss"]) < 0.1


def test_a_decision_changes_unwarned_only_where_it_changes_and_is_not_warned_of(result: dict) -> None:
    assert all(found["unwarned"] <= min(found["changed"], 1 - found["warned"]) for found in result.values())
    assert "warned or refused" in table(result)


def test_the_bundle_of_this_repository_detects_photographs_of_a_screen(xrays: Path) -> None:
    predictor = Predictor(Classifier(), decode)
    files = [file for folder in sorted((xrays / "train").iterdir()) for file in sorted(folder.glob("*.jpeg"))[:20]]

    def detected(change: str) -> int:
        changed = (encode(CHANGES[change](Image.open(file).convert("L")), "PNG") for file in files)
        answers = [predictor.predict(data, force=True) for data in changed]
        return sum(PHOTOGRAPHED in (warning["code"] for warning in answer["warnings"]) for answer in answers)

    assert len(files) == 40
    assert detected("none") <= 2
    assert detected("photographed from a screen") >= 36
