"""The float32 form of an int8 graph, and the Keras network that is rebuilt from it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.benchmark.float_graph import float_graph
from export.benchmark.sample_request import IMAGE
from export.convert import run
from export.errors import ConversionError
from handler.contract import EMBEDDED_BUNDLE, MODEL_FILE, load_bundle
from handler.imaging.decode import Pixels, decode


def pixels(size: int) -> Pixels:
    noise = np.random.default_rng(0).integers(0, 256, (3, size, size), dtype=np.uint8)
    return np.concatenate([decode(IMAGE.read_bytes(), size)[np.newaxis], noise])


def test_the_float_form_of_the_shipped_bundle_answers_as_the_bundle_does() -> None:
    contract, _ = load_bundle(EMBEDDED_BUNDLE)
    int8 = onnx.load(EMBEDDED_BUNDLE / MODEL_FILE)
    images = pixels(contract.input_size)

    floats = float_graph(int8)

    kinds = {tensor.data_type for tensor in floats.graph.initializer} - {TensorProto.INT64}
    assert kinds == {TensorProto.FLOAT}
    assert not {node.op_type for node in floats.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    names = [value.name for value in int8.graph.output]
    for name, expected, found in zip(names, run(int8, images, names), run(floats, images, names), strict=True):
        # The orientations of noise are uncertain, so rounding changes them more.
        atol = 0.05 if name == contract.orientation_name else 0.02
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=atol, err_msg=name)


def test_the_keras_network_gives_the_probabilities_of_the_float_graph() -> None:
    from export.benchmark.keras_network import keras_network

    contract, _ = load_bundle(EMBEDDED_BUNDLE)
    floats = float_graph(onnx.load(EMBEDDED_BUNDLE / MODEL_FILE))
    images = pixels(contract.input_size)

    network = keras_network(floats, contract.output_name, contract.input_size)

    found = network.predict(images[..., np.newaxis].astype(np.float32), verbose=0)
    np.testing.assert_allclose(found, run(floats, images, [contract.output_name])[0], atol=1e-4)
    with pytest.raises(ConversionError, match="give --network"):
        keras_network(floats, contract.unlike_name, contract.input_size)


def model(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "quantized",
        [value("x", TensorProto.FLOAT, [1, 4])],
        [value("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("zero", "expected"), [(0, [[0.0, 0.0, 1.0, 2.0]]), (100, [[-2.0, -1.0, 1.0, 2.0]])])
def test_what_quantization_clips_at_zero_becomes_a_relu(zero: int, expected: list[list[float]]) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    int8 = model(nodes, scale=np.float32(0.125), zero=np.uint8(zero))
    import onnxruntime as ort

    for graph in (int8, float_graph(int8)):
        session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"x": np.array([[-2, -1, 1, 2]], np.float32)})
        assert found.tolist() == expected


def test_integer_operators_without_float_counterpart_are_refused() -> None:
    nodes = [helper.make_node("MatMulInteger", ["x", "w"], ["y"])]

    with pytest.raises(ConversionError, match="QuantFormat"):
        float_graph(model(nodes, w=np.zeros((4, 4), np.uint8)))
