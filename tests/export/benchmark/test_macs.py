"""Multiply-accumulates against the textbook formula of one layer."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.benchmark.macs import macs

POSITIVE = st.integers(1, 6)


def model(
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    weights: dict[str, np.ndarray],
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    integer = nodes[0].op_type in ("ConvInteger", "MatMulInteger", "QLinearConv")
    result = {"ConvInteger": TensorProto.INT32, "MatMulInteger": TensorProto.INT32, "QLinearConv": TensorProto.UINT8}
    graph = helper.make_graph(
        nodes,
        "one layer",
        [helper.make_tensor_value_info("x", TensorProto.UINT8 if integer else TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, result.get(nodes[0].op_type, TensorProto.FLOAT), None)
            for name in outputs
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@given(
    kind=st.sampled_from(["Conv", "ConvInteger", "QLinearConv"]),
    groups=POSITIVE,
    inputs=POSITIVE,
    outputs=POSITIVE,
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    size=st.integers(3, 12),
)
def test_a_convolution(kind: str, groups: int, inputs: int, outputs: int, kernel: int, stride: int, size: int) -> None:
    shape = (groups * outputs, inputs, kernel, kernel)
    names = ["x", "w"]
    weights = {"w": np.zeros(shape, np.float32 if kind == "Conv" else np.uint8)}
    if kind == "QLinearConv":
        names = ["x", "scale", "zero", "w", "scale", "zero", "scale", "zero"]
        weights |= {"scale": np.array(1, np.float32), "zero": np.array(0, np.uint8)}
    node = helper.make_node(kind, names, ["y"], strides=[stride] * 2, group=groups)

    side = (size - kernel) // stride + 1
    expected = side * side * kernel * kernel * inputs * outputs * groups
    assert macs(model([node], ["N", groups * inputs, size, size], weights)) == expected


@given(kind=st.sampled_from(["MatMul", "MatMulInteger", "Gemm"]), rows=POSITIVE, depth=POSITIVE, columns=POSITIVE)
def test_a_product(kind: str, rows: int, depth: int, columns: int) -> None:
    weights = {"w": np.zeros((depth, columns), np.uint8 if kind == "MatMulInteger" else np.float32)}

    assert macs(model([helper.make_node(kind, ["x", "w"], ["y"])], [rows, depth], weights)) == rows * depth * columns


def test_a_transposed_product_counts_the_depth_and_not_the_rows() -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1)

    assert macs(model([node], [5, 3], {"w": np.zeros((2, 5), np.float32)})) == 3 * 5 * 2


def test_quantized_weights_count_and_what_is_not_fetched_does_not() -> None:
    weights = {
        "w8": np.zeros((4, 2), np.int8),
        "scale": np.array(1, np.float32),
        "zero": np.array(0, np.int8),
        "w": np.zeros((4, 7), np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["other"]),
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["dequantized"]),
        helper.make_node("MatMul", ["x", "dequantized"], ["y"]),
    ]
    graph = model(nodes, ["N", 4], weights, ("y", "other"))

    assert macs(graph) == 4 * 2 + 4 * 7
    assert macs(graph, ["y"]) == 4 * 2


def test_an_unknown_shape_is_named() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    graph = model(nodes, ["N", 4], {"w": np.zeros((4, 2), np.float32)})
    graph.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [2]))

    with pytest.raises(ValueError, match=r"MatMul.*unknown"):
        macs(graph)
