"""Outputs that are fitted on the features of a finished graph and added to it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.convert import run
from export.errors import ConversionError
from export.refit import (
    add_block_features,
    add_probes,
    add_unlike,
    compute,
    pooled_features,
)
from handler.contract import (
    DISTANCE_NAME,
    EMBEDDED_BUNDLE,
    INPUT_NAME,
    MODEL_FILE,
    ORIENTATION_NAME,
    OUTPUT_NAME,
    PHOTOGRAPHED,
    UNLIKE_NAME,
)
from tests.detectors import probabilities, unlike
from tests.tiny_bundle import write_tiny_bundle
from training.phantom import draw
from training.probes import ORIENTATIONS, Probes, fit_probes, oriented
from training.unlike import fit_classes

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


def test_the_graph_detects_the_orientation_of_an_image(model: onnx.ModelProto) -> None:
    images = oriented(chests(range(60)), SIZE, 0)
    add_probes(
        model, fit_probes({label: compute(model, pixels, pooled_features(model)) for label, pixels in images.items()})
    )

    for index, (label, pixels) in enumerate(oriented(chests(range(1000, 1040)), SIZE, 1).items()):
        (shares,) = run(model, pixels[:40], [ORIENTATION_NAME])
        assert shares.shape == (40, len(ORIENTATIONS))
        # Some photographs are hardly changed.
        assert np.mean(shares.argmax(axis=1) == index) >= (0.85 if label == PHOTOGRAPHED else 0.95)


def test_the_graph_computes_the_regression(model: onnx.ModelProto) -> None:
    pixels, probes = chests(range(20)), random_probes(80)
    features = compute(model, pixels, pooled_features(model))
    add_probes(model, probes)

    np.testing.assert_allclose(
        run(model, pixels, [ORIENTATION_NAME])[0], np.asarray(probabilities(probes, features)), rtol=1e-4, atol=1e-6
    )


def test_probes_are_added_once(model: onnx.ModelProto) -> None:
    add_probes(model, random_probes(80))

    with pytest.raises(ConversionError, match="without this output"):
        add_probes(model, random_probes(80))


@pytest.fixture
def shipped() -> onnx.ModelProto:
    """The graph of this repository without its detectors."""
    graph = onnx.load(EMBEDDED_BUNDLE / MODEL_FILE)
    return onnx.utils.Extractor(graph).extract_model([INPUT_NAME], [OUTPUT_NAME, DISTANCE_NAME])


def test_the_shipped_graph_computes_all_else_as_before(shipped: onnx.ModelProto) -> None:
    size = shipped.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    pixels = np.stack([draw(seed, size=size) for seed in range(40)])
    before = run(shipped, pixels, [OUTPUT_NAME, DISTANCE_NAME])
    classes = fit_classes(compute(shipped, pixels, add_block_features(shipped)), np.arange(40) % 2)
    add_probes(shipped, random_probes(compute(shipped, pixels, pooled_features(shipped)).shape[1]))
    add_unlike(shipped, classes)

    for expected, found in zip(before, run(shipped, pixels, [OUTPUT_NAME, DISTANCE_NAME]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert np.isfinite(run(shipped, pixels, [ORIENTATION_NAME])[0]).all()


def test_the_graph_computes_the_distance(shipped: onnx.ModelProto) -> None:
    size = shipped.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    pixels = np.stack([draw(seed, size=size) for seed in range(80)])
    features = compute(shipped, pixels, add_block_features(shipped))
    classes = fit_classes(features, np.arange(80) % 2)
    (distance,) = run(shipped, pixels, [DISTANCE_NAME])
    add_unlike(shipped, classes)

    (found,) = run(shipped, pixels, [UNLIKE_NAME])

    np.testing.assert_allclose(found, np.asarray(unlike(distance, classes, features)), rtol=0.02)


def test_probes_of_another_network_are_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ConversionError, match="without this output"):
        add_probes(model, random_probes(81))


def test_a_graph_without_pooled_features_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_tiny_bundle(tmp_path / "tiny") / MODEL_FILE)

    with pytest.raises(ConversionError, match="no concatenation"):
        pooled_features(model)


def test_a_graph_with_fewer_blocks_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ConversionError, match="block 4"):
        add_block_features(model)
