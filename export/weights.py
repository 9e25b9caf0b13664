"""Store the dense weights in eight bits. The arithmetic with them stays in float32."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

_LARGE = 4096
"""Minimum number of elements of a matrix that is stored in eight bits."""


def store_in_eight_bits(graph: onnx.GraphProto) -> None:
    """Store large matrices as int8 with a scale per column.

    The product is multiplied by the scale, so the matrix itself is only a cast of a constant, which ONNX Runtime runs
    once when it loads the graph. It would run a DequantizeLinear in every inference.
    """
    for name, matrix in _matrices(graph).items():
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / 127
        stored = np.round(matrix / scale).astype(np.int8)
        _remove(graph, name)
        graph.initializer.append(numpy_helper.from_array(stored, f"{name}_quantized"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
        for node in [node for node in graph.node if name in node.input]:
            _scale(graph, node, f"{name}_scale")
        cast = helper.make_node("Cast", [f"{name}_quantized"], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)


def _scale(graph: onnx.GraphProto, product: onnx.NodeProto, scale: str) -> None:
    """Multiply a product by the scales of the matrix's columns."""
    place = list(graph.node).index(product)
    result, unscaled = product.output[0], f"{product.output[0]}_unscaled"
    product.output[0] = unscaled
    graph.node.insert(place + 1, helper.make_node("Mul", [unscaled, scale], [result], name=f"{unscaled}_mul"))


def _matrices(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Return the large float matrices of matrix products, by name."""
    factors = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name in factors
        and tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) == 2
        and np.prod(tensor.dims) >= _LARGE
    }


def _remove(graph: onnx.GraphProto, name: str) -> None:
    graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == name))
