"""The int8 roofline: the highest rate of multiply-accumulates that any kernel of any runtime reaches on this CPU.

It is measured with ONNX graphs of one large operation each, uint8 by int8 with constant weights, as in a quantized
network: matrix products and convolutions of different sizes, because the fastest size depends on the CPU. They run in
ONNX Runtime and in OpenVINO, whose oneDNN uses AMX and VNNI. They run like other runners, in the same turns, with the
same number of threads. The runners of the benchmark count too: if one of them is faster than all kernels, its rate is
the roofline. So no share of it exceeds 100 %.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.benchmark.macs import macs
from export.benchmark.runner_pool import Runner
from export.benchmark.samples import Samples
from export.benchmark.signature import read_inputs
from handler.files import write_atomically

RUNTIMES = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}

NETWORK = "int8 kernels"

_PRODUCTS = ((512, 1024, 512), (1024, 1024, 1024))
"""Rows, depth, columns."""

_CONVOLUTIONS = ((256, 32), (512, 16))
"""Channels in and out, width and height; three by three."""


def kernels(folder: Path) -> list[Runner]:
    """The kernels in all runtimes; `folder` holds their graphs."""
    graphs = {f"MatMulInteger {m} x {k} x {n}": _integer_product(m, k, n) for m, k, n in _PRODUCTS}
    graphs |= {f"MatMul {m} x {k} x {n}": _qdq("MatMul", [m, k], [k, n], [m, n]) for m, k, n in _PRODUCTS}
    graphs |= {
        f"Conv {c} at {s}": _qdq("Conv", [1, c, s, s], [c, c, 3, 3], [1, c, s, s], pads=[1] * 4)
        for c, s in _CONVOLUTIONS
    }
    found = []
    for name, graph in graphs.items():
        path = folder / f"{name.replace(' ', '-')}.onnx"
        write_atomically(path, lambda temporary, graph=graph: onnx.save(graph, temporary))  # type: ignore[misc]
        rows = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        found += [
            Runner(
                name=f"{name}, {title}",
                network=NETWORK,
                model=name,
                runtime=runtime,
                file=path,
                inputs=read_inputs(path, rows, None),
                macs=macs(graph),
            )
            for title, runtime in RUNTIMES.items()
            if "Integer" not in name or runtime == "onnxruntime"  # OpenVINO computes it in float
        ]
    return found


def roofline(runners: Sequence[Runner], latency: Mapping[str, Samples], batch: int) -> tuple[float, str] | None:
    """The highest rate, in multiply-accumulates per second, and the key of its runner; None if nothing was counted.

    Args:
        runners: kernels and others.
        latency: by the key of the runner.
        batch: images in a query of runners that are no kernels.
    """
    rates = {
        runner.key: work / latency[runner.key].fastest * 1e3
        for runner in runners
        if runner.key in latency and (work := work_of(runner, batch)) and latency[runner.key].fastest
    }
    best = max(rates, key=rates.__getitem__, default=None)
    return (rates[best], best) if best is not None else None


def share(runner: Runner, latency: Samples, batch: int, peak: float | None) -> float | None:
    """The rate at the median latency as a part of the roofline, 0..1."""
    work = work_of(runner, batch)
    return work / latency.percentile(50) * 1e3 / peak if work and peak else None


def work_of(runner: Runner, batch: int) -> int | None:
    """Multiply-accumulates of a query, if they could be counted."""
    return runner.macs * (1 if runner.inputs else batch) if runner.macs else None


def _integer_product(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    node = helper.make_node("MatMulInteger", ["x", "weights"], ["y"])
    constants = {"weights": _weights(depth, columns)}
    return _model([node], [rows, depth], [rows, columns], TensorProto.INT32, constants)


def _qdq(operator: str, shape: list[int], weights: list[int], result: list[int], **attributes: Any) -> onnx.ModelProto:
    """The form that both runtimes turn into one int8 kernel."""
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["x_float"]),
        helper.make_node("DequantizeLinear", ["weights", "scale", "weights_zero"], ["weights_float"]),
        helper.make_node(operator, ["x_float", "weights_float"], ["y_float"], **attributes),
        helper.make_node("QuantizeLinear", ["y_float", "y_scale", "zero"], ["y"]),
    ]
    constants = {
        "weights": _weights(*weights),
        "scale": np.float32(0.01),
        "y_scale": np.float32(0.1),
        "zero": np.uint8(0),
        "weights_zero": np.int8(0),
    }
    return _model(nodes, shape, result, TensorProto.UINT8, constants)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-64, 64, shape, dtype=np.int8)


def _model(
    nodes: list[onnx.NodeProto], shape: list[int], result: list[int], kind: int, constants: Mapping[str, Any]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "roofline",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", kind, result)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
