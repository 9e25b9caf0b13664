"""Add outputs to a finished graph. They are fitted on the features that the graph computes for its OOD detector, so
the trained network is not needed."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.convert import run
from export.errors import ConversionError
from export.weights import store_in_eight_bits
from handler.contract import DISTANCE_NAME, ORIENTATION_NAME, UNLIKE_NAME
from handler.imaging.decode import Pixels
from training.ood_statistics import OodStatistics
from training.probes import Probes
from training.unlike import BLOCK

_BLOCK_FEATURES = "block_features"


def pooled_features(model: onnx.ModelProto) -> str:
    """Find the name of the tensor `[N, D]` of pooled features, see `training.ood.pool`: the last concatenation before
    the distance.

    Raises:
        ConversionError: the graph has no such tensor.
    """
    produced = {name: node for node in model.graph.node for name in node.output}
    waiting = deque([DISTANCE_NAME])
    while waiting:
        node = produced.get(waiting.popleft())
        if node is not None and node.op_type == "Concat":
            return str(node.output[0])
        waiting.extend(node.input if node is not None else ())
    raise ConversionError(
        f"there is no concatenation before `{DISTANCE_NAME}`: give a graph of `python -m export build`"
    )


def add_block_features(model: onnx.ModelProto) -> str:
    """Add the nodes for the features of `training.unlike` to a graph that lacks them.

    Returns:
        Name of their tensor, `[N, D]`.

    Raises:
        ConversionError: the graph has fewer blocks than `training.unlike.BLOCK`.
    """
    graph = model.graph
    if not any(_BLOCK_FEATURES in node.output for node in graph.node):
        ends = [node for node in graph.node if node.op_type == "MaxPool"]
        if len(ends) < BLOCK:
            raise ConversionError(f"the graph has no block {BLOCK}: give a graph of `python -m export build`")
        pixels: int = graph.input[0].type.tensor_type.shape.dim[2].dim_value
        half = (pixels >> (BLOCK - 1)) // 2
        means, flat = f"{_BLOCK_FEATURES}_means", f"{_BLOCK_FEATURES}_shape"
        graph.initializer.append(numpy_helper.from_array(np.array([0, -1]), flat))
        graph.node.append(
            helper.make_node(
                "AveragePool", [ends[BLOCK - 1].input[0]], [means], kernel_shape=[half] * 2, strides=[half] * 2
            )
        )
        graph.node.append(helper.make_node("Reshape", [means, flat], [_BLOCK_FEATURES]))
    return _BLOCK_FEATURES


def compute(model: onnx.ModelProto, pixels: Pixels, tensor: str) -> npt.NDArray[np.float32]:
    """Compute the values of a float tensor `[N, ...]` of the graph for images, uint8 `[N, S, S]`."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    return run(observed, pixels, [tensor])[0]


def add_probes(model: onnx.ModelProto, probes: Probes) -> None:
    """Add the output `ORIENTATION_NAME`, float32 `[N, P]`: the probability of each label, the
    softmax of the regression.

    Raises:
        ConversionError: see `pooled_features`; also if the probes were fitted on another number of features.
    """
    features = pooled_features(model)
    add = _Nodes(model.graph, ORIENTATION_NAME)
    logits = add("Gemm", features, probes.weights, probes.bias)
    add("Softmax", logits, to=ORIENTATION_NAME, axis=-1)
    _add_output(model, ORIENTATION_NAME, ["N", probes.weights.shape[1]])


def add_unlike(model: onnx.ModelProto, classes: Sequence[OodStatistics]) -> None:
    """Add the output `UNLIKE_NAME`, float32 `[N]`, as `training.unlike.unlike` computes it, except that large matrices
    are stored in eight bits.

    Raises:
        ConversionError: see `add_block_features`; also if the statistics were fitted on another number of features.
    """
    features = add_block_features(model)
    add = _Nodes(model.graph, UNLIKE_NAME)
    nearest = add("Min", *(_mean_square(add, features, statistics) for statistics in classes))
    both = add("Add", add("Mul", DISTANCE_NAME, DISTANCE_NAME), nearest)
    add("Sqrt", add("Mul", both, np.float32(0.5)), to=UNLIKE_NAME)
    store_in_eight_bits(model.graph)
    _add_output(model, UNLIKE_NAME, ["N"])


class _Nodes:
    """Appends nodes to a graph; a call returns the name of the node's result.

    Args:
        prefix: prefix of all new names.
    """

    def __init__(self, graph: onnx.GraphProto, prefix: str) -> None:
        self._graph, self._prefix, self._count = graph, prefix, 0

    def __call__(
        self, operator: str, *inputs: str | npt.NDArray[np.generic] | np.generic, to: str = "", **attributes: Any
    ) -> str:
        names = [each if isinstance(each, str) else self._constant(np.asarray(each)) for each in inputs]
        result = to or self._name()
        self._graph.node.append(helper.make_node(operator, names, [result], name=f"{result}_{operator}", **attributes))
        return result

    def _constant(self, values: npt.NDArray[np.generic]) -> str:
        name = self._name()
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"


def _mean_square(add: _Nodes, features: str, statistics: OodStatistics) -> str:
    """Add nodes for the square of `training.ood.distance`, `[N]`."""
    centred = add("Mul", add("Sub", features, statistics.mean), statistics.scale)
    along = add("MatMul", centred, statistics.components)
    inside = add("Mul", add("Mul", along, along), statistics.gains)
    axis = np.array([1])
    square = add(
        "Add",
        add("ReduceSum", inside, axis, keepdims=0),
        add("Div", add("ReduceSum", add("Mul", centred, centred), axis, keepdims=0), statistics.noise),
    )
    mean = add("Div", square, np.float32(len(statistics.mean)))
    return add("Max", mean, np.float32(0))


def _add_output(model: onnx.ModelProto, name: str, shape: list[str | int]) -> None:
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise ConversionError(f"`{name}` cannot be added: give a graph without this output ({exc})") from exc
