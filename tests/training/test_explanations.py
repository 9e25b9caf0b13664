"""The explanation evaluation, with networks that use known regions."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from handler.contract import CONTRACT_FILE, EMBEDDED_BUNDLE, MODEL_FILE, load_bundle
from tests.tiny_bundle import SIZE, write_tiny_bundle
from training.errors import DataError
from training.explanations import SHARES, evaluate_explanations, randomize, table
from training.prepare import Prepared


def _prepared(pixels: np.ndarray, labels: list[int]) -> Prepared:
    return Prepared(
        folder=Path(),
        names=("NORMAL", "PNEUMONIA"),
        pixels={"train": pixels[:0], "validation": pixels},
        labels={"train": np.zeros(0, np.int64), "validation": np.array(labels)},
        files={"train": [], "validation": []},
        patients={"train": [], "validation": []},
    )


@pytest.fixture(scope="module")
def spots() -> Prepared:
    """Eight grey positive images, each with a bright spot at another place, and two grey negative images."""
    pixels = np.full((10, SIZE, SIZE), 60, np.uint8)
    for index in range(8):
        row, column = 4 + 14 * (index // 2), 6 + 30 * (index % 2)
        pixels[index, row : row + 9, column : column + 9] = 255
    return _prepared(pixels, [1] * 8 + [0] * 2)


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose log odds grow with the brightest pixel that is left after smoothing."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("bright") / "bundle")
    contract, weights = load_bundle(folder)
    model = onnx.load_from_string(weights)
    (mean,) = (node for node in model.graph.node if node.op_type == "ReduceMean")
    replaced = [
        helper.make_node("AveragePool", ["grey"], ["smooth"], kernel_shape=[5, 5]),
        helper.make_node("ReduceMax", ["smooth", "space"], list(mean.output), keepdims=0),
    ]
    nodes = [other for node in model.graph.node for other in (replaced if node == mean else [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    weights = model.SerializeToString()
    (folder / MODEL_FILE).write_bytes(weights)
    contract = dataclasses.replace(contract, sha256=hashlib.sha256(weights).hexdigest())
    (folder / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explanations")


@pytest.fixture(scope="module")
def result(bright: Path, spots: Prepared, out: Path) -> dict:
    return evaluate_explanations(bright, spots, out)


def test_a_true_map_marks_what_the_score_depends_on(result: dict) -> None:
    lowered = {name: found["mean"] for name, found in result["lowered"].items()}
    assert lowered["marked"] > 0.8
    assert lowered["marked"] > 2 * lowered["random"]
    assert lowered["marked"] > 2 * lowered["other"]
    assert result["likeness"]["images"] < 0.3


def test_values_are_in_log_odds(result: dict) -> None:
    assert 0.4 < result["highest"]["positive"] < 2 * 195 / 255
    assert result["highest"]["negative"] == pytest.approx(0, abs=1e-6)
    assert result["images"] == {"positive": 8, "negative": 2}


def test_curves_lead_from_the_image_to_the_blurred_one(result: dict) -> None:
    curves = result["curves"]
    assert curves["shares"] == SHARES.tolist()
    for order in ("", "random "):
        deletion, insertion = curves[f"{order}deletion"], curves[f"{order}insertion"]
        assert deletion[0] == insertion[-1]
        assert deletion[-1] == insertion[0]
    assert np.mean(curves["deletion"]) < np.mean(curves["random deletion"])
    assert np.mean(curves["insertion"]) > np.mean(curves["random insertion"])


def test_the_result_is_saved(result: dict, out: Path) -> None:
    saved = json.loads((out / "explanations.json").read_text())
    assert saved.pop("model")["name"] == "tiny"
    assert saved == result
    assert (out / "explanations.png").stat().st_size > 10_000


def test_the_table_has_a_row_for_each_figure(result: dict) -> None:
    rows = table(result).splitlines()
    assert len({row.split("|")[1] for row in rows[2:]}) == 14


def test_randomized_weights_change_the_network() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 80, 80), dtype=np.uint8)
    first, same, other = (randomize(EMBEDDED_BUNDLE, seed).score(pixels).probabilities for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("labels", [[1, 0, 0], [1, 1, 1]])
def test_too_few_images_are_refused(bright: Path, labels: list[int], out: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        evaluate_explanations(bright, _prepared(np.zeros((3, SIZE, SIZE), np.uint8), labels), out)
