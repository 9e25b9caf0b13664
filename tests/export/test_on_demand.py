"""What is not asked for is not computed, and what is asked for is what it was."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from export.on_demand import compute_on_demand


def two_outputs() -> onnx.ModelProto:
    """x -> a = x w -> cheap = sum a; dear = 2 a."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "two"], ["double"]),
        helper.make_node("ReduceSum", ["a"], ["cheap"], keepdims=0),
        helper.make_node("Identity", ["double"], ["dear"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor_value_info("cheap", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("dear", TensorProto.FLOAT, ["N", 2]),
        ],
        [
            numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w"),
            numpy_helper.from_array(np.float32(2), "two"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_the_switch_decides() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    model = two_outputs()
    cheap, dear = session(model).run(["cheap", "dear"], {"x": x})

    compute_on_demand(model, "dear", "wanted")

    switched = session(model)
    on = switched.run(["cheap", "dear"], {"x": x, "wanted": np.array(True)})
    np.testing.assert_array_equal(on[0], cheap)
    np.testing.assert_array_equal(on[1], dear)
    for feed in ({"x": x}, {"x": x, "wanted": np.array(False)}):
        off = switched.run(["cheap", "dear"], feed)
        np.testing.assert_array_equal(off[0], cheap)
        assert off[1].shape == (0, 2)


def test_only_what_the_output_alone_needs_moves() -> None:
    model = two_outputs()
    compute_on_demand(model, "dear", "wanted")

    assert [node.op_type for node in model.graph.node] == ["MatMul", "ReduceSum", "If"]
