"""Dense weights in eight bits give nearly the same results."""

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.weights import store_in_eight_bits


def product(matrix: np.ndarray) -> onnx.ModelProto:
    """x -> x W."""
    rows, columns = matrix.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["there"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", rows])],
        [helper.make_tensor_value_info("there", TensorProto.FLOAT, ["N", columns])],
        [numpy_helper.from_array(matrix, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def output(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["there"], {"x": x})[0]
    return found


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(64, 90), columns=st.integers(64, 90))
@settings(max_examples=20, deadline=None)
def test_the_product_stays(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.normal(size=(rows, columns)) * rng.uniform(0.01, 10, columns)).astype(np.float32)
    x = rng.normal(size=(3, rows)).astype(np.float32)
    model = product(matrix)
    expected = output(model, x)

    store_in_eight_bits(model.graph)

    sizes = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 2}
    assert list(sizes.values()) == [TensorProto.INT8]
    assert np.abs(output(model, x) - expected).max() <= 0.03 * np.abs(expected).max()


def test_small_matrices_stay_as_they_are() -> None:
    model = product(np.ones((4, 5), np.float32))
    store_in_eight_bits(model.graph)

    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}
