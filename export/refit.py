"""New statistics for a finished graph: the pooled features that its OOD detector computes are read from the graph, and
what was fitted on them is added to it. The trained network is not needed."""

from collections import deque

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.convert import run
from export.errors import ConversionError
from handler.contract import DISTANCE_NAME
from handler.imaging.decode import Pixels
from training.probes import Probes

PROBES_NAME = "probes"
"""Name of the output of `add_probes`."""


def pooled_features(model: onnx.ModelProto) -> str:
    """Name of the tensor `[N, D]` of pooled features, see `training.ood.pool`: the nearest concatenation before the
    distance.

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
    raise ConversionError(f"nothing is concatenated before `{DISTANCE_NAME}`: give a graph of `python -m export build`")


def compute_features(model: onnx.ModelProto, pixels: Pixels) -> npt.NDArray[np.float32]:
    """The pooled features `[N, D]` of images, uint8 `[N, S, S]`, as the graph computes them.

    Raises:
        ConversionError: see `pooled_features`.
    """
    name = pooled_features(model)
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return run(observed, pixels, [name])[0]


def add_probes(model: onnx.ModelProto, probes: Probes) -> None:
    """Add the output `PROBES_NAME`, float32 `[N, P]`: the probability of each label. Probes that the graph already has
    are replaced.

    Raises:
        ConversionError: see `pooled_features`; or the probes were fitted on another number of features.
    """
    graph = model.graph
    features = pooled_features(model)
    _remove_probes(graph)
    labels = probes.weights.shape[1]
    graph.initializer.append(numpy_helper.from_array(probes.weights, _WEIGHTS))
    graph.initializer.append(numpy_helper.from_array(probes.bias, _BIAS))
    graph.node.extend(
        [
            helper.make_node("Gemm", [features, _WEIGHTS, _BIAS], [_LOGITS], name=_GEMM),
            helper.make_node("Softmax", [_LOGITS], [PROBES_NAME], name=_SOFTMAX, axis=-1),
        ]
    )
    graph.output.append(helper.make_tensor_value_info(PROBES_NAME, TensorProto.FLOAT, ["N", labels]))
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.shape_inference.InferenceError as exc:
        raise ConversionError(f"the probes do not fit the features of the graph: fit them on its own ({exc})") from exc


_WEIGHTS, _BIAS, _LOGITS = f"{PROBES_NAME}_weights", f"{PROBES_NAME}_bias", f"{PROBES_NAME}_logits"
_GEMM, _SOFTMAX = f"{PROBES_NAME}_gemm", f"{PROBES_NAME}_softmax"


def _remove_probes(graph: onnx.GraphProto) -> None:
    for parts in (graph.output, graph.initializer, graph.node):
        for part in [part for part in parts if part.name in (PROBES_NAME, _WEIGHTS, _BIAS, _GEMM, _SOFTMAX)]:
            parts.remove(part)
