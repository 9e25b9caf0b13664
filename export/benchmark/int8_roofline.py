"""The int8 roofline: the highest rate of int8 multiply-accumulates that ONNX Runtime reaches on this CPU.

It is measured with ONNX graphs of one large operation each: two matrix products (MatMulInteger) and two convolutions
(QLinearConv) of different sizes, because the fastest size depends on the CPU; uint8 by int8 with constant weights, as
in a quantized network. They run like other runners, in the same rounds, with the same number of threads. The roofline
is the highest rate of any run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from handler.files import write_atomically

_PRODUCTS = ((512, 1024, 512), (1024, 1024, 1024))
"""Rows, depth, columns."""

_CONVOLUTIONS = ((256, 32), (512, 16))
"""Channels in and out, width and height; three by three."""


def write_roofline_models(folder: Path) -> dict[str, Path]:
    """Write the graphs to `folder`; each takes one uint8 tensor of a fixed shape. Returns the files by name."""
    graphs = {f"MatMulInteger {m} x {k} x {n}": _product(m, k, n) for m, k, n in _PRODUCTS}
    graphs |= {f"QLinearConv {c} at {s}": _convolution(c, s) for c, s in _CONVOLUTIONS}
    found = {}
    for name, graph in graphs.items():
        path = folder / f"{name.replace(' ', '-')}.onnx"
        write_atomically(path, lambda temporary, graph=graph: onnx.save(graph, temporary))  # type: ignore[misc]
        found[name] = path
    return found


def _product(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    node = helper.make_node("MatMulInteger", ["x", "weights"], ["y"])
    return _model(node, [rows, depth], [rows, columns], TensorProto.INT32, {"weights": _weights(depth, columns)})


def _convolution(channels: int, size: int) -> onnx.ModelProto:
    names = ["x", "scale", "zero", "weights", "scale", "weights_zero", "scale", "zero"]
    node = helper.make_node("QLinearConv", names, ["y"], pads=[1] * 4)
    constants = {
        "weights": _weights(channels, channels, 3, 3),
        "scale": np.float32(0.01),
        "zero": np.uint8(0),
        "weights_zero": np.int8(0),
    }
    shape = [1, channels, size, size]
    return _model(node, shape, shape, TensorProto.UINT8, constants)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-64, 64, shape, dtype=np.int8)


def _model(
    node: onnx.NodeProto, shape: list[int], result: list[int], kind: int, constants: Mapping[str, Any]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "roofline",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", kind, result)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
