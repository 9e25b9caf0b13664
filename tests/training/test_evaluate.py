"""`python -m training evaluate`: another threshold, and a network without its run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.contract import EMBEDDED_BUNDLE, Contract
from training.__main__ import main
from training.evaluate import evaluate
from training.operating_point import OperatingPoint
from training.recipe import scratch_recipe
from training.run_folder import RunConfig, RunFolder, RunSplit

pytestmark = pytest.mark.slow


def judged(model: Path, data: Path, out: Path, threshold: float | None = None) -> dict[str, Any]:
    """Evaluate quickly, with few resamples, because intervals are not tested."""
    found = evaluate(model, data, out, threshold=threshold, rounds=5)
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["confusion"] == found["confusion"]
    return found


def test_the_threshold_of_the_command_line_decides(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(phantoms / "test"), "--out", str(tmp_path), "--json"]
    assert main(["evaluate", "--model", str(EMBEDDED_BUNDLE), "--threshold", "0.125", *data]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] == 0.125
    assert "0.1250" in (tmp_path / "report.txt").read_text(encoding="utf-8")


def test_a_threshold_may_classify_all_or_no_images_as_positive(phantoms: Path, tmp_path: Path) -> None:
    data = phantoms / "test"
    assert judged(EMBEDDED_BUNDLE, data, tmp_path, 0.0)["confusion"] == [[0, 12], [0, 12]]
    assert judged(EMBEDDED_BUNDLE, data, tmp_path, 1.01)["confusion"] == [[12, 0], [12, 0]]


def test_without_a_threshold_that_of_the_bundle_decides(phantoms: Path, tmp_path: Path) -> None:
    contract = Contract.from_json((EMBEDDED_BUNDLE / "model.json").read_text(encoding="utf-8"))
    found = judged(EMBEDDED_BUNDLE, phantoms / "test", tmp_path)
    assert found["threshold"] == contract.threshold
    assert found["confusion"] == judged(EMBEDDED_BUNDLE, phantoms / "test", tmp_path, contract.threshold)["confusion"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that classifies bright images as pneumonia."""
    import keras

    file: Path = tmp_path_factory.mktemp("network") / "bare.keras"
    pixels = keras.Input((None, None, 1))
    brightness = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    dense = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(pixels, dense(brightness))
    dense.set_weights([np.array([[0.0, 10.0]]), np.array([0.0, -5.0])])
    model.save(file)
    return file


def test_a_network_without_its_run_has_the_threshold_one_half(network: Path, phantoms: Path, tmp_path: Path) -> None:
    found = judged(network, phantoms / "test", tmp_path)
    assert found["model"] == {"name": "bare.keras"}
    assert found["threshold"] == 0.5
    assert found["n"] == 24


def test_a_network_beside_its_operating_point_takes_it(network: Path, phantoms: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.keras").write_bytes(network.read_bytes())
    config = RunConfig(
        recipe=scratch_recipe(), init="scratch", teachers=(), data="", images={}, labels=("PNEUMONIA", "normal")
    )
    RunFolder(run).claim(config, RunSplit(train=("NORMAL/IM-0500-0001.jpeg",), validation=()))
    point = OperatingPoint(temperature=2.0, threshold=0.25, set_thresholds=(0.2, 0.2), set_coverage=0.98, input_size=64)
    RunFolder(run).write_operating_point(point)
    found = judged(run / "model.keras", phantoms / "test", tmp_path / "out")
    assert found["model"] == {"name": "run"}
    assert found["threshold"] == 0.25
    assert found["labels"] == ["PNEUMONIA", "normal"]
    assert "was trained on 1 of these images" in (tmp_path / "out/report.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"not a network"])
def test_a_file_that_is_not_a_network_is_named(
    content: bytes, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.keras"
    file.write_bytes(content)
    assert main(["evaluate", "--model", str(file), "--data", str(phantoms / "test"), "--out", str(tmp_path)]) == 1
    assert "broken.keras" in capsys.readouterr().err
