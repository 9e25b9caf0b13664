"""Dense weights in eight bits, and once instead of twice, compute what they computed."""

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.weights import share_transposes, store_in_eight_bits


def there_and_back(matrix: np.ndarray) -> onnx.ModelProto:
    """x -> x W -> x W W^T, with both matrices stored."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["there"]),
        helper.make_node("MatMul", ["there", "wt"], ["back"]),
    ]
    rows, columns = matrix.shape
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", rows])],
        [
            helper.make_tensor_value_info("there", TensorProto.FLOAT, ["N", columns]),
            helper.make_tensor_value_info("back", TensorProto.FLOAT, ["N", rows]),
        ],
        [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(matrix.T.copy(), "wt")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(["there", "back"], {"x": x})
    return found


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(64, 90), columns=st.integers(64, 90))
@settings(max_examples=20, deadline=None)
def test_the_products_stay(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.normal(size=(rows, columns)) * rng.uniform(0.01, 10, columns)).astype(np.float32)
    x = rng.normal(size=(3, rows)).astype(np.float32)
    model = there_and_back(matrix)
    there, back = outputs(model, x)

    share_transposes(model.graph)

    assert len(model.graph.initializer) == 1
    for found, expected in zip(outputs(model, x), (there, back), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())

    store_in_eight_bits(model.graph)

    sizes = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 2}
    assert list(sizes.values()) == [TensorProto.INT8]
    for found, expected in zip(outputs(model, x), (there, back), strict=True):
        assert np.abs(found - expected).max() <= 0.03 * np.abs(expected).max()


def test_small_matrices_stay_as_they_are() -> None:
    model = there_and_back(np.ones((4, 5), np.float32))
    store_in_eight_bits(model.graph)

    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}
