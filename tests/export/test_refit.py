"""What is fitted on the features of a finished graph, and added to it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.convert import run
from export.errors import ConversionError
from export.refit import PROBES_NAME, add_probes, compute_features, pooled_features
from handler.contract import DISTANCE_NAME, EMBEDDED_BUNDLE, INPUT_NAME, MODEL_FILE, OUTPUT_NAME
from tests.tiny_bundle import write_tiny_bundle
from training.phantom import draw
from training.probes import ORIENTATIONS, Probes, fit_probes, oriented, probabilities

SIZE = 32


@pytest.fixture
def model() -> onnx.ModelProto:
    """A graph whose pooled features are the greys in 4 by 4 and in 8 by 8 places: 80 of them."""
    flat = numpy_helper.from_array(np.array([0, -1]), "flat")
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["grey"], to=TensorProto.FLOAT),
        *[
            helper.make_node("AveragePool", ["grey"], [f"mean{side}"], kernel_shape=[side] * 2, strides=[side] * 2)
            for side in (8, 4)
        ],
        helper.make_node("Reshape", ["mean8", "flat"], ["coarse"]),
        helper.make_node("Reshape", ["mean4", "flat"], ["fine"]),
        helper.make_node("Concat", ["coarse", "fine"], ["pooled"], axis=1),
        helper.make_node("ReduceL2", ["pooled"], [DISTANCE_NAME], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info(DISTANCE_NAME, TensorProto.FLOAT, ["N"])],
        [flat],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def chests(seeds: range) -> np.ndarray:
    return np.stack([draw(seed, size=SIZE) for seed in seeds])


def random_probes(width: int) -> Probes:
    rng = np.random.default_rng(0)
    return Probes(rng.normal(size=(width, 3)).astype(np.float32) / width, rng.normal(size=3).astype(np.float32))


def test_the_graph_says_how_an_image_is_turned(model: onnx.ModelProto) -> None:
    images = oriented(chests(range(60)), SIZE, 0)
    add_probes(model, fit_probes({label: compute_features(model, pixels) for label, pixels in images.items()}))

    for index, pixels in enumerate(oriented(chests(range(1000, 1040)), SIZE, 1).values()):
        (shares,) = run(model, pixels[:40], [PROBES_NAME])
        assert shares.shape == (40, len(ORIENTATIONS))
        assert np.mean(shares.argmax(axis=1) == index) >= 0.95


def test_the_graph_computes_what_keras_does(model: onnx.ModelProto) -> None:
    pixels, probes = chests(range(20)), random_probes(80)
    features = compute_features(model, pixels)
    add_probes(model, probes)

    np.testing.assert_allclose(
        run(model, pixels, [PROBES_NAME])[0], np.asarray(probabilities(probes, features)), rtol=1e-4, atol=1e-6
    )


def test_probes_are_replaced(model: onnx.ModelProto) -> None:
    add_probes(model, random_probes(80))
    once = model.SerializeToString()
    add_probes(model, random_probes(80))

    assert model.SerializeToString() == once


def test_the_shipped_graph_takes_probes_and_computes_all_else_as_before() -> None:
    model = onnx.load(EMBEDDED_BUNDLE / MODEL_FILE)
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    pixels = np.stack([draw(seed, size=size) for seed in range(4)])
    before = run(model, pixels, [OUTPUT_NAME, DISTANCE_NAME])
    features = compute_features(model, pixels)
    add_probes(model, random_probes(features.shape[1]))

    np.testing.assert_array_equal(run(model, pixels, [OUTPUT_NAME])[0], before[0])
    np.testing.assert_array_equal(run(model, pixels, [DISTANCE_NAME])[0], before[1])
    assert np.isfinite(run(model, pixels, [PROBES_NAME])[0]).all()


def test_probes_of_another_network_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ConversionError, match="do not fit"):
        add_probes(model, random_probes(81))


def test_a_graph_without_pooled_features_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_tiny_bundle(tmp_path / "tiny") / MODEL_FILE)

    with pytest.raises(ConversionError, match="concatenated"):
        pooled_features(model)
