"""The arithmetic of an ONNX graph, counted in multiply-accumulates."""

import math
from collections.abc import Collection, Mapping

import onnx

_WEIGHTS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Which input of a convolution holds its kernels `[out, in / groups, kh, kw]`."""

_PRODUCTS = {"MatMul", "MatMulInteger", "QLinearMatMul", "Gemm"}

Shapes = Mapping[str, tuple[int, ...]]


def macs(graph: onnx.ModelProto, outputs: Collection[str] | None = None, inputs: Shapes | None = None) -> int:
    """Multiply-accumulates of convolutions and matrix products, float or int8.

    Args:
        graph: QDQ form included; not changed.
        outputs: only what these need is counted, as a session runs it that fetches only them. Default: all.
        inputs: shapes of the inputs by name. Free dimensions of others are 1, so the result is for one image.

    Raises:
        ValueError: shape inference cannot tell the shape of a tensor that counts.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    for value in copy.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        given = (inputs or {}).get(value.name, [one.dim_value or 1 for one in dimensions])
        for dimension, length in zip(dimensions, given, strict=True):
            dimension.dim_value = length
    # What is recorded may contradict the batch size that was just set, and is inferred anew.
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    shapes = _shapes(onnx.shape_inference.infer_shapes(copy, data_prop=True).graph)
    needed = _needed(copy.graph, {value.name for value in copy.graph.output} if outputs is None else set(outputs))
    return sum(_macs(node, shapes) for node in needed)


def _shapes(graph: onnx.GraphProto) -> Shapes:
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def _needed(graph: onnx.GraphProto, names: set[str]) -> list[onnx.NodeProto]:
    """The nodes on the way to these tensors."""
    found = []
    for node in reversed(graph.node):  # ONNX sorts nodes so that producers come first
        if names & set(node.output):
            names |= set(node.input)
            found.append(node)
    return found


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    def shape(name: str) -> tuple[int, ...]:
        found = shapes.get(name, ())
        if not found or 0 in found:
            raise ValueError(
                f"the shape of {name} in {node.op_type} {node.name} is unknown: fix the graph's input sizes"
            )
        return found

    if node.op_type in _WEIGHTS:
        return math.prod(shape(node.output[0])) * math.prod(shape(node.input[_WEIGHTS[node.op_type]])[1:])
    if node.op_type in _PRODUCTS:
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shape(node.output[0])) * shape(node.input[0])[0 if transposed else -1]
    return 0
