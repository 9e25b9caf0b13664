"""The float32 form of an int8 graph: the same network, without the rounding of its activations."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from export.errors import ConversionError

Array = npt.NDArray[Any]


def float_graph(int8: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the QuantizeLinear/DequantizeLinear pairs and store the weights as float32.

    Quantizing to uint8 with a zero point of 0 also replaces negative values by 0, and for that reason the quantizer
    removes a ReLU before it. So such a pair becomes a ReLU, unless the values cannot be negative.

    Args:
        int8: in QDQ form; not changed. A graph without such pairs stays as it is.

    Raises:
        ConversionError: it has integer operators that are not in QDQ form.
    """
    model = onnx.ModelProto()
    model.CopyFrom(int8)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    same: dict[str, str] = {}
    not_negative: set[str] = set()
    nodes = []
    for node in graph.node:
        inputs = [same.get(name, name) for name in node.input]
        output = node.output[0]
        if "Integer" in node.op_type or node.op_type.startswith("QLinear"):
            raise ConversionError(f"{node.op_type} is not in QDQ form: quantize with QuantFormat.QDQ")
        if node.op_type == "DequantizeLinear" and inputs[0] in constants:
            constants[output] = _dequantized(*(constants[name] for name in inputs), axis=_axis(node))
            continue
        if node.op_type == "Cast" and inputs[0] in constants:
            to = helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
            constants[output] = constants[inputs[0]].astype(to)
            continue
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[inputs[2]] if len(inputs) > 2 else np.uint8(0)
            clips = node.op_type == "QuantizeLinear" and zero.dtype == np.uint8 and not zero.any()
            if clips and inputs[0] not in not_negative:
                node = helper.make_node("Relu", inputs[:1], [output], output)
            elif output in outputs:
                node = helper.make_node("Identity", inputs[:1], [output], output)
            else:
                same[output] = inputs[0]
                continue
            inputs = inputs[:1]
        if node.op_type == "Relu" or (node.op_type == "MaxPool" and inputs[0] in not_negative):
            not_negative.add(output)
        node.input[:] = inputs
        nodes.append(node)
    used = {name for node in nodes for name in node.input} | outputs
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items() if name in used]
    kept = [helper.make_node(n.op_type, n.input, n.output, n.name, domain=n.domain) for n in nodes]
    for new, old in zip(kept, nodes, strict=True):
        new.attribute.extend(old.attribute)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)
    onnx.checker.check_model(model)
    return model


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _dequantized(values: Array, scale: Array, zero: Array | None = None, *, axis: int) -> Array:
    """The float32 values of quantized ones, as ONNX defines them; a scale for each index of `axis`, or one for all."""
    shape = [-1 if number == axis else 1 for number in range(values.ndim)] if scale.ndim else []
    centred = values.astype(np.float32)
    if zero is not None:
        centred = centred - zero.astype(np.float32).reshape(shape)
    return np.asarray(centred * scale.reshape(shape), np.float32)
